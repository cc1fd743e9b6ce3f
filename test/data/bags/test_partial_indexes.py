# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MCAP files that lack parts of their index, which rosbag2 can leave out: every message is read."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from bag_files import STORE, image

from lrn_ros.data.bags.reader import BagReader
from lrn_ros.errors import UserError

mcap = pytest.importorskip("mcap.writer")
RNG = np.random.default_rng(2)
FRAMES = [RNG.integers(0, 256, (20, 30, 3), np.uint8) for _ in range(12)]
IMAGE = "sensor_msgs/msg/Image"


def write(path, order=range(12), kind=IMAGE, profile="ros2", **options):
    """A file with FRAMES on /image, recorded in this order, in chunks of about three."""
    with path.open("wb") as file:
        writer = mcap.Writer(file, chunk_size=5000, **options)
        writer.start(profile=profile)
        schema = writer.register_schema(IMAGE, "ros2msg", b"x") if kind == IMAGE else (
            writer.register_schema(kind, "ros2msg", b"x")
        )  # fmt: skip
        channel = writer.register_channel("/image", "cdr", schema)
        for i in order:
            message = image(i, FRAMES[i], "rgb8")
            data = bytes(STORE.serialize_cdr(message, IMAGE))
            writer.add_message(channel, i * 10**8, data, i * 10**8, i)
        writer.finish()
    return path


def check(path, caplog, said):
    with caplog.at_level(logging.INFO, "lrn_ros"):
        bag = BagReader(path)
    assert said in caplog.text if said else not caplog.text
    assert bag.topics["/image"].count == 12 and bag.rate("/image") == pytest.approx(10)
    frames = list(bag.frames())
    assert [f.index for f in frames] == list(range(12)) and bag.damage is None
    for frame in frames:
        np.testing.assert_array_equal(frame.rgb, FRAMES[frame.index])
        assert frame.recorded_ns == frame.index * 10**8


@pytest.mark.parametrize(
    "options",
    [
        {"index_types": mcap.IndexType.CHUNK},
        {"index_types": mcap.IndexType.MESSAGE},
        {"index_types": mcap.IndexType.NONE},
        {"use_statistics": False},
        {"use_statistics": False, "index_types": mcap.IndexType.CHUNK},
        {"repeat_channels": False},
        {"repeat_schemas": False},
        {"repeat_channels": False, "repeat_schemas": False, "use_statistics": False},
        {"use_summary_offsets": False, "index_types": mcap.IndexType.CHUNK},
        {"use_chunking": False},
        {"profile": ""},
    ],
    ids=lambda options: "-".join(options),
)
def test_what_the_index_lacks_is_read_by_a_scan(tmp_path, options):
    path = write(tmp_path / "drive.mcap", **options)
    bag = BagReader(path)
    frames = list(bag.frames())
    assert bag.damage is None and bag.topics["/image"].count == 12
    assert [f.recorded_ns for f in frames] == [i * 10**8 for i in range(12)]
    for frame in frames:
        np.testing.assert_array_equal(frame.rgb, FRAMES[frame.index])


def test_a_scan_is_said_and_keeps_the_order_of_time(tmp_path, caplog):
    whole = write(tmp_path / "whole.mcap")
    check(whole, caplog, "")
    order = [0, 2, 1, 3, 6, 5, 4, 7, 8, 11, 10, 9]  # over the borders of chunks too
    path = write(tmp_path / "drive.mcap", order, index_types=mcap.IndexType.CHUNK)
    check(path, caplog, "drive.mcap is without a complete index of its messages and is read by")


def test_a_cut_file_without_index_is_damaged(tmp_path):
    path = write(tmp_path / "drive.mcap", index_types=mcap.IndexType.CHUNK)
    path.write_bytes(path.read_bytes()[:-500])
    bag = BagReader(path)
    assert 6 <= len(list(bag.frames())) <= 12 and "drive.mcap: " in str(bag.damage)


def test_topics_that_hold_no_images_are_named_with_their_types(tmp_path):
    path = write(tmp_path / "drive.mcap", kind="sensor_msgs/Image")
    bag = BagReader(path)
    for topic in (None, "/other"):
        with pytest.raises(UserError, match=r"/image \(sensor_msgs/Image, 12\)"):
            bag.image_topic(topic)
