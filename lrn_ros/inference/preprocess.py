# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Preprocessing on the CPU with OpenCV, and OpenCV's rule as tables for other processors."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.geometry import Geometry


def resize(rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    """Scale a frame to the network's input: area averaging down, bilinear up, border repeated.

    Args:
        rgb: (H, W, 3) uint8, H and W as `geometry.frame`.
        geometry: the sizes, see lrn_ros.inference.geometry.

    Returns:
        (h, w, 3) uint8, h and w as `geometry.network`; `rgb` itself where nothing is to do.
    """
    image = rgb
    if geometry.content != geometry.frame:
        shrinks = geometry.content[0] < geometry.frame[0]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = cv2.resize(rgb, geometry.content[::-1], interpolation=method)  # type: ignore[assignment]
    if geometry.network != geometry.content:
        below = geometry.network[0] - geometry.content[0]
        right = geometry.network[1] - geometry.content[1]
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    return image


COPY, AREA, AREA_HALVES_UP, LINEAR = range(4)  # how a frame is scaled
_FIXED_POINT = np.float32(2048)  # OpenCV's bilinear weights are whole numbers of 1 / 2048
_MIN_PART = 1e-3  # a smaller part of a pixel does not count


class Taps(NamedTuple):
    """From which pixels, and with which weights, the pixels along one axis are computed.

    Attributes:
        first: (pixels + 1,) int32: pixel i is made of entries first[i] to first[i + 1] - 1.
        source: (entries,) int32, a pixel of the frame.
        weight: (entries,) float32, its weight; for LINEAR in whole numbers of 1 / 2048.
    """

    first: NDArray[np.int32]
    source: NDArray[np.int32]
    weight: NDArray[np.float32]


class ResizeRule(NamedTuple):
    """OpenCV's arithmetic of `resize` for one geometry.

    Attributes:
        kind: COPY; AREA, a mean over rows of means over columns in float32, rounded to the nearest
            whole number, halves to the even one or with AREA_HALVES_UP up; or LINEAR.
        rows: along the frame's height.
        columns: along its width.
        scale: scale of the sum before it is rounded.
    """

    kind: int
    rows: Taps
    columns: Taps
    scale: np.float32


def resize_rule(geometry: Geometry) -> ResizeRule:
    """The arithmetic by which `resize` makes the content of the network's input.

    Where both sides shrink by whole numbers the pixels of a block are summed up and divided once.
    """
    frame, content = geometry.frame, geometry.content
    axes = list(zip(frame, content))
    one = np.float32(1)
    if frame == content:
        return ResizeRule(COPY, _block_taps(*axes[0]), _block_taps(*axes[1]), one)
    if content[0] >= frame[0] or content[1] > frame[1]:
        by_area = content[0] < frame[0]
        rows = _linear_taps(*axes[0], clamp=False, by_area=by_area)
        return ResizeRule(LINEAR, rows, _linear_taps(*axes[1], clamp=True, by_area=by_area), one)
    if any(source % target for source, target in axes):
        return ResizeRule(AREA, _area_taps(*axes[0]), _area_taps(*axes[1]), one)
    block = [source // target for source, target in axes]
    kind = AREA_HALVES_UP if block == [2, 2] else AREA
    scale = one / np.float32(block[0] * block[1])
    return ResizeRule(kind, _block_taps(*axes[0]), _block_taps(*axes[1]), scale)


def _taps(entries: list[list[tuple[int, float]]]) -> Taps:
    flat = [entry for part in entries for entry in part]
    first = np.cumsum([0, *(len(part) for part in entries)])
    index, weight = ([entry[n] for entry in flat] for n in (0, 1))
    return Taps(first.astype(np.int32), np.array(index, np.int32), np.array(weight, np.float32))


def _block_taps(source: int, target: int) -> Taps:
    """Whole pixels with the weight 1."""
    size = source // target
    return _taps([[(i * size + j, 1.0) for j in range(size)] for i in range(target)])


def _area_taps(source: int, target: int) -> Taps:
    """Every pixel that is covered, with the covered part of it as weight."""
    step, entries = source / target, []
    for i in range(target):
        start, stop = i * step, (i + 1) * step
        covered = min(step, source - start)
        whole_stop = min(math.floor(stop), source - 1)
        whole_start = min(math.ceil(start), whole_stop)
        part = [(j, 1 / covered) for j in range(whole_start, whole_stop)]
        if whole_start - start > _MIN_PART:
            part.insert(0, (whole_start - 1, (whole_start - start) / covered))
        if stop - whole_stop > _MIN_PART:
            part.append((whole_stop, min(stop - whole_stop, 1.0, covered) / covered))
        entries.append(part)
    return _taps(entries)


def _linear_taps(source: int, target: int, clamp: bool, by_area: bool) -> Taps:
    """Two pixels each.

    Args:
        source: pixels of the frame.
        target: pixels of the content.
        clamp: give a border pixel all the weight beyond the frame, as OpenCV does along columns;
            along rows it rounds two shares of the same pixel.
        by_area: place pixels as OpenCV does where it is asked for areas and one side grows.
    """
    ratio, entries = target / source, []
    step = 1 / ratio
    for i in range(target):
        if by_area:
            low = math.floor(i * step)
            share = np.float32((i + 1) - (low + 1) * ratio)
            share = np.float32(0) if share <= 0 else share - np.floor(share)
        else:
            position = np.float32((i + 0.5) * step - 0.5)
            low = math.floor(position)
            share = position - np.float32(low)
        if clamp and not 0 <= low < source - 1:
            share = np.float32(0)
        weights = [np.rint(w * _FIXED_POINT) for w in (np.float32(1) - share, share)]
        places = (min(max(j, 0), source - 1) for j in (low, low + 1))
        entries.append(list(zip(places, weights)))
    return _taps(entries)
