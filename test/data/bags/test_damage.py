# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags cut short or damaged inside: what is read is right, and the reader reports the damage."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from bag_files import image, storage_file, text, write_bag

from lrn_ros.data.bags.reader import BagReader
from lrn_ros.errors import UserError

RNG = np.random.default_rng(1)
# 300 KB each: a chunk of mcap (1 MiB here) takes four.
FRAMES = [RNG.integers(0, 256, (250, 400, 3), np.uint8) for _ in range(14)]
CASES = [
    ("SQLITE3", "NONE"), ("SQLITE3", "MESSAGE"), ("SQLITE3", "FILE"),
    ("MCAP", "NONE"), ("MCAP", "MESSAGE"), ("MCAP", "FILE"), ("MCAP", "STORAGE"),
]  # fmt: skip


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def whole(request, tmp_path_factory):
    """A bag with its storage file's bytes."""
    topics = {
        "/image": [image(i, rgb, "rgb8") for i, rgb in enumerate(FRAMES)],
        "/words": [text(str(i)) for i in range(14)],
    }
    path = tmp_path_factory.mktemp("damage") / "bag"
    write_bag(path, request.param[0], topics, request.param[1])
    return path, storage_file(path).read_bytes()


def _frames(bag):
    """The frames read, after a check that they are the first ones, unchanged."""
    frames = list(bag.frames("/image"))
    for frame, rgb in zip(frames, FRAMES, strict=False):
        np.testing.assert_array_equal(frame.rgb, rgb)
    return frames


@pytest.mark.parametrize("with_metadata", [True, False], ids=["metadata", "no metadata"])
def test_a_cut_file_is_read_up_to_the_cut(whole, tmp_path, with_metadata):
    path, data = whole
    copy = tmp_path / "bag"
    copy.mkdir()
    file = copy / storage_file(path).name
    if with_metadata:
        (copy / "metadata.yaml").write_text((path / "metadata.yaml").read_text())
    counts = []
    for share in (0.0001, 0.05, 0.3, 0.55, 0.8):
        file.write_bytes(data[: int(len(data) * share)])
        try:
            bag = BagReader(copy)
            counts.append(len(_frames(bag)))
            assert bag.damage is not None and file.name in bag.damage
        except UserError as error:
            assert "can be read" in str(error) and file.name in str(error)
            counts.append(0)
    assert counts == sorted(counts) and counts[0] == 0
    # Of the share that is there, a chunk of four frames or a row is lost.
    assert 14 * 0.8 - 4.5 <= counts[-1] <= 14 * 0.8 and counts[3] >= 14 * 0.55 - 4.5
    for missing in (1, 20, 3000):  # the end alone: its index, its last page
        file.write_bytes(data[:-missing])
        bag = BagReader(copy)
        assert len(_frames(bag)) >= 9 and bag.damage is not None


def test_damage_inside(whole, tmp_path):
    """Bytes in the middle are overwritten; the file has its length and its index."""
    path, data = whole
    copy = tmp_path / "bag"
    copy.mkdir()
    (copy / "metadata.yaml").write_text((path / "metadata.yaml").read_text())
    middle = len(data) // 2
    noise = RNG.integers(0, 256, 20_000, np.uint8).tobytes()
    file = copy / storage_file(path).name
    file.write_bytes(data[:middle] + noise + data[middle + len(noise) :])
    bag = BagReader(copy)
    frames = list(bag.frames())
    same = [np.array_equal(a.rgb, b) for a, b in zip(frames, FRAMES, strict=False)]
    if bag.damage is None:  # noise in raw pixels leaves no trace, and only there
        assert len(same) == 14 and 1 <= same.count(False) <= 2
    else:
        assert 2 <= len(same) < 14 and same.count(False) <= 1


def _flat(data):
    """An mcap file without chunks and index, as a recorder without chunking leaves it."""
    at, out = 8, [data[:8]]
    while data[at] != 15:
        (length,) = struct.unpack_from("<Q", data, at + 1)
        record = data[at : at + 9 + length]
        if record[0] == 6:
            (name,) = struct.unpack_from("<I", record, 9 + 28)
            record = record[9 + 32 + name + 8 :]
        if record[0] != 7:
            out.append(record)
        at += 9 + length
    return b"".join(out)


def test_mcap_without_chunks_and_end(tmp_path):
    topics = {"/image": [image(i, rgb, "rgb8") for i, rgb in enumerate(FRAMES)]}
    data = _flat(storage_file(write_bag(tmp_path / "bag", "MCAP", topics)).read_bytes())
    file = tmp_path / "flat.mcap"
    for share in (1.0, 0.5):
        file.write_bytes(data[: int(len(data) * share)])
        bag = BagReader(file)
        assert bag.topics["/image"].count == 14 * share
        assert len(_frames(bag)) == 14 * share and "flat.mcap: " in str(bag.damage)


def test_a_message_that_is_no_image(tmp_path):
    messages = [image(i, rgb, "rgb8") for i, rgb in enumerate(FRAMES[:4])]
    messages[2].encoding = "rgb9"
    bag = BagReader(write_bag(tmp_path / "bag", "MCAP", {"/image": messages}))
    assert [frame.index for frame in bag.frames()] == [0, 1, 3]
    assert str(bag.damage).startswith("/image, message 2: image encoding 'rgb9' is not supported")
    assert str(bag.damage).endswith("; messages left out: 1")
    messages[0].step = 1
    bag = BagReader(write_bag(tmp_path / "first", "MCAP", {"/image": messages}))
    assert [frame.index for frame in bag.frames()] == [1, 3]
    bag = BagReader(write_bag(tmp_path / "all", "MCAP", {"/image": messages[::2]}))
    with pytest.raises(UserError, match="/image, message 0: 400x250 rgb8 image: step is 1"):
        list(bag.frames())


def test_metadata_that_is_wrong(tmp_path):
    topics = {"/image": [image(i, rgb, "rgb8") for i, rgb in enumerate(FRAMES[:3])]}
    path = write_bag(tmp_path / "bag", "SQLITE3", topics)
    text_before = (path / "metadata.yaml").read_text()
    for content in ("", "rosbag2_bagfile_information: 3\n", "a: [", "\x00"):
        (path / "metadata.yaml").write_text(content)
        bag = BagReader(path)
        assert len(_frames(bag)) == 3 and bag.damage == "metadata.yaml cannot be read"
    (path / "metadata.yaml").write_text(text_before.replace("count: 3", "count: 0"))
    bag = BagReader(path)  # of a recorder that was killed
    assert len(_frames(bag)) == 3 and bag.damage is None
    (path / "metadata.yaml").write_text(text_before.replace("count: 3", "count: 5"))
    bag = BagReader(path)
    assert len(_frames(bag)) == 3 and bag.damage == "/image has 5 messages, 3 can be read"
