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


def test_every_frame_of_a_video_has_its_time_number_and_latency(random_model, tmp_path):
    video, out = tmp_path / "drive.avi", tmp_path / "out"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 180))
    for _ in range(2):
        writer.write(np.full((180, 320, 3), 200, np.uint8))
    writer.release()
    assert _segment(random_model, video, "--output", out) == 0
    capture = cv2.VideoCapture(str(out / "overlay.mp4"))
    notes = [capture.read()[1][-14:, :150] for _ in range(2)]
    for note in notes:
        assert np.median(note) < 60 and (note > 160).any()
    assert np.abs(notes[0].astype(int) - notes[1]).max() > 100, "another time and number"


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


def _segment(random_model, *arguments):
    fast = ["--model", str(random_model), "--backend", "torch", "--network-size", "64", "96"]
    return main(["segment", *map(str, arguments), *fast])


def test_one_unreadable_image_ends_no_folder(random_model, dataset, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    pixels = cv2.imread(str(dataset / "val" / "val_0.png"))
    for name in ("b", "d"):
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    (folder / "a.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "c.png").write_bytes(b"")
    (folder / "._b.png").write_bytes(b"\0\5\26\7")  # hidden, as macOS writes them
    assert _segment(random_model, folder, "--output", out) == 1
    said = capsys.readouterr().err
    assert "a.jpg: cannot be read as an image" in said and "cut short" in said
    assert "2 of 4 images cannot be read: a.jpg, c.png" in said and "._b" not in said
    assert sorted(p.name for p in out.glob("*_mask.png")) == ["b_mask.png", "d_mask.png"]
    assert _segment(random_model, folder / "c.png", "--output", out) == 2
    assert "c.png: cannot be read as an image" in capsys.readouterr().err


def test_no_result_overwrites_another_and_none_is_left(random_model, dataset, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i, name in enumerate(("a.png", "a.bmp", "b.png")):
        cv2.imwrite(str(folder / name), cv2.imread(str(dataset / "val" / f"val_{i}.png")))
    assert _segment(random_model, folder, "--output", out) == 0
    names = ["a_bmp", "a_png", "b"]
    assert sorted(p.name for p in out.glob("*_mask.png")) == [f"{n}_mask.png" for n in names]
    one, two = (cv2.imread(str(out / f"{n}_overlay.png")) for n in names[:2])
    assert (one != two).any()
    (out / "notes.md").write_text("mine")
    assert _segment(random_model, folder / "b.png", "--output", out) == 0
    left = {f"b_{kind}.png" for kind in ("mask", "color", "overlay")}
    assert {p.name for p in out.iterdir()} == left | {"notes.md", ".lrn_output"}


def test_patterns_lists_and_several_images(random_model, dataset, tmp_path, capsys):
    val = dataset / "val"
    (tmp_path / "list.txt").write_text(f"# mine\n{val}/val_2.png\n\n{val}/val_0.png\n")
    for number, given in enumerate(
        ([f"{val}/val_[02].png"], [tmp_path / "list.txt"], [val / "val_0.png", val / "val_2.png"])
    ):
        out = tmp_path / f"out{number}"
        assert _segment(random_model, *given, "--output", out) == 0
        assert sorted(p.name for p in out.glob("*_mask.png")) == [
            "val_0_mask.png",
            "val_2_mask.png",
        ]
    for given, says in (
        ([f"{val}/x*.png"], "no image has such a name"),
        (["7"], "there is no /dev/video7"),
        (["rtsp://me:secret@127.0.0.1:9/x"], "rtsp://me:***@127.0.0.1:9/x: cannot be read"),
        ([val / "val_0.png", tmp_path / "list.txt"], "list.txt is not an image"),
    ):
        capsys.readouterr()
        assert _segment(random_model, *given, "--output", tmp_path / "none") == 2
        said = capsys.readouterr().err
        assert says in said and "secret" not in said


def test_own_ids_and_scores(random_model, dataset, tmp_path, capsys):
    out = tmp_path / "out"
    labels = LabelSet.load("camvid11")
    arguments = [dataset / "val", "--output", out, "--limit", "1"]
    assert _segment(random_model, *arguments, "--label-ids") == 2
    assert "camvid11 has no ids of its own" in capsys.readouterr().err
    assert _segment(random_model, *arguments, "--save-scores") == 0
    scores = np.load(out / "scores" / "val_0.npy")
    mask = cv2.imread(str(out / "val_0_mask.png"), cv2.IMREAD_UNCHANGED)
    assert scores.shape == (11, 64, 96) and scores.dtype == np.float16
    np.testing.assert_allclose(scores.sum(0, dtype=float), 1, atol=0.01)
    assert (scores.argmax(0) == mask).mean() > 0.99  # float16 makes ties
    own = LabelSet("own", labels.names, labels.colors, ids=tuple(range(20, 31)))
    model = _with_labels(random_model, own, tmp_path / "own.safetensors")
    assert _segment(model, *arguments, "--label-ids") == 0
    ids = cv2.imread(str(out / "labelIds" / "val_0_pred_labelIds.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(ids, mask + 20)
    assert not (out / "scores" / "val_0.npy").exists()


def _with_labels(model, labels, path):
    """The model with another label set of as many classes."""
    from dataclasses import replace

    from lrn_ros.model.artifact import read_info, read_weights, save_model

    save_model(path, replace(read_info(model), labels=labels), read_weights(model))
    return path


def test_a_cut_video_is_said(random_model, dataset, tmp_path, capsys):
    video, out = tmp_path / "drive.avi", tmp_path / "out"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (96, 64))
    for _ in range(10):
        writer.write(cv2.imread(str(dataset / "val" / "val_0.png")))
    writer.release()
    video.write_bytes(video.read_bytes()[:-9000])
    assert _segment(random_model, video, "--output", out) == 1
    assert "it announces 10 frames" in capsys.readouterr().err
    assert 1 <= cv2.VideoCapture(str(out / "overlay.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) < 10


def test_what_the_segmenter_takes(segmenter, dataset):
    from PIL import Image

    path = dataset / "val" / "val_0.png"
    wanted = segmenter(_rgb(path)).mask
    for given in (path, str(path), Image.open(path), Image.open(path).convert("RGBA")):
        np.testing.assert_array_equal(segmenter(given).mask, wanted)
    for wrong in ([1, 2], None, b"x", np.zeros((4, 4))[:0].tolist()):
        with pytest.raises(
            TypeError, match="the path of an image file or a PIL image, not builtins"
        ):
            segmenter(wrong)
