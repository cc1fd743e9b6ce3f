# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn segment on images and on a video, against the Segmenter itself."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from lrn_ros.cli import main
from lrn_ros.inference.overlay import draw_overlay
from lrn_ros.inference.palette import shown
from lrn_ros.model.labels import LabelSet

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def segmenter(random_model):
    from lrn_ros import Segmenter

    return Segmenter.load(random_model, backend="torch")


def _rgb(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_a_folder(random_model, segmenter, dataset, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["segment", str(dataset / "val"), "--output", str(out), "--limit", "2"]
    options = ["--model", str(random_model), "--backend", "torch", "--overlay-alpha", "0.25"]
    assert main([*arguments, *options, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames"] == 2 and report["latency_ms"]["total_ms"]["count"] == 2
    assert len(list(out.glob("*.png"))) == 6
    labels = shown(LabelSet.load("camvid11"))
    palette = labels.palette
    for name in ("val_0", "val_1"):
        rgb = _rgb(dataset / "val" / f"{name}.png")
        mask = cv2.imread(str(out / f"{name}_mask.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, segmenter(rgb).mask)
        color = _rgb(out / f"{name}_color.png")
        np.testing.assert_array_equal(color, palette[mask])
        blend = 0.75 * rgb.astype(float) + 0.25 * color
        overlay = _rgb(out / f"{name}_overlay.png")
        np.testing.assert_array_equal(overlay, draw_overlay(rgb, mask, labels, 0.25))
        line = (overlay == 0).all(2) | (overlay == 255).all(2)  # around people
        assert np.abs(overlay - blend)[~line].max() <= 0.5 + 1e-6
    assert main([*arguments, *options, "--palette", "dataset"]) == 0  # again, over its own output
    color = LabelSet.load("camvid11").palette[mask]
    np.testing.assert_array_equal(_rgb(out / "val_1_color.png"), color)
    assert "p95" in capsys.readouterr().out


def test_one_image_and_a_network_size(random_model, dataset, tmp_path, capsys):
    file = dataset / "val" / "val_2.png"
    arguments = ["segment", str(file), "--output", str(tmp_path), "--model", str(random_model)]
    assert main([*arguments, "--network-size", "70", "96"]) == 2
    assert "[72, 96] would work" in capsys.readouterr().err
    assert main([*arguments, "--network-size", "64", "96"]) == 0
    assert (tmp_path / "val_2_mask.png").is_file()


def test_a_video(random_model, segmenter, dataset, tmp_path):
    video, out = tmp_path / "drive.avi", tmp_path / "out"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (96, 64))
    for file in sorted((dataset / "train").iterdir()):
        writer.write(cv2.imread(str(file)))
    writer.release()
    arguments = ["segment", str(video), "--output", str(out), "--model", str(random_model)]
    assert main([*arguments, "--masks"]) == 0
    overlay = cv2.VideoCapture(str(out / "overlay.mp4"))
    assert overlay.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert overlay.get(cv2.CAP_PROP_FPS) == pytest.approx(12.0)
    capture = cv2.VideoCapture(str(video))
    for i in range(4):
        rgb = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(out / f"{i:06d}_mask.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, segmenter(rgb).mask)


def test_a_smoothed_video(random_model, segmenter, dataset, tmp_path, capsys):
    from lrn_ros.inference.smoothing import Smoother
    from lrn_ros.scene import StreetScene

    video, out = tmp_path / "drive.avi", tmp_path / "out"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (96, 64))
    scene = StreetScene(seed=3, height=64, width=96, fps=12.0)
    for i in range(3):
        writer.write(cv2.cvtColor(scene.frame(i)[0], cv2.COLOR_RGB2BGR))
    writer.release()
    options = ["--output", str(out), "--model", str(random_model), "--temporal-smoothing"]
    assert main(["segment", str(video), *options, "--masks"]) == 0
    capture, smoother = cv2.VideoCapture(str(video)), Smoother()
    for i in range(3):
        rgb = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(out / f"{i:06d}_mask.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, segmenter(rgb, smooth=smoother.at(i / 12)).mask)
    assert (mask != segmenter(rgb).mask).any()
    assert main(["segment", str(dataset / "val"), *options]) == 2
    assert "val has no frame rate; videos and bags have one" in capsys.readouterr().err


def test_unreadable_input_and_foreign_output(random_model, dataset, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    model = ["--model", str(random_model)]
    assert main(["segment", str(broken), "--output", str(tmp_path / "o"), *model]) == 2
    assert "cannot be read as a video" in capsys.readouterr().err
    assert main(["segment", str(dataset / "val"), "--output", str(tmp_path), *model]) == 2
    assert "nothing was overwritten" in capsys.readouterr().err
    assert main(["segment", str(dataset / "val"), "--output", str(dataset / "val"), *model]) == 2
    assert "is the input" in capsys.readouterr().err
