# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The storage files and topics of a bag, from metadata.yaml or from the files themselves."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
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
    """The storage files and topics of a bag.

    Attributes:
        files: storage files in the order of recording; some may be missing.
        topics: topics by name, sorted.
        seconds: time from the first message to the last.
        damage: known faults of metadata.yaml or the files.
        notes: unusual facts that harm nothing.
    """

    files: list[Path]
    topics: dict[str, BagTopic]
    seconds: float
    damage: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_index(path: Path, unpacked: Unpacked) -> Index:
    """The index of a bag, given its folder or a storage file.

    A file stands for the whole bag if a metadata.yaml beside it names the file, or names other
    files of the same numbered series.

    Raises:
        UserError: `path` is not a bag, or is a bag of ROS 1.
        OSError: see Plain.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    folder = path if path.is_dir() else path.parent
    files = sorted(filter(is_storage, folder.iterdir()), key=_numbered)
    if not (files if path.is_dir() else is_storage(path)):
        raise UserError(_not_a_bag(path))
    try:
        index = _read_metadata(folder)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        if path.is_file():
            return _survey([path], unpacked)
        missing = isinstance(error, FileNotFoundError)
        return _survey(
            files, unpacked, f"metadata.yaml {'is missing' if missing else 'cannot be read'}"
        )
    parts = [_there(file) for file in index.files]
    series, twins = {_series(file) for file in parts}, {_plain(file) for file in parts}
    unlisted = [f for f in files if _series(f) in series and _plain(f) not in twins]
    if path.is_file() and path not in (*parts, *unlisted) and _plain(path) not in twins:
        return _survey([path], unpacked)
    damage = [f"{file.name}: the file is missing" for file in parts if not file.is_file()]
    damage += [f"{file.name}: not in metadata.yaml, read all the same" for file in unlisted]
    index = replace(index, files=sorted({*parts, *unlisted}, key=_numbered) if unlisted else parts)
    return _counted(replace(index, damage=tuple(damage)), unlisted, unpacked)


def _not_a_bag(path: Path) -> str:
    old = [path] if path.suffix == ".bag" else sorted(path.glob("*.bag")) if path.is_dir() else []
    if old:
        return (
            f"{path} is a bag of ROS 1; convert it to a rosbag2 with:"
            f" rosbags-convert --src {shlex.quote(str(old[0]))}"
            f" --dst {shlex.quote(str(old[0].with_suffix('')))}"
        )
    works = ", ".join(STORAGE_SUFFIXES)
    return f"{path} is not a rosbag2; a folder with storage files ({works}) or one such file works"


def _there(file: Path) -> Path:
    """The file, or if it is missing, the same file compressed or not."""
    plain = _plain(file)
    packed = plain.with_name(f"{plain.name}.zstd")
    return next((f for f in (file, plain, packed) if f.is_file()), file)


def _plain(file: Path) -> Path:
    """The file without the suffix .zstd; `ros2 bag` leaves both files in the folder."""
    return file.with_suffix("") if file.suffix == ".zstd" else file


def _series(file: Path) -> str:
    """The name of a file without its number: NAME_0.mcap and NAME_1.mcap are one series."""
    return re.sub(r"\d+(?=\.[^.]+$)", "", _plain(file).name)


def _counted(index: Index, unlisted: list[Path], unpacked: Unpacked) -> Index:
    """The index with the counts of unlisted files, and of topics that metadata.yaml has at 0.

    A recorder that was killed may leave a metadata.yaml that counts no messages.
    """
    topics = dict(index.topics)
    found = _survey(unlisted, unpacked)
    none_counted = not any(topic.count for topic in topics.values())
    if none_counted or (any(topic.count == 0 for topic in topics.values())):
        files = [f for f in index.files if f not in unlisted]
        if not none_counted:  # do not unpack a compressed file for a topic that may be empty
            files = [f for f in files if f.suffix != ".zstd"]
        listed = _survey(files, unpacked)
        for name, topic in listed.topics.items():
            if not topics.get(name, topic).count or name not in topics:
                topics[name] = topic
        index = replace(
            index,
            seconds=index.seconds or listed.seconds,
            damage=tuple(dict.fromkeys((*index.damage, *listed.damage))),
            notes=listed.notes,
        )
    for name, topic in found.topics.items():
        before = topics[name].count if name in topics else 0
        topics[name] = BagTopic(topic.type, before + topic.count)
    return replace(
        index,
        topics=dict(sorted(topics.items())),
        damage=(*index.damage, *found.damage),
        notes=(*index.notes, *found.notes),
    )


def _read_metadata(folder: Path) -> Index:
    text = (folder / "metadata.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)["rosbag2_bagfile_information"]
    topics = {}
    for entry in data["topics_with_message_count"]:
        topic = entry["topic_metadata"]
        topics[str(topic["name"])] = BagTopic(str(topic["type"]), int(entry["message_count"]))
    # The first versions name files from the folder above.
    files = [folder / Path(name).name for name in data["relative_file_paths"]]
    if not files:
        raise ValueError("it names no file")
    return Index(files, dict(sorted(topics.items())), data["duration"]["nanoseconds"] / 1e9)


def _survey(files: list[Path], unpacked: Unpacked, *damage: str) -> Index:
    """The index from the files themselves."""
    topics: dict[str, BagTopic] = {}
    times: list[int] = []
    notes: tuple[str, ...] = ()
    for file in files:
        contents = survey(file, unpacked)
        if contents.damage:
            damage += (f"{file.name}: {contents.damage}",)
        if contents.note:
            notes += (f"{file.name} is {contents.note} and is read by a scan of the file",)
        for name, (kind, count) in contents.topics.items():
            before = topics[name].count if name in topics else 0
            topics[name] = BagTopic(kind, before + count)
        if any(count for _, count in contents.topics.values()):
            times += (contents.start_ns, contents.end_ns)
    seconds = (max(times) - min(times)) / 1e9 if times else 0.0
    return Index(files, dict(sorted(topics.items())), seconds, damage, notes)


def _numbered(path: Path) -> list[tuple[int, str]]:
    """A sort key that puts NAME_10 after NAME_9, as the recorder numbers split files."""
    return [(int(t), "") if t.isdigit() else (-1, t) for t in re.split(r"(\d+)", path.name)]
