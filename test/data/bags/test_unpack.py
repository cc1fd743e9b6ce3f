# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed files are unpacked once and removed; file names with special characters of URIs."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from bag_files import image, storage_file, text, write_bag

from lrn_ros.data.bags import unpack
from lrn_ros.data.bags.reader import BagReader
from lrn_ros.errors import UserError

RNG = np.random.default_rng(3)
FRAMES = [RNG.integers(0, 256, (16, 24, 3), np.uint8) for _ in range(6)]
TOPICS = {
    "/image": [image(i, rgb, "rgb8") for i, rgb in enumerate(FRAMES)],
    "/words": [text(str(i)) for i in range(6)],
}


def _same(frames):
    for frame, rgb in zip(frames, FRAMES, strict=True):
        np.testing.assert_array_equal(frame.rgb, rgb)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder for temporary files, and the files that were unpacked into it."""
    folder, packed = tmp_path / "scratch", []
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    opened = unpack.zstd.ZstdFile

    def spy(file):
        packed.append(os.path.basename(file.name))
        return opened(file)

    monkeypatch.setattr(unpack.zstd, "ZstdFile", spy)
    return folder, packed


@pytest.mark.parametrize("storage", ["SQLITE3", "MCAP"])
@pytest.mark.parametrize("with_metadata", [True, False])
def test_a_file_is_unpacked_once_for_all_who_read_it(tmp_path, scratch, storage, with_metadata):
    folder, packed = scratch
    path = write_bag(tmp_path / "bag", storage, TOPICS, "FILE")
    if not with_metadata:
        (path / "metadata.yaml").unlink()
    bag = BagReader(path)
    frames, words = bag.frames(), bag.messages("/words")
    next(frames)
    assert len(list(words)) == 6 and len(list(frames)) == 5
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(list, [bag.frames() for _ in range(8)]):
            _same(found)
    assert len(packed) == 1 and len(os.listdir(folder)) == 1
    frames = bag.frames()
    next(frames)
    del bag
    assert len(list(frames)) == 5  # whoever reads keeps it
    del frames
    assert os.listdir(folder) == []


def test_of_a_split_bag_few_files_are_kept(tmp_path, scratch):
    folder, packed = scratch
    whole = tmp_path / "drive"
    whole.mkdir()
    for i in range(6):
        topics = {n: m[i : i + 1] for n, m in TOPICS.items()}
        part = write_bag(tmp_path / f"drive_{i}", "MCAP", topics, "FILE", first=i)
        storage_file(part).rename(whole / storage_file(part).name)
    (whole / "metadata.yaml").write_text(
        (part / "metadata.yaml")
        .read_text()
        .replace("  - drive_5.mcap.zstd", "".join(f"  - drive_{i}.mcap.zstd\n" for i in range(6)))
        .replace("message_count: 1", "message_count: 6")
    )
    bag = BagReader(whole)
    frames = []
    for frame, _ in zip(bag.frames(), bag.messages("/words"), strict=True):
        frames.append(frame)
        assert len(os.listdir(folder)) <= 2
    _same(frames)
    assert bag.damage is None and packed == [f"drive_{i}.mcap.zstd" for i in range(6)]


def test_no_room_to_unpack(tmp_path, scratch, monkeypatch):
    folder, _ = scratch
    bag = BagReader(write_bag(tmp_path / "bag", "MCAP", TOPICS, "FILE"))

    def full(source, target):
        target.write(b"some")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(OSError, match=f"{folder}: No space left on device; TMPDIR=FOLDER"):
            list(bag.frames())
    assert os.listdir(folder) == []
    _same(bag.frames())


@pytest.mark.parametrize("name", ["run#1", "50%20off", "what?"])
@pytest.mark.parametrize("storage", ["SQLITE3", "MCAP"])
def test_names_that_a_uri_would_take_for_its_own(tmp_path, storage, name):
    plain = write_bag(tmp_path / "bag", storage, TOPICS)
    folder = tmp_path / name
    folder.mkdir()
    file = folder / f"{name}{storage_file(plain).suffix}"
    shutil.copy(storage_file(plain), file)
    bag = BagReader(file)
    _same(bag.frames())
    assert bag.damage is None
    data = file.read_bytes()
    file.write_bytes(b"no" + data[2:])
    with pytest.raises(UserError, match="can be read") as error:
        BagReader(file)
    assert tempfile.gettempdir() + "/lrn_bag_" not in str(error.value)


def test_a_database_whose_recorder_did_not_finish(tmp_path):
    """What is in its write-ahead log is missed with a word, and there after what that says."""
    whole = write_bag(tmp_path / "bag", "SQLITE3", TOPICS)
    file = storage_file(whole)
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute(
            "INSERT INTO messages SELECT id + 99, topic_id, timestamp, data FROM messages"
        )
        database.commit()
        killed = tmp_path / "it's killed"
        killed.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{file}{suffix}", killed / f"a.db3{suffix}")
    database.close()
    (killed / "metadata.yaml").write_text(
        (whole / "metadata.yaml").read_text().replace("bag.", "a.")
    )
    for path in (killed, killed / "a.db3"):
        bag = BagReader(path)
        _same(bag.frames())
        assert "a.db3: its recorder did not finish, messages in a.db3-wal are not" in bag.damage
    (killed / "metadata.yaml").unlink()
    bag = BagReader(killed)
    assert bag.topics["/image"].count == 6 and "a.db3-wal are not read" in bag.damage
    if tool := shutil.which("sqlite3"):
        command = bag.damage.partition("first run: sqlite3 ")[2]
        subprocess.run(f"{tool} {command}", shell=True, check=True)
    else:
        with sqlite3.connect(killed / "a.db3") as database:
            database.execute("PRAGMA journal_mode = delete")
        database.close()
    bag = BagReader(killed)
    assert bag.topics["/image"].count == 12 and len(list(bag.frames())) == 12
    assert bag.damage == "metadata.yaml is missing"
