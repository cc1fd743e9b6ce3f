# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ground truth of a bag's frames: from a label topic or a folder, matched by stamp or by name."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.bags.decode import label_of
from lrn_ros.data.datasets import read_label
from lrn_ros.data.layouts import image_files
from lrn_ros.errors import UserError
from lrn_ros.model.labels import UNLABELLED, LabelMapping, LabelSet

if TYPE_CHECKING:  # needs rosbags
    from lrn_ros.data.bags.reader import BagLabel

_MAX_WAITING = 32  # labels of a topic that wait for their images
_LEAP_NS = 1_000_000_000
_AHEAD_NS = 500_000_000  # labels are read so far ahead of the recorder's clock if stamps ask for it
# In 64 bits. Those of a simulation have few digits of seconds, and more of the fraction.
_STAMP = re.compile(
    r"(\d{9,10})[._-](\d{1,9})|(\d{1,8})(?:[_-](\d{9})|\.(\d{3,9}))|(\d{16,18}|[1-8]\d{18})"
)
_NUMBER = re.compile(r"\d{1,18}")


@dataclass
class Matching:
    """How many labels there were, and how many of them have an image.

    Attributes:
        labels: labels that there are, as far as they were looked at.
        matched: of them with an image.
        nearest_ns: smallest distance from a label to an image that it was not matched with,
            label minus image; None where none came near.
    """

    labels: int = 0
    matched: int = 0
    nearest_ns: int | None = None

    def choose(
        self,
        labels_ns: Sequence[int],
        stamp_ns: int,
        others_ns: Iterable[int | None],
        tolerance_ns: int,
    ) -> int | None:
        """Position of the label of an image: its nearest label, if no other image is nearer to it.

        Args:
            labels_ns: stamps of labels.
            stamp_ns: stamp of the image.
            others_ns: of the images before and after it, None: there is none.
            tolerance_ns: a label is at most so far away; one that just misses is noted.
        """
        others = [other for other in others_ns if other is not None]
        misses = [label - stamp_ns for label in labels_ns]
        own = [
            i for i, label in enumerate(labels_ns)
            if abs(misses[i]) <= min([tolerance_ns, *(abs(label - other) for other in others)])
        ]  # fmt: skip
        if own:
            return min(own, key=lambda i: abs(misses[i]))
        nearest = min(misses, key=abs, default=0)
        if abs(nearest) > tolerance_ns and abs(nearest) < abs(self.nearest_ns or nearest * 2):
            self.nearest_ns = nearest
        return None


class Truth(Protocol):
    """Ground truth of the frames of one image topic; frames are asked for in their order.

    Attributes:
        title: where it is from, for people.
        matching: complete after `finish`.
        doubt: what is odd about the labels read so far, a sentence; empty: nothing.
    """

    title: str
    matching: Matching

    @property
    def doubt(self) -> str:
        """See above."""

    def find(
        self, index: int, stamp_ns: int, recorded_ns: int, next_ns: int | None = None
    ) -> NDArray[np.uint8] | None:
        """(H, W) class ids of a frame, 255 unlabelled; None if the frame has no label.

        Args:
            index: position of the image in the topic.
            stamp_ns: stamp in the image's header.
            recorded_ns: when it was recorded.
            next_ns: the stamp of the frame after it, None: it is the last. A label belongs to the
                frame that is nearest to it, and to one only.
        """

    def finish(self) -> None:
        """Count the labels that belong to no image."""


class TopicTruth:
    """A label topic, read beside the images; labels come in the order of their images.

    How far to read is told by the stamps and, because one may be wrong and a clock may be set, by
    the recorder's clock too: a label is recorded about as long after its image as the last one that
    was found.

    Args:
        labels: see BagReader.labels.
        title: see Truth.
        tolerance_ns: a label belongs to the image whose stamp is at most so far away.
        mapping: applied to the class ids, see LabelMapping; None: they stay.
        assumed: the set whose ids the labels are taken for; None: the bag itself names them.
    """

    def __init__(
        self,
        labels: Iterator[BagLabel],
        title: str,
        tolerance_ns: int,
        mapping: LabelMapping | None = None,
        assumed: LabelSet | None = None,
    ) -> None:
        self.title, self.matching = title, Matching()
        self._labels, self._tolerance, self._mapping = labels, tolerance_ns, mapping
        self._assumed, self._ids = assumed, set[int]()  # in the messages
        self._held: deque[BagLabel] = deque(maxlen=_MAX_WAITING)
        self._ended = False
        self._late_ns: int | None = None  # from an image's recording to its label's
        self._last_ns: int | None = None
        self._clock_ns: int | None = None

    @property
    def doubt(self) -> str:
        """See Truth.doubt."""
        return "" if self._assumed is None else _doubt_ids(self._ids, self._assumed)

    def find(
        self, index: int, stamp_ns: int, recorded_ns: int, next_ns: int | None = None
    ) -> NDArray[np.uint8] | None:
        """See Truth.find."""
        leaps = self._leaps(stamp_ns, recorded_ns, next_ns)
        while self._is_further_on(stamp_ns, recorded_ns, leaps):
            self._read()
        others, self._last_ns = (self._last_ns, next_ns), stamp_ns
        stamps = [label.stamp_ns for label in self._held]
        at = self.matching.choose(stamps, stamp_ns, others, self._tolerance)
        if at is None:
            return None
        self.matching.matched += 1
        found = self._held[at]
        del self._held[at]
        self._late_ns = found.recorded_ns - recorded_ns
        return found.label if self._mapping is None else self._mapping(found.label)

    def finish(self) -> None:
        """See Truth.finish."""
        while not self._ended:
            self._read()

    def _leaps(self, stamp_ns: int, recorded_ns: int, next_ns: int | None) -> bool:
        """Whether the stamp is ahead of its time: the labels up to it are those of other images.

        Measured against the frames before and after, so that of a clock that was set one frame is.
        """
        before, self._clock_ns = self._clock_ns, stamp_ns - recorded_ns
        if next_ns is not None and stamp_ns - next_ns > _LEAP_NS:
            return True
        return before is not None and self._clock_ns - before > _LEAP_NS

    def _is_further_on(self, stamp_ns: int, recorded_ns: int, leaps: bool) -> bool:
        """Whether the image's label may be one of those not yet read."""
        if self._ended or not self._held:
            return not self._ended
        newest = self._held[-1]
        if self._late_ns is None:
            self._late_ns = min(0, newest.recorded_ns - recorded_ns)
        ahead_ns = newest.recorded_ns - self._late_ns - recorded_ns
        if newest.stamp_ns > stamp_ns:
            return ahead_ns <= 0 and newest.stamp_ns - stamp_ns > _LEAP_NS
        return not leaps and (ahead_ns <= _AHEAD_NS or not self.matching.matched)

    def _read(self) -> None:
        label = next(self._labels, None)
        self._ended = label is None
        if label is not None:
            self.matching.labels += 1
            self._ids |= label.ids
            self._held.append(label)


class FolderTruth:
    """A folder of label images, named by stamp or by the frame.

    By stamp: nanoseconds (1700000000250000000.png), or seconds and their fraction with a point or a
    dash between (1700000000.25.png), or seconds and nanoseconds with an underscore between. By
    frame: its position in the topic from 0 (000012.png), after what all names begin with
    (frame_000012.png).

    Args:
        folder: images of one channel with ids, or of three with colours; see read_truth.
        labels: the set of those ids and colours.
        tolerance_ns, mapping: as in TopicTruth.

    Raises:
        UserError: no such folder, no images in it, or names of which neither holds.
    """

    def __init__(
        self,
        folder: Path,
        labels: LabelSet,
        tolerance_ns: int,
        mapping: LabelMapping | None = None,
    ) -> None:
        self.title, self.matching = str(folder), Matching()
        self._labels, self._mapping, self._tolerance = labels, mapping, tolerance_ns
        files = image_files(folder)
        stamps = [_stamp_of(f.stem) for f in files]
        self._by_stamp = all(s is not None for s in stamps)
        keys = [s or 0 for s in stamps] if self._by_stamp else _numbers(files)
        order = sorted(range(len(files)), key=keys.__getitem__)
        self._files = [files[i] for i in order]
        self._keys = np.array([keys[i] for i in order], np.int64)
        self._used: set[int] = set()
        self._ids: set[int] = set()  # in the files
        self._last_ns: int | None = None
        self.matching.labels = len(files)
        if not self._by_stamp:
            self.title += f" (numbers {self._keys[0]} to {self._keys[-1]})"

    def find(
        self, index: int, stamp_ns: int, recorded_ns: int, next_ns: int | None = None
    ) -> NDArray[np.uint8] | None:
        """See Truth.find."""
        others, self._last_ns = (self._last_ns, next_ns), stamp_ns
        position = self._of_stamp(stamp_ns, others) if self._by_stamp else self._of_number(index)
        if position is None:
            return None
        self._used.add(position)
        self.matching.matched += 1
        label = read_truth(self._files[position], self._labels, self._ids)
        return label if self._mapping is None else self._mapping(label)

    @property
    def doubt(self) -> str:
        """See Truth.doubt."""
        return _doubt_ids(self._ids, self._labels)

    def _of_number(self, index: int) -> int | None:
        position = int(np.searchsorted(self._keys, index))
        there = position < len(self._keys) and self._keys[position] == index
        return position if there else None

    def _of_stamp(self, stamp_ns: int, others: Sequence[int | None]) -> int | None:
        ends = stamp_ns - self._tolerance, stamp_ns + self._tolerance
        low, high = (int(i) for i in np.searchsorted(self._keys, ends))
        near = range(max(low - 1, 0), min(high + 1, len(self._keys)))  # and one that just misses
        free = [i for i in near if i not in self._used]
        stamps = [int(self._keys[i]) for i in free]
        at = self.matching.choose(stamps, stamp_ns, others, self._tolerance)
        return None if at is None else free[at]

    def finish(self) -> None:
        """See Truth.finish."""


def check_fits_several(folder: Path) -> None:
    """Check that a folder of labels can be for several bags: its files must be named by stamp.

    Raises:
        UserError: it is a folder of labels that are named by frame.
    """
    if folder.is_dir() and any(_stamp_of(file.stem) is None for file in image_files(folder)):
        raise UserError(
            f"{folder}: labels that are named by frame fit one bag only; name the labels of several"
            " bags by stamp (1700000000250000000.png), or replay the bags one by one"
        )


def read_truth(path: Path, labels: LabelSet, seen: set[int] | None = None) -> NDArray[np.uint8]:
    """Read a label image as (H, W) uint8 class ids, 255 unlabelled.

    Args:
        path: an 8-bit image: one channel holds the set's own ids (see LabelSet.ids, ignore, void),
            three hold its colours, black unlabelled.
        labels: the set.
        seen: the ids of a label with one channel are added to it; every fourth pixel of every
            fourth row is looked at.

    Raises:
        UserError: unreadable, or an id or a colour that the set does not have.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim == 2:
        if seen is not None and image is not None and image.dtype == np.uint8:
            seen.update(np.flatnonzero(np.bincount(image[::4, ::4].ravel())).tolist())
        return read_label(path, labels)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise UserError(f"{path}: JPEG changes colours; label images are PNG")
    rgb = np.asarray(image[..., 2::-1], np.uint8)
    where = f"{path} (indexed colours: save class ids as greyscale)" if _indexed(path) else path
    return label_of("rgb8", rgb, labels, str(where))


def _doubt_ids(found: set[int], labels: LabelSet) -> str:
    """A sentence about ids that are positions in a set that has ids of its own; empty: none."""
    own, seen = set(labels.ids), found - {UNLABELLED}
    if not own or not seen - own or max(seen) >= len(labels):
        return ""
    return (
        f"all ids of the labels are from 0 to {len(labels) - 1}, as train ids are, and those of"
        f" {labels.name} from {min(own)} to {max(own)}: --labels FILE.yaml with the same classes"
        " and without `id` reads train ids"
    )


def _indexed(path: Path) -> bool:
    """Whether a file is a PNG with a palette: the colour type in its IHDR chunk is 3."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:4] == b"\x89PNG" and head[25] == 3


def _numbers(files: list[Path]) -> list[int]:
    """The numbers in file names, after the beginning that all names share."""
    start = len(os.path.commonprefix([f.stem for f in files]).rstrip("0123456789"))
    if odd := next((f for f in files if not _NUMBER.fullmatch(f.stem[start:])), None):
        raise UserError(
            f"{odd}: the file name must be a stamp (1700000000250000000.png, 1700000000.25.png) or"
            " the frame's position in the topic (000012.png)"
        )
    return [int(f.stem[start:]) for f in files]


def _stamp_of(stem: str) -> int | None:
    """Nanoseconds of a file name; None where it is no stamp.

    >>> _stamp_of("1700000000250000000"), _stamp_of("1700000000.25"), _stamp_of("000012")
    (1700000000250000000, 1700000000250000000, None)
    >>> _stamp_of("1700000000_250")
    1700000000000000250
    >>> _stamp_of("1.100000000"), _stamp_of("0.25"), _stamp_of("3_000000007")
    (1100000000, None, 3000000007)
    """
    match = _STAMP.fullmatch(stem)
    if match is None:
        return None
    *parts, nanoseconds = match.groups()
    if nanoseconds:
        return int(nanoseconds)
    seconds, fraction = (part for part in parts if part is not None)
    whole = int(seconds) * 1_000_000_000
    return whole + int(fraction if "_" in stem else fraction.ljust(9, "0"))
