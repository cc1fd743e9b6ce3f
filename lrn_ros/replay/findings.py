# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Finds faults of the labels of a recording: wrong frames, places or ids, and missing labels."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.ground_truth import Truth
from lrn_ros.replay.tally import Accuracy

_REACH = 3  # labels are tried so many frames, and steps of the coarse picture, away
_COARSE = 160  # pixels, the approximate width of the coarse picture
_MIN_LABELS = 5  # so many labels must agree before a shift is reported
_ALL, _EVERY = 20, 10  # the first 20 labels are tried at all places, then every tenth label
_MIN_GAIN = 0.005  # share of the pixels that must fit better after a shift
_MIN_WINS = 0.7  # share of the labels that must fit better after a shift
_MIN_FIT = 0.5  # share of the pixels that must agree after a shift
_MIN_FIT_IDS = 0.6  # share of the pixels that must agree with other ids
_MIN_GAIN_IDS = 0.1  # share of the pixels that must fit better with other ids
_UNLABELLED = 0.5  # a larger share of pixels without a label is reported


@dataclass(frozen=True)
class Shift:
    """A shift after which labels fit better.

    Attributes:
        by: number of frames later; or number of pixels to the right, and down.
        share: share of the labelled pixels that agree after the shift.
        here: share of the labelled pixels that agree without it.
        labels: number of labels that were compared.
    """

    by: tuple[int, ...]
    share: float
    here: float
    labels: int

    def __str__(self) -> str:
        share, here = 100 * self.share, 100 * self.here
        return (
            f"{share:.1f} % of the pixels would agree, {here:.1f} % agree now; {self.labels} labels"
        )


class Alignment:
    """Checks whether labels agree better with the predictions of other frames or other places.

    Args:
        labels: the classes; ids from their number up are unlabelled.
    """

    def __init__(self, labels: LabelSet) -> None:
        self._labels_set, self._classes, self._step = labels, len(labels), 1
        self._matrix = np.zeros((len(labels), 256), np.int64)
        self._seen = 0  # labels
        self._masks: deque[NDArray[np.uint8]] = deque(maxlen=2 * _REACH + 1)
        self._labels: deque[NDArray[np.uint8] | None] = deque(maxlen=_REACH + 1)
        steps = range(-_REACH, _REACH + 1)
        self._frames = _Votes([(s,) for s in steps])
        self._pixels = _Votes([(x, y) for y in steps for x in steps])

    def add(self, mask: NDArray[np.uint8], label: NDArray[np.uint8] | None) -> None:
        """Take the next frame: (H, W) class ids, and its label if it has one."""
        step = max(1, mask.shape[1] // _COARSE)
        if step != self._step or (
            self._masks and self._masks[0].shape != mask[::step, ::step].shape
        ):
            self._masks.clear()
            self._labels.clear()
            self._step = step
        coarse = None if label is None else label[::step, ::step].copy()
        self._masks.append(mask[::step, ::step].copy())
        self._labels.append(coarse)
        if coarse is not None:
            known = coarse < self._classes
            cells = coarse[known].astype(np.int64) * 256 + self._masks[-1][known]
            self._matrix += np.bincount(cells, minlength=self._matrix.size).reshape(-1, 256)
            if self._seen < _ALL or self._seen % _EVERY == 0:
                self._pixels.add(self._beside(self._masks[-1], coarse))
            self._seen += 1
        middle = self._labels[0]
        if len(self._masks) == 2 * _REACH + 1 and middle is not None:
            known = middle < self._classes
            hits = [int(((m == middle) & known).sum()) for m in self._masks]
            self._frames.add([(h, int(known.sum())) for h in hits])

    def in_time(self) -> Shift | None:
        """The shift in frames after which labels fit better; None: they fit best as they are."""
        return self._frames.best(1)

    def in_place(self) -> Shift | None:
        """The shift in pixels, right and down, after which labels fit better; None likewise."""
        return self._pixels.best(self._step)

    def in_ids(self) -> list[str]:
        """Sentences about labels whose classes are wrong and would fit after an exchange."""
        if self._seen < _MIN_LABELS:
            return []
        names, matrix = self._labels_set.names, self._matrix[:, : self._classes]
        present, total = self._matrix.sum(1), max(1, int(self._matrix.sum()))
        if np.count_nonzero(present) == 1:
            only = names[int(present.argmax())]
            return [
                f"{self._seen} labels hold one class only, {only}, as masks of 0 and 255 do; a"
                " label must hold the id of a class for every pixel"
            ]
        fits = _assigned(matrix)
        moved = [
            (i, j) for i, j in fits.items() if i != j and matrix[i, j] >= _MIN_FIT * present[i]
        ]  # fmt: skip
        here = float(matrix.trace()) / total
        there = here + sum(int(matrix[i, j] - matrix[i, i]) for i, j in moved) / total
        if len(moved) < 2 or there < _MIN_FIT_IDS or there - here < _MIN_GAIN_IDS:
            return []
        ids = self._labels_set.ids or tuple(range(self._classes))
        offsets = {ids[i] - ids[j] for i, j in moved}
        why = "the ids or colours of classes were exchanged"
        if len(offsets) == 1:
            (by,) = offsets
            why = f"ids are {abs(by)} too {'high' if by > 0 else 'low'}"
        pairs = ", ".join(f"{ids[i]} ({names[i]}) is {ids[j]} ({names[j]})" for i, j in moved)
        return [
            f"the classes of the labels do not fit, but their places do: {why}. {100 * here:.1f} %"
            f" of the pixels agree now, {100 * there:.1f} % with this mapping: {pairs}"
        ]

    def _beside(self, mask: NDArray[np.uint8], label: NDArray[np.uint8]) -> list[tuple[int, int]]:
        """Correct and labelled pixels at every shift, over the same middle part of the mask."""
        height, width = mask.shape
        if min(height, width) <= 4 * _REACH:
            return [(0, 0)] * (2 * _REACH + 1) ** 2
        inner = mask[_REACH : height - _REACH, _REACH : width - _REACH]
        found = []
        for y in range(2 * _REACH + 1):
            for x in range(2 * _REACH + 1):
                there = label[y : y + inner.shape[0], x : x + inner.shape[1]]
                known = there < self._classes
                found.append((int(((there == inner) & known).sum()), int(known.sum())))
        return found


def _assigned(matrix: NDArray[np.int64]) -> dict[int, int]:
    """Assign one answer to each class of the labels, beginning with the largest counts."""
    pairs: dict[int, int] = {}
    for cell in np.argsort(-matrix, axis=None, kind="stable"):
        i, j = (int(n) for n in np.unravel_index(cell, matrix.shape))
        if matrix[i, j] == 0:
            break
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


class _Votes:
    """Agreement at several shifts, summed over labels, and how often a shift is better."""

    def __init__(self, shifts: list[tuple[int, ...]]) -> None:
        self._shifts, self._zero = shifts, len(shifts) // 2
        self._sums = np.zeros((len(shifts), 2), np.int64)
        self._wins = np.zeros(len(shifts), np.int64)
        self._labels = 0

    def add(self, counts: list[tuple[int, int]]) -> None:
        found = np.array(counts, np.int64)
        share = found[:, 0] / np.maximum(found[:, 1], 1)
        self._sums += found
        self._wins += share > share[self._zero]
        self._labels += 1

    def best(self, unit: int) -> Shift | None:
        shares = self._sums[:, 0] / np.maximum(self._sums[:, 1], 1)
        best, here = int(shares.argmax()), float(shares[self._zero])
        often = self._wins[best] >= _MIN_WINS * self._labels
        if self._labels < _MIN_LABELS or not often or shares[best] - here < _MIN_GAIN:
            return None
        if shares[best] < _MIN_FIT:  # the labels fit nowhere, so their place is not the fault
            return None
        by = tuple(s * unit for s in self._shifts[best])
        return Shift(by, float(shares[best]), here, self._labels)


def of_unlabelled(accuracy: Accuracy | None) -> list[str]:
    """A sentence if most pixels of the labels are unlabelled."""
    if accuracy is None or not accuracy.unlabelled > _UNLABELLED:
        return []
    return [f"{100 * accuracy.unlabelled:.0f} % of the pixels of the labels are unlabelled"]


def of_labels(truth: Truth, alignment: Alignment) -> tuple[str, ...]:
    """The faults of the labels, one sentence for each."""
    matching, found = truth.matching, [truth.doubt] if truth.doubt else []
    if lost := matching.labels - matching.matched:
        near = matching.nearest_ns
        hint = "" if near is None else f"; the nearest one misses by {near / 1e6:+.1f} ms"
        found.append(f"{lost} of {matching.labels} labels belong to no image{hint}")
    if wrong := alignment.in_ids():
        return (*found, *wrong)
    if shift := alignment.in_time():
        (frames,) = shift.by
        where = f"{abs(frames)} {'later' if frames > 0 else 'earlier'}"
        found.append(f"labels are shifted in time: they fit the image {where} better ({shift})")
    if shift := alignment.in_place():
        right, down = shift.by
        found.append(
            f"labels are shifted in place, about {right:+d} pixels to the right and {down:+d} down"
            f" ({shift})"
        )
    return tuple(found)
