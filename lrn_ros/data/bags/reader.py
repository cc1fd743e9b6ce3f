# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images and labels of a rosbag2, streamed: memory does not grow with the bag's length."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.bags.decode import label_of
from lrn_ros.data.bags.extent import Extent, within
from lrn_ros.data.bags.index import BagTopic, read_index
from lrn_ros.data.bags.storage import Damaged, read_storage
from lrn_ros.data.bags.times import recorded_times
from lrn_ros.data.bags.unpack import Unpacked
from lrn_ros.errors import UserError
from lrn_ros.images.cdr import (
    CompressedImageMessage,
    ImageMessage,
    parse_compressed_image,
    parse_image,
    stamp_ns,
)
from lrn_ros.images.compressed import compressed_to_rgb
from lrn_ros.images.encodings import ImageError, message_to_rgb
from lrn_ros.model.labels import UNLABELLED, LabelSet

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
STRING = "std_msgs/msg/String"


@dataclass(frozen=True)
class BagMessage:
    """A recorded message.

    Attributes:
        type: such as sensor_msgs/msg/Image.
        data: serialized (CDR).
        recorded_ns: when it was recorded, nanoseconds.
    """

    type: str
    data: bytes
    recorded_ns: int


@dataclass(frozen=True)
class BagFrame:
    """A recorded image.

    Attributes:
        rgb: (H, W, 3) uint8; a read-only view of the message where that is rgb8.
        stamp_ns: its header's stamp, nanoseconds.
        recorded_ns: when it was recorded, nanoseconds.
        frame_id: its header's.
        index: of the message in its topic, from 0.
        data: the message as it was recorded, serialized.
    """

    rgb: NDArray[np.uint8]
    stamp_ns: int
    recorded_ns: int
    frame_id: str
    index: int
    data: bytes


@dataclass(frozen=True)
class BagLabel:
    """A recorded label image.

    Attributes:
        label: (H, W) uint8 class ids, 255 unlabelled.
        stamp_ns, recorded_ns, frame_id: see BagFrame.
    """

    label: NDArray[np.uint8]
    stamp_ns: int
    recorded_ns: int
    frame_id: str


@dataclass
class _Bad:
    """Messages of a topic that cannot be decoded."""

    topic: str
    count: int = 0
    first: str = ""
    others: bool = False  # there are some that can

    def add(self, index: int, error: ImageError) -> None:
        """Count one."""
        self.count += 1
        self.first = self.first or f"{self.topic}, message {index}: {error}"


class BagReader:
    """Reads a bag: sqlite3 or mcap, compressed or not, in one file or several.

    A damaged bag is read up to the damage: the iterators end there, and `damage` says why. Every
    iterator opens the files for itself, so several can be walked side by side. A file that is
    compressed as a whole is unpacked once, into the folder for temporary files; see Unpacked.

    Args:
        path: the bag's folder, or its storage file.

    Attributes:
        path: as given.
        topics: type and number of messages (BagTopic) by name, in the order of the names.

    Raises:
        UserError: not a bag, or nothing of it can be read.
        OSError: no room to unpack it, here or while iterating.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unpacked = Unpacked()
        self._times = cache(partial(recorded_times, unpacked=self._unpacked))
        index = read_index(path, self._unpacked)
        self.topics: dict[str, BagTopic] = index.topics
        self._files, self._seconds = index.files, index.seconds
        self._damages = list(index.damage)
        if not self.topics:
            raise UserError(f"{path}: nothing in this bag can be read ({self.damage or 'empty'})")

    @property
    def damage(self) -> str | None:
        """What of the bag cannot be read and why, as far as known by now; None: nothing."""
        return "; ".join(self._damages) or None

    def image_topics(self) -> list[str]:
        """Topics with images, raw or compressed, by name; without those of labels."""
        labels = self.label_topics()
        kinds = (IMAGE, COMPRESSED)
        return [
            n for n, t in self.topics.items() if t.type in kinds and t.count and n not in labels
        ]

    def label_topics(self) -> list[str]:
        """Topics with images beside whose name NAME there is a std_msgs/String NAME/classes."""
        named = {n.removesuffix("/classes") for n, t in self.topics.items() if t.type == STRING}
        return [n for n, t in self.topics.items() if t.type == IMAGE and t.count and n in named]

    def image_topic(self, topic: str | None = None) -> str:
        """The topic, if it has images; None: the only one of `image_topics`.

        Raises:
            UserError: no such topic, or not one alone; the message names those there are.
        """
        known = self.image_topics()
        if topic is not None:
            return self._checked(topic, (IMAGE, COMPRESSED), known)
        if not known:
            raise UserError(f"{self.path}: no topic of type {IMAGE} or {COMPRESSED}")
        if len(known) > 1:
            raise UserError(f"{self.path}: several image topics, name one of {', '.join(known)}")
        return known[0]

    def rate(self, topic: str) -> float:
        """Messages of a topic per second, from its first to its last, in Hz; 0: unknown.

        Where a file does not tell when these were recorded: per second of the bag.
        """
        count = self.topics[topic].count
        first, last = self._time(topic, self._files, 0), self._time(topic, self._files[::-1], -1)
        seconds = self._seconds if first is None or last is None else (last - first) / 1e9
        return round((count - 1) / seconds, 3) if count > 1 and seconds > 0 else 0.0

    def _time(self, topic: str, files: list[Path], at: int) -> int | None:
        """Of the topic's message number `at` in the first of these files that has any."""
        for file in files:
            times = self._times(file, topic)
            if times is None or len(times):
                return None if times is None else int(times[at])
        return None

    def frames(
        self,
        topic: str | None = None,
        wanted: Collection[int] | None = None,
        extent: Extent = Extent(),  # noqa: B008 (frozen)
    ) -> Iterator[BagFrame]:
        """The images of a topic in recorded order; one that cannot be decoded is left out.

        Args:
            topic: see `image_topic`.
            wanted: only those with these indices; None: all. The others are not decoded.
            extent: only what was recorded in this part.

        Raises:
            UserError: see `image_topic`; while iterating, if not one image can be read.
        """
        return self._frames(self.image_topic(topic), wanted, extent)

    def labels(self, topic: str, label_set: LabelSet | None = None) -> Iterator[BagLabel]:
        """The labels of a topic in recorded order.

        Args:
            topic: of type sensor_msgs/Image; mono8 (8UC1) holds the ids of the set, as a PNG would
                (see LabelSet.ids, ignore, void); a colour image its colours, black unlabelled.
            label_set: its classes; None: those of the bag, see `label_set`. Where these have the
                same names, mono8 holds the ids that the bag gives them, unlabelled 255 and the
                set's `ignore`.

        Raises:
            UserError: no such topic or no classes; while iterating, an id or a colour that the set
                does not have, another encoding, or not one label can be read.
        """
        self._checked(topic, (IMAGE,), self.label_topics() or self.image_topics())
        try:
            own = self.label_set(topic)
        except UserError:
            if label_set is None:
                raise
            own = None
        known = label_set or own
        if known is None:
            raise UserError(f"{self.path}: {topic} has no {topic}/classes; name a label set")
        return self._labels(topic, _with_ids(known, own) if own else known)

    def label_set(self, topic: str) -> LabelSet | None:
        """The classes with their ids that the bag names in `topic`/classes; None: it does not.

        Those of a topic /NS/mask may be in /NS/classes too, as the node publishes them.

        Raises:
            UserError: what is there is not a list of classes.
        """
        for name in (f"{topic}/classes", f"{topic.rpartition('/')[0]}/classes"):
            found = self.topics.get(name)
            if found is not None and found.type == STRING and found.count:
                return self._classes(name)
        return None

    def _classes(self, name: str) -> LabelSet:
        data = next(self.messages(name)).data
        text = bytes(data[8:-1])  # after the encapsulation and the length, before the NUL
        try:
            keys = ("id", "name", "rgb")
            classes = [{k: c[k] for k in keys if k in c} for c in json.loads(text)]
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{self.path}: {name} is not a list of classes: {error!r}") from error
        return LabelSet.from_dict({"name": name, "classes": classes}, f"{self.path} {name}")

    def messages(self, topic: str) -> Iterator[BagMessage]:
        """The messages of a topic in recorded order, serialized as they were published.

        Raises:
            UserError: no such topic; while iterating, if not one can be read.
        """
        if topic not in self.topics:
            raise UserError(f"{self.path}: no topic {topic!r}; there are {', '.join(self.topics)}")
        return (message for _, message in self._messages(topic))

    def part(self, topic: str, extent: Extent) -> Iterator[tuple[int, BagMessage]]:
        """The messages of a topic that are in the extent, each with its index in the topic.

        Those before it are not read where the files tell how many they are.

        Raises:
            UserError: see `messages`.
        """
        self.messages(topic)  # raises for an unknown topic
        return self._part(topic, extent)

    def _part(self, topic: str, extent: Extent) -> Iterator[tuple[int, BagMessage]]:
        if extent.start_s <= 0:
            yield from within(self._messages(topic), extent)
        elif first := next(self.messages(topic), None):
            # A little early: to the float of seconds `within` has the last word.
            start_ns = first.recorded_ns + int(1e9 * extent.start_s) - 1000
            yield from within(self._messages(topic, start_ns), extent, first.recorded_ns)

    def _messages(
        self, topic: str, start_ns: int | None = None
    ) -> Iterator[tuple[int, BagMessage]]:
        """Messages with their indices; some before `start_ns` may be passed by."""
        count = 0
        try:
            for file in self._files:
                passed = 0 if start_ns is None else self._count_before(file, topic, start_ns)
                count += passed
                start = start_ns if passed else None
                for record in read_storage(file, topic, self._unpacked, start):
                    yield count, BagMessage(record.type, record.data, record.recorded_ns)
                    count += 1
        except Damaged as error:
            self._note(f"{file.name}: {error}")
        promised = self.topics[topic].count
        if count < promised:
            self._note(f"{topic} has {promised} messages, {count} can be read")
        if not count and self.damage:
            raise UserError(f"{self.path}: no message of {topic} can be read ({self.damage})")

    def _count_before(self, file: Path, topic: str, start_ns: int) -> int:
        times = self._times(file, topic)
        return 0 if times is None else int(np.searchsorted(times, start_ns))

    def _frames(
        self, topic: str, wanted: Collection[int] | None, extent: Extent
    ) -> Iterator[BagFrame]:
        last = None if wanted is None else max(wanted, default=-1)
        bad = _Bad(topic)
        for index, message in self.part(topic, extent):
            if last is not None and index > last:
                return
            if wanted is not None and index not in wanted:
                continue
            try:
                image, rgb = _decoded(message)
            except ImageError as error:
                bad.add(index, error)
                continue
            bad.others = True
            stamp, frame_id = stamp_ns(image.header.stamp), image.header.frame_id
            yield BagFrame(rgb, stamp, message.recorded_ns, frame_id, index, message.data)
        self._note_bad(bad)

    def _labels(self, topic: str, label_set: LabelSet) -> Iterator[BagLabel]:
        bad = _Bad(topic)
        for index, message in enumerate(self.messages(topic)):
            try:
                image = parse_image(message.data)
                rgb = message_to_rgb(image)
            except ImageError as error:
                bad.add(index, error)
                continue
            bad.others = True
            where = f"{self.path}: {topic}, message {index}"
            label = label_of(image.encoding, rgb, label_set, where)
            yield BagLabel(
                label, stamp_ns(image.header.stamp), message.recorded_ns, image.header.frame_id
            )
        self._note_bad(bad)

    def _note_bad(self, bad: _Bad) -> None:
        if bad.count and not bad.others:
            raise UserError(f"{self.path}: {bad.first}")
        if bad.count:
            self._note(f"{bad.first}; messages left out: {bad.count}")

    def _note(self, damage: str) -> None:
        if damage not in self._damages:
            self._damages.append(damage)

    def _checked(self, topic: str, kinds: tuple[str, ...], known: list[str]) -> str:
        found = self.topics.get(topic)
        if found is None or not found.count:
            there = ", ".join(known) or "none"
            raise UserError(f"{self.path}: no image topic {topic!r}; there are {there}")
        if found.type not in kinds:
            raise UserError(f"{self.path}: {topic} is {found.type}, not {' or '.join(kinds)}")
        return topic


def _with_ids(label_set: LabelSet, own: LabelSet) -> LabelSet:
    """The set with the ids that a bag gives its classes; as it is where the names differ."""
    ids = dict(zip(own.names, own.ids or range(len(own))))
    if ids.keys() != set(label_set.names):
        return label_set
    ignore = UNLABELLED if label_set.ignore in ids.values() else label_set.ignore
    return replace(label_set, ids=tuple(ids[n] for n in label_set.names), ignore=ignore, void=())


def _decoded(
    message: BagMessage,
) -> tuple[ImageMessage | CompressedImageMessage, NDArray[np.uint8]]:
    if message.type == COMPRESSED:
        compressed = parse_compressed_image(message.data)
        return compressed, compressed_to_rgb(compressed.data, compressed.format)
    image = parse_image(message.data)
    return image, message_to_rgb(image)
