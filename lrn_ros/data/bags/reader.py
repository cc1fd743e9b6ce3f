# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Streams images and labels of a rosbag2; memory does not grow with the length of the bag."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.bags.decode import (
    COMPRESSED,
    IDS,
    IMAGE,
    IMAGE_TYPES,
    VIDEO_TYPES,
    DecodedImage,
    StillDecoder,
    VideoDecoder,
    base_of,
    decoder_of,
    depth_of,
    label_of,
    label_pixels,
    rank_of,
)
from lrn_ros.data.bags.index import BagTopic, read_index
from lrn_ros.data.bags.storage import Damaged, Record, read_storage
from lrn_ros.data.bags.times import Extent, recorded_times, same_receipt, within
from lrn_ros.data.bags.unpack import Unpacked
from lrn_ros.errors import UserError
from lrn_ros.images.cdr import read_stamp, stamp_ns
from lrn_ros.images.encodings import NO_KEYFRAME, ImageError
from lrn_ros.model.labels import UNLABELLED, LabelSet

_RATE_MESSAGES = 50  # the stamps of so many messages give the rate of a topic
_LOG = logging.getLogger("lrn_ros")
STRING = "std_msgs/msg/String"


@dataclass(frozen=True)
class BagMessage:
    """A recorded message.

    Attributes:
        type: such as sensor_msgs/msg/Image.
        data: serialized (CDR).
        recorded_ns: when it was recorded, nanoseconds; of an image its stamp, where the receive
            times of its topic are equal.
    """

    type: str
    data: bytes
    recorded_ns: int


@dataclass(frozen=True)
class BagFrame:
    """A recorded image.

    Attributes:
        rgb: (H, W, 3) uint8; a read-only view of the message where that is rgb8.
        stamp_ns: stamp in the header, nanoseconds.
        recorded_ns: when it was recorded, nanoseconds.
        frame_id: frame_id in the header.
        index: index of the message in its topic, from 0.
        data: the message as it was recorded, serialized.
        time_ns: the stamp, or the time of recording if the topic's stamps are not set.
    """

    rgb: NDArray[np.uint8]
    stamp_ns: int
    recorded_ns: int
    frame_id: str
    index: int
    data: bytes
    time_ns: int


@dataclass(frozen=True)
class BagLabel:
    """A recorded label image.

    Attributes:
        label: (H, W) uint8 class ids, 255 unlabelled.
        stamp_ns, recorded_ns, frame_id: see BagFrame.
        ids: in the message, of every fourth pixel in every fourth row; empty for colours.
    """

    label: NDArray[np.uint8]
    stamp_ns: int
    recorded_ns: int
    frame_id: str
    ids: frozenset[int] = frozenset()


@dataclass
class _Bad:
    """Messages of a topic that cannot be decoded, by cause: their number and the error text."""

    topic: str
    causes: dict[str, tuple[int, str]] = field(default_factory=dict)
    others: bool = False  # whether other messages can be decoded

    def add(self, index: int, error: ImageError) -> None:
        """Count one."""
        # Of a video it matters what is missing; of images one by one, what is wrong with the first.
        cause = error.cause if error.cause == NO_KEYFRAME else ""
        count, said = self.causes.get(cause, (0, f"{self.topic}, message {index}: {error}"))
        self.causes[cause] = count + 1, said

    def __str__(self) -> str:
        found = [f"{said}; messages left out: {n}" for n, said in self.causes.values()]
        return "; ".join(found)


class BagReader:
    """Reads a bag: sqlite3 or mcap, compressed or not, in one file or several.

    A damaged file is read up to the damage, the files behind it are read, and `damage` says what is
    missing. A file without an index is read by a scan, which is logged. Every
    iterator opens the files for itself, so several can be walked side by side. A file that is
    compressed as a whole is unpacked once, into the folder for temporary files; see Unpacked.

    Args:
        path: the bag's folder, or its storage file.

    Attributes:
        path: the path as it was given.
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
        self._damages, self._notes = list(index.damage), list(index.notes)
        self._by_stamps: dict[str, bool] = {}
        for note in index.notes:
            _say_once(f"{path}: {note}")
        if not self.topics:
            raise UserError(f"{path}: nothing in this bag can be read ({self.damage or 'empty'})")

    @property
    def damage(self) -> str | None:
        """A text about the parts that cannot be read, as far as known by now; None: no damage."""
        return "; ".join(self._damages) or None

    @property
    def notes(self) -> list[str]:
        """Sentences about unusual facts of the bag that harm nothing, as far as known by now."""
        return list(self._notes)

    def image_topics(self) -> list[str]:
        """One topic a camera, by name; see `left_out`."""
        return [n for n in self._all_images() if n not in self.left_out]

    def _all_images(self) -> list[str]:
        """Topics with images, raw, compressed or as video, by name; without those of labels."""
        labels = self.label_topics()
        return [
            n for n, t in self.topics.items()
            if t.type in IMAGE_TYPES and t.count and n not in labels
        ]  # fmt: skip

    @cached_property
    def left_out(self) -> dict[str, str]:
        """Image topics that are only taken if they are named, and why.

        They are the further transports of a camera, as `ros2 bag record -a` records them, and depth
        images. A bag in which there would be no other topics has none.
        """
        best: dict[str, str] = {}  # topic by what the names of a camera's topics have in common
        names = sorted(self._all_images(), key=lambda n: rank_of(n, self.topics[n].type))
        same = {n: best.setdefault(base_of(n), n) for n in names}
        found = {n: f"it shows the same as {one}" for n, one in same.items() if n != one}
        if len(best) > 1:
            depth = {n: f"{kind} is depth" for n in best.values() if (kind := self._depth(n))}
            found |= depth if len(depth) < len(best) else {}
        return found

    def _depth(self, topic: str) -> str | None:
        """What the first message of a topic holds if it is depth."""
        try:
            return depth_of(next(self.messages(topic)))
        except (UserError, ImageError, OSError, StopIteration):  # who reads the topic will be told
            return None

    def label_topics(self) -> list[str]:
        """Topics with images beside whose name NAME there is a std_msgs/String NAME/classes.

        Compressed ones are named NAME/compressed.
        """
        named = {n.removesuffix("/classes") for n, t in self.topics.items() if t.type == STRING}
        return [
            n for n, t in self.topics.items()
            if t.type in (IMAGE, COMPRESSED) and t.count and _base(n) in named
        ]  # fmt: skip

    def image_topic(self, topic: str | None = None) -> str:
        """The topic, if it has images; None: the only one of `image_topics`.

        Raises:
            UserError: no such topic, or not one alone; the message names those there are.
        """
        known = self.image_topics()
        if topic is not None:
            return self._checked(topic, IMAGE_TYPES, known)
        if not known:
            raise UserError(
                f"{self.path}: no topic of type {', '.join(IMAGE_TYPES)} with messages; there are"
                f" {self._list_topics()}"
            )
        if len(known) > 1:
            raise UserError(f"{self.path} has several image topics; name one of {', '.join(known)}")
        return known[0]

    def _list_topics(self) -> str:
        """The topics with their types and counts."""
        return ", ".join(f"{n} ({t.type}, {t.count})" for n, t in self.topics.items()) or "none"

    def rate(self, topic: str) -> float:
        """Messages of a topic per second, from its first to its last, in Hz; 0: unknown.

        Where a file does not tell when these were recorded: per second of the bag.
        """
        count = self.topics[topic].count
        if self._is_played_by_stamps(topic):
            stamps = [m.recorded_ns for m in islice(self.messages(topic), _RATE_MESSAGES)]
            usual = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
            return round(1e9 / usual, 3) if usual > 0 else 0.0
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
            topic: of type sensor_msgs/Image, or CompressedImage with PNG; mono8 (8UC1) holds the
                ids of the set (see LabelSet.ids, ignore, void); a colour image its colours, black
                unlabelled.
            label_set: its classes; None: those of the bag, see `label_set`. Where these have the
                same names, mono8 holds the ids that the bag gives them, unlabelled 255 and the
                set's `ignore`.

        Raises:
            UserError: no such topic or no classes; while iterating, an id or a colour that the set
                does not have, another encoding, or not one label can be read.
        """
        self._checked(topic, (IMAGE, COMPRESSED), self.label_topics() or self.image_topics())
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
        base = _base(topic)
        for name in (f"{base}/classes", f"{base.rpartition('/')[0]}/classes"):
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
            # A little too early, because `within` decides with seconds as floating-point numbers.
            start_ns = first.recorded_ns + int(1e9 * extent.start_s) - 1000
            yield from within(self._messages(topic, start_ns), extent, first.recorded_ns)

    def _messages(
        self, topic: str, start_ns: int | None = None
    ) -> Iterator[tuple[int, BagMessage]]:
        """Messages with their indices; some before `start_ns` may be passed by."""
        count = 0
        by_stamps = self._is_played_by_stamps(topic)
        for file in self._files:
            passed = (
                0 if start_ns is None or by_stamps else self._count_before(file, topic, start_ns)
            )
            count += passed
            start = start_ns if passed else None
            try:
                for record in read_storage(file, topic, self._unpacked, start):
                    time_ns = (
                        _stamp(record, record.recorded_ns) if by_stamps else record.recorded_ns
                    )
                    yield count, BagMessage(record.type, record.data, time_ns)
                    count += 1
            except Damaged as error:  # the files after it are read all the same
                self._note(f"{file.name}: {error}")
        promised = self.topics[topic].count
        if count < promised:
            self._note(f"{topic} has {promised} messages, {count} can be read")
        if not count and self.damage:
            raise UserError(f"{self.path}: no message of {topic} can be read ({self.damage})")

    def _is_played_by_stamps(self, topic: str) -> bool:
        """Whether only the stamps of a topic's messages say when these were recorded."""
        if topic not in self._by_stamps:
            self._by_stamps[topic] = self._has_equal_receipts(topic)
        return self._by_stamps[topic]

    def _has_equal_receipts(self, topic: str) -> bool:
        """Whether the receive times of a topic are equal, in the first file that has some.

        The receive times are equal in some recordings that were converted, and in those of a
        simulation whose clock the recorder followed while it stood still.
        """
        if self.topics[topic].type not in IMAGE_TYPES:
            return False
        for file in self._files:
            if file.suffix == ".zstd" and file != self._files[0]:
                return False  # this question is not worth unpacking the file
            times = self._times(file, topic) if file.is_file() else None
            if times is not None and len(times) > 1:
                if same_receipt(times):
                    note = f"{topic}: receive times are equal, so the stamps are taken for them"
                    self._notes.append(note)
                    _say_once(f"{self.path}: {note}")
                    return True
                return False
        return False

    def _count_before(self, file: Path, topic: str, start_ns: int) -> int:
        times = self._times(file, topic)
        return 0 if times is None else int(np.searchsorted(times, start_ns))

    def _frames(
        self, topic: str, wanted: Collection[int] | None, extent: Extent
    ) -> Iterator[BagFrame]:
        kind = self.topics[topic].type
        decoder, bad = decoder_of(kind), _Bad(topic)
        last = None if wanted is None else max(wanted, default=-1)
        # A frame of a video depends on the frames before it, so all of them are decoded.
        is_video = kind in VIDEO_TYPES
        items = self._messages(topic) if is_video else self.part(topic, extent)
        skips = wanted is not None and not is_video
        images = self._decoded(decoder, bad, items, wanted if skips else None, last)
        if is_video and (first := next(self.messages(topic), None)):
            images = within(images, extent, first.recorded_ns)
        for index, image, time_ns in _timed(images):
            if wanted is not None and index not in wanted:
                continue
            try:
                rgb = image.to_rgb()
            except ImageError as error:
                bad.add(index, error)
                continue
            bad.others = True
            stamp, recorded = stamp_ns(image.header.stamp), image.recorded_ns
            about = image.header.frame_id, index, image.data, time_ns
            yield BagFrame(rgb, stamp, recorded, *about)
        self._note_bad(bad)

    def _decoded(
        self,
        decoder: StillDecoder | VideoDecoder,
        bad: _Bad,
        items: Iterator[tuple[int, BagMessage]],
        wanted: Collection[int] | None,
        last: int | None,
    ) -> Iterator[tuple[int, DecodedImage]]:
        """Messages with their images, up to the index `last`; those without one are counted."""
        for index, message in items:
            if last is not None and index > last:
                break
            if wanted is not None and index not in wanted:
                continue
            try:
                images = decoder.add(index, message)
            except ImageError as error:
                bad.add(index, error)
                continue
            yield from ((image.index, image) for image in images)
        yield from ((image.index, image) for image in decoder.finish())
        for index, reason in decoder.without_image():
            bad.add(index, reason)

    def _labels(self, topic: str, label_set: LabelSet) -> Iterator[BagLabel]:
        bad = _Bad(topic)
        for index, message in enumerate(self.messages(topic)):
            where = f"{self.path}: {topic}, message {index}"
            try:
                header, encoding, rgb = label_pixels(message)
            except ImageError as error:
                bad.add(index, error)
                continue
            except UserError as error:
                raise UserError(f"{where}: {error}") from error
            bad.others = True
            label = label_of(encoding, rgb, label_set, where)
            ids = np.unique(rgb[::4, ::4, 0]).tolist() if encoding in IDS else ()
            about = stamp_ns(header.stamp), message.recorded_ns, header.frame_id
            yield BagLabel(label, *about, frozenset(ids))
        self._note_bad(bad)

    def _note_bad(self, bad: _Bad) -> None:
        if bad.causes and not bad.others:
            kind = self.topics[bad.topic].type
            about = f" ({kind})" if kind in VIDEO_TYPES else ""
            said = "; ".join(said for _, said in bad.causes.values())
            raise UserError(f"{self.path}: {said}{about}")
        if bad.causes:
            self._note(str(bad))

    def _note(self, damage: str) -> None:
        if damage not in self._damages:
            self._damages.append(damage)

    def _checked(self, topic: str, kinds: tuple[str, ...], known: list[str]) -> str:
        found = self.topics.get(topic)
        if found is None or not found.count:
            there = ", ".join(known) or "none"
            raise UserError(
                f"{self.path}: no image topic {topic!r}; there are {there}; all topics:"
                f" {self._list_topics()}"
            )
        if found.type not in kinds:
            raise UserError(f"{self.path}: {topic} is {found.type}, not {' or '.join(kinds)}")
        return topic


def _base(topic: str) -> str:
    """The name of a topic without that of its transport."""
    return topic.removesuffix("/compressed")


def _timed(
    images: Iterator[tuple[int, DecodedImage]],
) -> Iterator[tuple[int, DecodedImage, int]]:
    """Images with their times: stamps, or where these are not set, when they were recorded.

    A first stamp of 0 may be the beginning of a simulation; a second stamp of 0 is not set.
    """
    begin = list(islice(images, 1))
    if begin and not stamp_ns(begin[0][1].header.stamp):
        begin += islice(images, 1)
    has_stamps = any(stamp_ns(image.header.stamp) for _, image in begin)
    for index, image in chain(begin, images):
        yield index, image, stamp_ns(image.header.stamp) if has_stamps else image.recorded_ns


def _stamp(message: Record | BagMessage, otherwise: int) -> int:
    """The stamp of a message that begins with one; `otherwise` for one that is too short."""
    try:
        return read_stamp(message.data)
    except ImageError:
        return otherwise


@cache
def _say_once(text: str) -> None:
    _LOG.info(text)


def _with_ids(label_set: LabelSet, own: LabelSet) -> LabelSet:
    """The set with the ids that a bag gives its classes; as it is where the names differ."""
    ids = dict(zip(own.names, own.ids or range(len(own))))
    if ids.keys() != set(label_set.names):
        return label_set
    ignore = UNLABELLED if label_set.ignore in ids.values() else label_set.ignore
    return replace(label_set, ids=tuple(ids[n] for n in label_set.names), ignore=ignore, void=())
