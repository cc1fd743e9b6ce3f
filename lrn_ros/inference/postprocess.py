# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Postprocessing on the CPU with NumPy: from coarse scores to the output's pixels.

A score at a pixel is, in float32 and in this order, for the two rows of scores around it
`left * (1 - a) + right * a`, and for these two `top * (1 - b) + bottom * b`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.geometry import Geometry
from lrn_ros.model.labels import UNLABELLED

_CHUNK = 1 << 17  # scores interpolated at a time: 0.5 MB stays in the processor's cache
_MARGIN = 1e-5  # share of the largest score; rounding errors are less than a tenth of this


class Axis(NamedTuple):
    """Linear interpolation along one axis: (pixels,) indices of scores and float32 weights."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    weight_low: NDArray[np.float32]
    weight_high: NDArray[np.float32]


def upsample(coarse: NDArray[np.float32], geometry: Geometry, stride: int) -> NDArray[np.float32]:
    """Interpolate coarse scores bilinearly, with half-pixel centres, at the output's pixels.

    Args:
        coarse: (K, h, w) float32 at `stride` of the network's input.
        geometry: its content and output sizes give the map; the border is left out.
        stride: pixels of the network's input per score.

    Returns:
        (K, H, W) float32, H and W as `geometry.output`.
    """
    rows, columns = axes(coarse.shape[1:], geometry, stride)
    scores = np.empty((len(coarse), *geometry.output), np.float32)
    everywhere = np.arange(geometry.output[1])
    for first, last in _runs(rows.low):
        for start, stop, part in _interpolate(coarse, rows, columns, (first, last), everywhere):
            scores[:, start:stop] = part
    return scores


def upsample_argmax(
    coarse: NDArray[np.float32],
    geometry: Geometry,
    stride: int,
    confidence: bool,
    merged: Sequence[int] = (),
    temperature: float = 1.0,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Class ids, and their probability, at the output's pixels.

    The mask equals `upsample(...).argmax(0)` bit for bit, ties to the lowest class included, and
    takes a fraction of the time: a pixel's weights are not negative and add up to one, so between
    four scores at which the same class wins by a margin it wins at every pixel, and only the other
    pixels are interpolated. The margin covers rounding: with u = 2^-24 and M the largest score's
    magnitude, two weighted sums of two products change the difference of two classes by less
    than 9 u M = 6e-7 M. Probabilities are not bounded that way: asked for, all pixels are
    interpolated.

    Args:
        coarse: (K, h, w) float32 at `stride` of the network's input, K up to 255.
        geometry: see `upsample`.
        stride: see `upsample`.
        confidence: whether to compute the probabilities.
        merged: per class a number from 0 to 255; the probabilities of classes with the same number
            are added up. Empty: every class is on its own.
        temperature: what the scores are divided by before the softmax.

    Returns:
        mask (H, W) uint8, 255 where scores are not numbers, and (H, W) uint8, softmax probability
        of the chosen class times 255, rounded, or None.
    """
    rows, columns = axes(coarse.shape[1:], geometry, stride)
    mask = np.empty(geometry.output, np.uint8)
    probability = np.empty(geometry.output, np.uint8) if confidence else None
    settled = _settled(coarse)
    groups = merge_table(merged)
    for first, last in _runs(rows.low):
        known = settled[rows.low[first]].take(columns.low)
        mask[first:last] = known
        where = np.arange(len(known)) if confidence else np.flatnonzero(known == UNLABELLED)
        for start, stop, scores in _interpolate(coarse, rows, columns, (first, last), where):
            top = scores.max(axis=0)
            mask[start:stop, where] = _first_equal(scores, top)
            if probability is not None:
                below = np.subtract(scores, top, out=scores)
                below *= np.float32(1 / temperature)
                weights = np.exp(below, out=below)
                total, own = weights.sum(axis=0), 1
                if merged:
                    same = groups[: len(coarse), None, None] == groups[mask[start:stop]]
                    own = np.einsum("k...,k...->...", weights, same)
                probability[start:stop] = np.rint(255 * own / total)
    return mask, probability


def merge_table(merged: Sequence[int]) -> NDArray[np.uint8]:
    """(256,) uint8: the number of every class, see upsample_argmax."""
    table = np.arange(256, dtype=np.uint8)
    table[: len(merged)] = merged
    return table


def axes(cells: Sequence[int], geometry: Geometry, stride: int) -> tuple[Axis, Axis]:
    """Interpolation along rows and columns of coarse scores, `cells` = (h, w) of them."""

    def along(n: int) -> Axis:
        content, pixels = geometry.content[n], geometry.output[n]
        position = (np.arange(pixels) + 0.5) * (content / stride / pixels) - 0.5
        position = position.clip(0, cells[n] - 1)
        low = np.minimum(position.astype(np.intp), max(cells[n] - 2, 0))
        high = np.minimum(low + 1, cells[n] - 1)
        weight = (position - low).astype(np.float32)
        return Axis(low, high, 1 - weight, weight)

    return along(0), along(1)


def _runs(low: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """[first, last) of the pixel rows between the same two rows of scores."""
    borders = [0, *(np.flatnonzero(np.diff(low)) + 1).tolist(), len(low)]
    yield from zip(borders, borders[1:])


def _interpolate(
    coarse: NDArray[np.float32],
    rows: Axis,
    columns: Axis,
    run: tuple[int, int],
    where: NDArray[np.intp],
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Scores at one run's rows and the columns `where`, _CHUNK of them or a row at a time.

    Yields:
        start and stop of the rows, and (K, stop - start, len(where)) scores.
    """
    (first, last), left, right = run, columns.low[where], columns.high[where]
    if not len(where):
        return
    pair = coarse[:, [rows.low[first], rows.high[first]]]
    pair = pair.take(left, axis=2) * columns.weight_low[where] + (
        pair.take(right, axis=2) * columns.weight_high[where]
    )
    top, bottom = pair[:, :1], pair[:, 1:]
    step = max(1, _CHUNK // top.size)
    for start in range(first, last, step):
        stop = min(start + step, last)
        scores: NDArray[np.float32] = top * rows.weight_low[start:stop, None]
        scores += bottom * rows.weight_high[start:stop, None]
        yield start, stop, scores


def _first_equal(scores: NDArray[np.float32], top: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lowest class whose score is `top`, 255 for none; faster than argmax along the first axis."""
    rank = np.arange(255, 255 - len(scores), -1, dtype=np.uint8).reshape(-1, 1, 1)
    return ~((scores == top) * rank).max(axis=0)


def _settled(coarse: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w): the class that wins clearly at a score and its neighbours right, below; else 255."""
    top = coarse.max(axis=0)
    # The second term is for scores so small that products underflow.
    margin = np.float32(_MARGIN) * np.abs(coarse).max() + np.float32(1e-36)
    clear = (coarse >= top - margin).sum(axis=0) == 1
    winner = np.where(clear, _first_equal(coarse, top), np.uint8(UNLABELLED))
    around = np.pad(winner, ((0, 1), (0, 1)), mode="edge")
    same = (around[1:, :-1] == winner) & (around[:-1, 1:] == winner) & (around[1:, 1:] == winner)
    return np.where(same, winner, np.uint8(UNLABELLED))
