# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image messages of a rosbag2 folder, with the rosbags library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from lrn_ros.errors import UserError

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


@dataclass(frozen=True)
class BagImage:
    """One recorded image message.

    Attributes:
        time_ns: when it was recorded, nanoseconds.
        message: its fields, as sensor_msgs has them.
        compressed: whether it is a CompressedImage.
    """

    time_ns: int
    message: Any
    compressed: bool


@dataclass(frozen=True)
class ImageTopic:
    """An image topic of a bag: name, number of messages, messages per second (0: unknown)."""

    name: str
    count: int
    rate: float


class ImageBag:
    """Reads one image topic of a bag.

    Args:
        path: the bag's folder, or its storage file.
        topic: an Image or CompressedImage topic; None: the first one by name.

    Raises:
        UserError: not a readable bag, or no such image topic; the message lists those there are.
    """

    def __init__(self, path: Path, topic: str | None = None) -> None:
        self.path = path.parent if path.is_file() else path
        if not (self.path / "metadata.yaml").is_file():
            raise UserError(
                f"{self.path}: a bag without metadata.yaml; make one with: ros2 bag reindex"
            )
        self._topics = self._find_topics()
        names = [t.name for t in self._topics]
        if not names:
            raise UserError(f"{path}: no topic of type {IMAGE} or {COMPRESSED}")
        if topic is not None and topic not in names:
            raise UserError(f"{path}: no image topic {topic!r}; there are {', '.join(names)}")
        self.topic = self._topics[names.index(topic) if topic else 0]

    def __iter__(self) -> Iterator[BagImage]:
        """The topic's messages in recorded order."""
        with self._open() as reader:
            chosen = [c for c in reader.connections if c.topic == self.topic.name]
            for connection, time_ns, data in reader.messages(chosen):
                message = reader.deserialize(data, connection.msgtype)
                yield BagImage(time_ns, message, connection.msgtype == COMPRESSED)

    def _open(self) -> AnyReader:
        store = get_typestore(Stores.ROS2_JAZZY)
        return AnyReader([self.path], default_typestore=store)

    def _find_topics(self) -> list[ImageTopic]:
        try:
            with self._open() as reader:
                seconds = reader.duration / 1e9
                kinds = {c.topic: c.msgtype for c in reader.connections}
                counts = {name: info.msgcount for name, info in reader.topics.items()}
        except (AnyReaderError, OSError, ValueError) as error:
            raise UserError(f"{self.path}: cannot be read as a rosbag2: {error}") from error
        return [
            ImageTopic(name, counts[name], _rate(counts[name], seconds))
            for name, kind in sorted(kinds.items())
            if kind in (IMAGE, COMPRESSED) and counts[name]
        ]


def _rate(count: int, seconds: float) -> float:
    return round((count - 1) / seconds, 3) if count > 1 and seconds > 0 else 0.0
