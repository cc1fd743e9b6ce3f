# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a bag has: its storage files and topics, from metadata.yaml or from the files themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from lrn_ros.data.bags import STORAGE_SUFFIXES, is_storage
from lrn_ros.data.bags.storage import survey
from lrn_ros.data.bags.unpack import Unpacked
from lrn_ros.errors import UserError


@dataclass(frozen=True)
class BagTopic:
    """A topic's message type, such as sensor_msgs/msg/Image, and its number of messages."""

    type: str
    count: int


@dataclass(frozen=True)
class Index:
    """What a bag has.

    Attributes:
        files: storage files in the order of recording; some may be missing.
        topics: by name, in the order of the names.
        seconds: from the first message to the last.
        damage: what is known by now to be wrong with metadata.yaml or the files.
    """

    files: list[Path]
    topics: dict[str, BagTopic]
    seconds: float
    damage: tuple[str, ...] = ()


def read_index(path: Path, unpacked: Unpacked) -> Index:
    """The index of a bag, given its folder or a storage file.

    A file that a folder's metadata.yaml names stands for the whole bag.

    Raises:
        UserError: not a bag.
        OSError: see Plain.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    folder = path if path.is_dir() else path.parent
    files = sorted(filter(is_storage, folder.iterdir()), key=_numbered)
    if not (files if path.is_dir() else is_storage(path)):
        works = ", ".join(STORAGE_SUFFIXES)
        raise UserError(
            f"{path}: not a rosbag2; a folder with storage files ({works}) or one works"
        )
    try:
        index = _read_metadata(folder)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        if path.is_file():
            return _survey([path], unpacked)
        missing = isinstance(error, FileNotFoundError)
        return _survey(
            files, unpacked, f"metadata.yaml {'is missing' if missing else 'cannot be read'}"
        )
    if path.is_file() and path not in index.files:
        return _survey([path], unpacked)
    # A recorder that was killed may leave a metadata.yaml that counts no messages.
    return index if any(t.count for t in index.topics.values()) else _survey(index.files, unpacked)


def _read_metadata(folder: Path) -> Index:
    text = (folder / "metadata.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)["rosbag2_bagfile_information"]
    topics = {}
    for entry in data["topics_with_message_count"]:
        topic = entry["topic_metadata"]
        topics[str(topic["name"])] = BagTopic(str(topic["type"]), int(entry["message_count"]))
    # The first versions name files from the folder above.
    files = [folder / Path(name).name for name in data["relative_file_paths"]]
    return Index(files, dict(sorted(topics.items())), data["duration"]["nanoseconds"] / 1e9)


def _survey(files: list[Path], unpacked: Unpacked, *damage: str) -> Index:
    """The index from the files themselves."""
    topics: dict[str, BagTopic] = {}
    times: list[int] = []
    for file in files:
        contents = survey(file, unpacked)
        if contents.damage:
            damage += (f"{file.name}: {contents.damage}",)
        for name, (kind, count) in contents.topics.items():
            before = topics[name].count if name in topics else 0
            topics[name] = BagTopic(kind, before + count)
        if any(count for _, count in contents.topics.values()):
            times += (contents.start_ns, contents.end_ns)
    seconds = (max(times) - min(times)) / 1e9 if times else 0.0
    return Index(files, dict(sorted(topics.items())), seconds, damage)


def _numbered(path: Path) -> list[tuple[int, str]]:
    """Sorts NAME_10 behind NAME_9, as the recorder numbers the files of a split bag."""
    return [(int(t), "") if t.isdigit() else (-1, t) for t in re.split(r"(\d+)", path.name)]
