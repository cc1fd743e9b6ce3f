# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ground truth of a bag's frames: from a label topic or a folder, matched by stamp or by name."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.bags.decode import label_of
from lrn_ros.dataset import image_files, read_label
from lrn_ros.errors import UserError
from lrn_ros.evaluation.label_mapping import LabelMapping
from lrn_ros.labels import LabelSet

if TYPE_CHECKING:  # needs rosbags
    from lrn_ros.bags.reader import BagLabel

_HELD = 32  # labels of a topic that wait for their images
_LEAP_NS = 1_000_000_000
_STAMP = re.compile(r"(\d{9,11})[._-](\d{1,9})|(\d{16,20})")


@dataclass
class Matching:
    """How labels and images found each other.

    Attributes:
        labels: labels that there are, as far as they were looked at.
        matched: of them with an image.
        nearest_ns: smallest distance from a label to an image that it was not matched with,
            label minus image; None where none came near.
    """

    labels: int = 0
    matched: int = 0
    nearest_ns: int | None = None

    def near(self, difference_ns: int) -> None:
        """Note a label that is not an image's."""
        if self.nearest_ns is None or abs(difference_ns) < abs(self.nearest_ns):
            self.nearest_ns = difference_ns


class Truth(Protocol):
    """Ground truth of the frames of one image topic, asked for in their order.

    Attributes:
        title: where it is from, for people.
        matching: complete after `finish`.
    """

    title: str
    matching: Matching

    def find(self, index: int, stamp_ns: int, recorded_ns: int) -> NDArray[np.uint8] | None:
        """(H, W) class ids of a frame, 255 unlabelled; None where it has no label.

        Args:
            index: its position in the topic.
            stamp_ns: its header's stamp.
            recorded_ns: when it was recorded.
        """

    def finish(self) -> None:
        """Count the labels that no image asked for."""


class TopicTruth:
    """A label topic, read beside the images; labels come in the order of their stamps.

    Args:
        labels: see BagReader.labels.
        title: see Truth.
        tolerance_ns: a label belongs to the image whose stamp is at most so far away.
        mapping: applied to the class ids, see LabelMapping; None: they stay.
    """

    def __init__(
        self,
        labels: Iterator[BagLabel],
        title: str,
        tolerance_ns: int,
        mapping: LabelMapping | None = None,
    ) -> None:
        self.title, self.matching = title, Matching()
        self._labels, self._tolerance, self._mapping = labels, tolerance_ns, mapping
        self._held: deque[BagLabel] = deque(maxlen=_HELD)
        self._ended = False
        self._before: int | None = None

    def find(self, index: int, stamp_ns: int, recorded_ns: int) -> NDArray[np.uint8] | None:
        """See Truth.find."""
        if not self._leaps(stamp_ns, recorded_ns):
            while not self._ended and not (self._held and self._held[-1].stamp_ns > stamp_ns):
                self._read()
        if not self._held:
            return None
        nearest = min(self._held, key=lambda label: abs(label.stamp_ns - stamp_ns))
        difference = nearest.stamp_ns - stamp_ns
        if abs(difference) > self._tolerance:
            self.matching.near(difference)
            return None
        self.matching.matched += 1
        while self._held and self._held[0].stamp_ns <= nearest.stamp_ns:
            self._held.popleft()
        return nearest.label if self._mapping is None else self._mapping(nearest.label)

    def finish(self) -> None:
        """See Truth.finish."""
        while not self._ended:
            self._read()

    def _leaps(self, stamp_ns: int, recorded_ns: int) -> bool:
        """Whether the stamp is ahead of its time: reading on to it would pass by the next labels.

        Measured against the frame before, so that of a clock that was set one frame is lost.
        """
        before, self._before = self._before, stamp_ns - recorded_ns
        return before is not None and self._before - before > _LEAP_NS

    def _read(self) -> None:
        label = next(self._labels, None)
        self._ended = label is None
        if label is not None:
            self.matching.labels += 1
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
        self.matching.labels = len(files)
        if not self._by_stamp:
            self.title += f" (numbers {self._keys[0]} to {self._keys[-1]})"

    def find(self, index: int, stamp_ns: int, recorded_ns: int) -> NDArray[np.uint8] | None:
        """See Truth.find."""
        key = stamp_ns if self._by_stamp else index
        right = int(np.searchsorted(self._keys, key))
        near = [i for i in (right - 1, right) if 0 <= i < len(self._keys)]
        position = min(near, key=lambda i: abs(int(self._keys[i]) - key))
        difference = int(self._keys[position]) - key
        if abs(difference) > (self._tolerance if self._by_stamp else 0):
            if self._by_stamp:
                self.matching.near(difference)
            return None
        self.matching.matched += 1
        label = read_truth(self._files[position], self._labels)
        return label if self._mapping is None else self._mapping(label)

    def finish(self) -> None:
        """See Truth.finish."""


def read_truth(path: Path, labels: LabelSet) -> NDArray[np.uint8]:
    """Read a label image as (H, W) uint8 class ids, 255 unlabelled.

    Args:
        path: an 8-bit image: one channel holds the set's own ids (see LabelSet.ids, ignore, void),
            three hold its colours, black unlabelled.
        labels: the set.

    Raises:
        UserError: unreadable, or an id or a colour that the set does not have.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim == 2:
        return read_label(path, labels)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise UserError(f"{path}: JPEG changes colours; label images are PNG")
    return label_of("rgb8", np.asarray(image[..., 2::-1], np.uint8), labels, str(path))


def _numbers(files: list[Path]) -> list[int]:
    """The numbers of files after what all names begin with."""
    start = len(os.path.commonprefix([f.stem for f in files]).rstrip("0123456789"))
    if odd := next((f for f in files if not f.stem[start:].isdecimal()), None):
        raise UserError(
            f"{odd}: labels are named by stamp (1700000000250000000.png, 1700000000.25.png) or by"
            " the frame's position in the topic (000012.png)"
        )
    return [int(f.stem[start:]) for f in files]


def _stamp_of(stem: str) -> int | None:
    """Nanoseconds of a file name; None where it is no stamp.

    >>> _stamp_of("1700000000250000000"), _stamp_of("1700000000.25"), _stamp_of("000012")
    (1700000000250000000, 1700000000250000000, None)
    >>> _stamp_of("1700000000_250")
    1700000000000000250
    """
    match = _STAMP.fullmatch(stem)
    if match is None:
        return None
    seconds, fraction, nanoseconds = match.groups()
    if nanoseconds:
        return int(nanoseconds)
    whole = int(seconds) * 1_000_000_000
    return whole + int(fraction if "_" in stem else fraction.ljust(9, "0"))
