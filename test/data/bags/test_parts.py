# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags in several files of which some are missing, unlisted or damaged, and bags of ROS 1."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml
from bag_files import image, storage_file, write_bag

from lrn_ros.data.bags import is_bag
from lrn_ros.data.bags.reader import BagReader
from lrn_ros.errors import UserError

FRAMES = [np.full((8, 12, 3), 20 * i, np.uint8) for i in range(12)]
STORAGES = {"MCAP": "mcap", "SQLITE3": "db3"}


@pytest.fixture(params=STORAGES)
def bag(request, tmp_path):
    """A bag in three files of four images each; its folder and the suffix of its files."""
    folder, suffix = tmp_path / "drive", STORAGES[request.param]
    folder.mkdir()
    for part in range(3):
        messages = [image(i, FRAMES[i], "rgb8") for i in range(4 * part, 4 * part + 4)]
        made = write_bag(
            tmp_path / f"part{part}", request.param, {"/image": messages}, "NONE", 4 * part
        )
        shutil.copy(storage_file(made), folder / f"drive_{part}.{suffix}")
    about = yaml.safe_load((made / "metadata.yaml").read_text())
    info = about["rosbag2_bagfile_information"]
    info["relative_file_paths"] = [f"drive_{i}.{suffix}" for i in range(3)]
    info["topics_with_message_count"][0]["message_count"] = info["message_count"] = 12
    (folder / "metadata.yaml").write_text(yaml.safe_dump(about))
    return folder, suffix


def read(path, files, damage):
    """Check that the images of these files are read, and that the reader says what is wrong."""
    reader = BagReader(path)
    values = [int(f.rgb[0, 0, 0]) // 20 for f in reader.frames("/image")]
    assert values == [4 * part + i for part in files for i in range(4)]
    for text in damage:
        assert text in str(reader.damage)
    assert damage or reader.damage is None


def names(bag):
    """What may name the bag: its folder, and each of its files."""
    return [bag, *(p for p in sorted(bag.iterdir()) if p.name != "metadata.yaml")]


def test_a_missing_part_is_named(bag):
    folder, suffix = bag
    for path in names(folder):
        read(path, (0, 1, 2), [])
    (folder / f"drive_1.{suffix}").unlink()
    for path in names(folder):
        read(path, (0, 2), [f"drive_1.{suffix}: the file is missing", "12 messages, 8 can be read"])


def test_an_unlisted_part_is_named_and_read(bag):
    folder, suffix = bag
    about = yaml.safe_load((folder / "metadata.yaml").read_text())
    info = about["rosbag2_bagfile_information"]
    for left in ([0, 2], [0, 1]):
        info["relative_file_paths"] = [f"drive_{i}.{suffix}" for i in left]
        info["topics_with_message_count"][0]["message_count"] = 8
        (folder / "metadata.yaml").write_text(yaml.safe_dump(about))
        (other,) = {0, 1, 2} - set(left)
        for path in names(folder):
            read(
                path,
                (0, 1, 2),
                [f"drive_{other}.{suffix}: not in metadata.yaml, read all the same"],
            )


def test_files_of_another_name_are_not_of_the_bag(bag):
    folder, suffix = bag
    shutil.copy(folder / f"drive_0.{suffix}", folder / f"backup.{suffix}")
    read(folder, (0, 1, 2), [])
    read(folder / f"backup.{suffix}", (0,), [])


def test_a_damaged_part_ends_no_other(bag):
    folder, suffix = bag
    file = folder / f"drive_1.{suffix}"
    file.write_bytes(file.read_bytes()[:40])
    read(folder, (0, 2), [f"drive_1.{suffix}: "])


def test_metadata_that_counts_nothing(bag):
    folder, _ = bag
    about = yaml.safe_load((folder / "metadata.yaml").read_text())
    info = about["rosbag2_bagfile_information"]
    info["topics_with_message_count"][0]["message_count"] = info["message_count"] = 0
    info["duration"]["nanoseconds"] = 0
    other = {
        "message_count": 7,
        "topic_metadata": {"name": "/words", "type": "std_msgs/msg/String"},
    }
    info["topics_with_message_count"].append(other)  # this one alone is counted
    (folder / "metadata.yaml").write_text(yaml.safe_dump(about))
    read(folder, (0, 1, 2), [])
    assert BagReader(folder).topics["/image"].count == 12


def test_a_bag_of_ros_1_names_the_converter(tmp_path):
    file = tmp_path / "my drive.bag"
    file.write_bytes(b"#ROSBAG V2.0\n")
    for path in (file, tmp_path):
        assert is_bag(path)
        with pytest.raises(
            UserError, match="a bag of ROS 1; .*rosbags-convert --src '.*my drive.bag'"
        ):
            BagReader(path)
