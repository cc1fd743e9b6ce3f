# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags that the project writes, read back with rosbags and with rclpy's deserializer."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelSet

pytest.importorskip("rosbags")

from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability

from lrn_ros.data.bags.reader import BagReader
from lrn_ros.data.bags.writer import STORAGES, BagWriter

RNG = np.random.default_rng(2)
# Smooth: JPEG changes noise by far more than what it is made for.
SMOOTH = [cv2.resize(RNG.integers(0, 256, (4, 6, 3), np.uint8), (96, 64)) for _ in range(4)]
LABELS = [RNG.integers(0, 11, (64, 96), np.uint8) for _ in range(4)]
SET = LabelSet.load("camvid11")
START = 1_700_000_000_987_654_321


def _write(path, storage="mcap", **options):
    with BagWriter(path, storage, label_set=SET, frame_id="front", **options) as writer:
        for i, (rgb, label) in enumerate(zip(SMOOTH, LABELS)):
            writer.write(START + i * 250_000_000, rgb, label if i != 2 else None)
    return path


def _messages(path):
    """Topic, type, time and bytes of every message, as rosbags finds them."""
    with AnyReader([path]) as reader:
        return [(c.topic, c.msgtype, t, bytes(d)) for c, t, d in reader.messages()]


@pytest.mark.parametrize("storage", STORAGES)
def test_what_rclpy_reads(tmp_path, storage):
    rclpy = pytest.importorskip("rclpy.serialization")
    from sensor_msgs.msg import CameraInfo, Image
    from std_msgs.msg import String

    kinds = {
        f"{m.__module__.split('.')[0]}/msg/{m.__name__}": m for m in (CameraInfo, Image, String)
    }
    found = [
        (topic, time, rclpy.deserialize_message(data, kinds[kind]))
        for topic, kind, time, data in _messages(_write(tmp_path / "bag", storage))
    ]
    classes = [m for topic, _, m in found if topic == "/camera/labels/classes"]
    assert [json.loads(m.data)[3] for m in classes] == [
        {"id": 3, "name": "road", "rgb": [128, 64, 128]}
    ]
    by_topic = {
        name: [(t, m) for topic, t, m in found if topic == f"/camera/{name}"]
        for name in ("image_raw", "camera_info", "labels")
    }
    assert [len(messages) for messages in by_topic.values()] == [4, 4, 3]
    for name, messages in by_topic.items():
        for i, (time, message) in zip((0, 1, 3) if name == "labels" else range(4), messages):
            stamp = message.header.stamp
            assert time == stamp.sec * 10**9 + stamp.nanosec == START + i * 250_000_000
            assert message.header.frame_id == "front"
            assert (message.height, message.width) == (64, 96)
            if name == "camera_info":
                assert message.k[0] == 0 and len(message.p) == 12  # not calibrated
                continue
            pixels = {"image_raw": SMOOTH, "labels": LABELS}[name][i]
            assert message.encoding == {"image_raw": "rgb8", "labels": "mono8"}[name]
            assert message.step == 96 * (3 if name == "image_raw" else 1)
            np.testing.assert_array_equal(np.asarray(message.data).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("storage", STORAGES)
def test_what_rosbags_finds(tmp_path, storage):
    path = _write(tmp_path / "bag", storage)
    with AnyReader([path]) as reader:
        assert {name: t.msgcount for name, t in reader.topics.items()} == {
            "/camera/camera_info": 4,
            "/camera/image_raw": 4,
            "/camera/labels": 3,
            "/camera/labels/classes": 1,
        }
        assert (reader.start_time, reader.duration) == (START, 750_000_001)  # its end is exclusive
        qos = {c.topic: c.ext.offered_qos_profiles for c in reader.connections}
    (latched,) = qos.pop("/camera/labels/classes")
    assert latched.durability == QosDurability.TRANSIENT_LOCAL
    assert latched.reliability == QosReliability.RELIABLE and not any(qos.values())


def test_read_back(tmp_path):
    bag = BagReader(_write(tmp_path / "bag", topic="/front/image"))
    assert bag.image_topics() == ["/front/image"] and bag.label_topics() == ["/front/labels"]
    for frame, rgb in zip(bag.frames(), SMOOTH, strict=True):
        np.testing.assert_array_equal(frame.rgb, rgb)
    labels = list(bag.labels("/front/labels"))
    stamps = [START + i * 250_000_000 for i in (0, 1, 3)]
    assert [label.stamp_ns for label in labels] == stamps
    for label, i in zip(labels, (0, 1, 3), strict=True):
        np.testing.assert_array_equal(label.label, LABELS[i])
    assert bag.damage is None


@pytest.mark.parametrize("name", ["camvid11", "cityscapes19"])
def test_labels_are_class_ids_whatever_ids_the_set_has(tmp_path, name):
    known = LabelSet.load(name)
    label = RNG.integers(0, len(known), (64, 96), np.uint8)
    label[:9] = 255
    with BagWriter(tmp_path / "bag", label_set=known) as writer:
        writer.write(START, SMOOTH[0], label)
    bag = BagReader(tmp_path / "bag")
    for labels in (bag.labels("/camera/labels"), bag.labels("/camera/labels", known)):
        np.testing.assert_array_equal(next(labels).label, label)


def test_compressed_images(tmp_path):
    bag = BagReader(_write(tmp_path / "bag", compressed=True))
    assert bag.image_topics() == ["/camera/image_raw/compressed"]
    for frame, rgb in zip(bag.frames(), SMOOTH, strict=True):
        assert np.abs(frame.rgb.astype(int) - rgb).mean() < 3
    for label, i in zip(bag.labels("/camera/labels"), (0, 1, 3), strict=True):
        np.testing.assert_array_equal(label.label, LABELS[i])  # labels stay exact


def test_without_labels(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write(START, SMOOTH[0])
    assert list(BagReader(tmp_path / "bag").topics) == ["/camera/camera_info", "/camera/image_raw"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("storage", STORAGES)
def test_an_error_leaves_nothing(tmp_path, storage, error):
    with pytest.raises(error), BagWriter(tmp_path / "bag", storage) as writer:
        writer.write(START, SMOOTH[0])
        assert not (tmp_path / "bag").exists()
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept(tmp_path):
    (tmp_path / "bag").mkdir()
    (tmp_path / "file").write_text("mine")
    for name in ("bag", "file"):
        with pytest.raises(UserError, match="exists, nothing was overwritten"):
            BagWriter(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["run#1", "50%20off/bag", "what?"])
def test_names_that_sqlite3_cannot_write(tmp_path, name):
    with pytest.raises(UserError, match="sqlite3 cannot write under a path with .* mcap can"):
        BagWriter(tmp_path / name, "sqlite3")
    assert list(tmp_path.iterdir()) == []
    assert len(list(BagReader(_write(tmp_path / name)).frames())) == 4


@pytest.mark.parametrize(
    "topic", ["image", "/", "/a//b", "/a b", "/a/labels", "/camera_info", "/1"]
)
def test_topics_that_cannot_be(tmp_path, topic):
    with pytest.raises(UserError, match="an absolute name such as /camera/image_raw works"):
        BagWriter(tmp_path / "bag", topic=topic)
