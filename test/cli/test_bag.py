# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn bag create from the scene, folders and a video; read back frame by frame."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from lrn_ros.cli import main
from lrn_ros.data.datasets import read_image
from lrn_ros.scene import StreetScene

pytest.importorskip("rosbags")

from lrn_ros.data.bags.reader import BagReader


def _create(source, output, *options):
    return main(["bag", "create", str(source), "--output", str(output), *options])


def _labels(bag, topic="/camera/labels"):
    return [label.label for label in bag.labels(topic)]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_the_scene(tmp_path, capsys, storage):
    path = tmp_path / "new" / "bag"
    options = ["--frames", "3", "--size", "64", "96", "--seed", "5", "--rate", "4"]
    assert _create("scene", path, "--storage", storage, *options, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["labels"], report["storage"]) == (3, 3, storage)
    assert report["bytes"] == sum(p.stat().st_size for p in path.iterdir())
    image = {"type": "sensor_msgs/msg/Image", "count": 3}
    assert report["topics"] == {
        "/camera/camera_info": {"type": "sensor_msgs/msg/CameraInfo", "count": 3},
        "/camera/image_raw": image,
        "/camera/labels": image,
        "/camera/labels/classes": {"type": "std_msgs/msg/String", "count": 1},
    }
    bag, scene = BagReader(path), StreetScene(5, 64, 96, 4.0)
    truth = [scene.frame(i) for i in range(3)]
    for frame, (rgb, _) in zip(bag.frames(), truth, strict=True):
        np.testing.assert_array_equal(frame.rgb, rgb)
    for label, (_, expected) in zip(_labels(bag), truth, strict=True):
        np.testing.assert_array_equal(label, expected)
    stamps = [frame.stamp_ns for frame in bag.frames()]
    assert np.diff(stamps).tolist() == [250_000_000, 250_000_000]
    assert [label.stamp_ns for label in bag.labels("/camera/labels")] == stamps


def test_a_split_of_a_data_set(dataset, tmp_path, capsys):
    assert _create(dataset / "train", tmp_path / "bag", "--frames", "3", "--topic", "/a/b") == 0
    assert "3 frames at 10 Hz, 3 labels" in capsys.readouterr().out
    bag = BagReader(tmp_path / "bag")
    assert bag.image_topics() == ["/a/b"]
    for i, (frame, label) in enumerate(zip(bag.frames(), _labels(bag, "/a/labels"), strict=True)):
        np.testing.assert_array_equal(frame.rgb, read_image(dataset / "train" / f"train_{i}.png"))
        png = cv2.imread(str(dataset / "trainannot" / f"train_{i}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(label, np.where(png == 11, 255, png))


def test_cityscapes_ids_become_classes(tmp_path):
    images, labels = tmp_path / "leftImg8bit" / "val" / "ulm", tmp_path / "gtFine" / "val" / "ulm"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    cv2.imwrite(str(images / "ulm_0_leftImg8bit.png"), np.zeros((2, 3, 3), np.uint8))
    ids = np.array([[7, 33, 3], [26, 0, 8]], np.uint8)  # road, bicycle, void; car, void, sidewalk
    cv2.imwrite(str(labels / "ulm_0_gtFine_labelIds.png"), ids)
    assert _create(tmp_path / "leftImg8bit" / "val", tmp_path / "bag") == 0
    (label,) = _labels(BagReader(tmp_path / "bag"))
    assert label.tolist() == [[0, 18, 255], [13, 255, 1]]


def test_labels_of_a_folder_of_their_own(dataset, tmp_path, capsys):
    some, images = tmp_path / "some", tmp_path / "images"
    images.mkdir()
    some.mkdir()
    for i in range(3):
        name = f"train_{i}.png"
        (images / name).write_bytes((dataset / "train" / name).read_bytes())
    (some / "train_1.png").write_bytes((dataset / "trainannot" / "train_1.png").read_bytes())
    assert _create(images, tmp_path / "bag", "--labels", str(some), "--compressed") == 0
    bag = BagReader(tmp_path / "bag")
    (label,), frames = list(bag.labels("/camera/labels")), list(bag.frames())
    assert label.stamp_ns == frames[1].stamp_ns and len(frames) == 3
    assert _create(images, tmp_path / "plain") == 0
    assert BagReader(tmp_path / "plain").label_topics() == []
    capsys.readouterr()
    for file in some.iterdir():
        file.rename(some / "other.png")
    assert _create(images, tmp_path / "none", "--labels", str(some)) == 2
    assert "no PNG there has the name of an image" in capsys.readouterr().err
    cv2.imwrite(str(some / "train_0.png"), np.zeros((3, 4), np.uint8))
    assert _create(images, tmp_path / "none", "--labels", str(some)) == 2
    assert "size (3, 4) but its image is (64, 96)" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bag", "images", "plain", "some"]


def test_a_video(tmp_path):
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (64, 48))
    for i in range(4):
        writer.write(np.full((48, 64, 3), 60 * i, np.uint8))
    writer.release()
    assert _create(path, tmp_path / "bag") == 0
    frames = list(BagReader(tmp_path / "bag").frames())
    np.testing.assert_allclose([f.rgb.mean() for f in frames], [0, 60, 120, 180], atol=3)
    assert np.diff([f.stamp_ns for f in frames]).tolist() == [80_000_000] * 3


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        ("nowhere", [], "no such file or folder"),
        ("scene", ["--labels", "x"], "the scene has its own labels"),
        ("scene", ["--label-set", "camvid11"], "the scene has its own labels"),
        ("scene", ["--size", "8", "8"], "must be at least 64 pixels"),
        ("scene", ["--topic", "image"], "an absolute name such as /camera/image_raw works"),
        ("scene", ["--storage", "bz2"], "choose from 'mcap', 'sqlite3'"),
        ("scene", ["--rate", "0"], "is not a number from 0.001 to 1000"),
        ("images", ["--size", "64", "96"], "--size and --seed are for the scene"),
        ("images", ["--labels", "nowhere"], "nowhere: no such folder"),
        ("images", ["--label-set", "camvid11"], "has no labels beside it"),
        ("images", ["--label-set", "none", "--labels", "images"], "unknown label set 'none'"),
        ("made", [], "is a rosbag2 already"),
    ],
)
def test_wrong_usage(dataset, tmp_path, capsys, monkeypatch, source, options, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes((dataset / "val" / "val_0.png").read_bytes())
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "metadata.yaml").touch()
    assert _create(source, "bag", *options) == 2
    error = capsys.readouterr().err
    assert says in error.replace("(choose from mcap, sqlite3)", "(choose from 'mcap', 'sqlite3')")
    assert error.count("\n") == 1 and sorted(p.name for p in tmp_path.iterdir()) == [
        "images",
        "made",
    ]


def test_no_action_and_an_output_that_exists(tmp_path, capsys):
    assert main(["bag"]) == 2
    assert "ACTION" in capsys.readouterr().err
    assert _create("scene", tmp_path, "--frames", "1", "--size", "64", "64") == 2
    assert "exists, nothing was overwritten" in capsys.readouterr().err


def test_interrupted(tmp_path):
    command = [sys.executable, "-m", "lrn_ros", "bag", "create", "scene", "--frames", "100000"]
    with subprocess.Popen(
        [*command, "--size", "64", "64", "--output", str(tmp_path / "bag")]
    ) as run:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".bag.*/bag/*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        # Python ends by the signal, 130 to a shell, if it came while it executed a string.
        assert run.wait(30) in (130, -signal.SIGINT)
    assert list(tmp_path.iterdir()) == []
