# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far confidences are probabilities: reliability curve and expected calibration error (ECE).

After Guo et al., "On calibration of modern neural networks", ICML 2017, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.model.labels import UNLABELLED

LEVELS = 256  # the number of values of a confidence
GROUPS = 16


def calibration_counts(
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    classes: int,
) -> NDArray[np.int64]:
    """Count pixels by confidence, wrong and right.

    Args:
        truth: class ids, any shape; ids from `classes` up are ignored (unlabelled).
        prediction: class ids of the same shape; 255 (unlabelled) is ignored too: the class that
            the confidence is of is not known.
        confidence: confidence of the same shape, probability of the predicted class times 255.
        classes: K.

    Returns:
        (256, 2) int64: row = confidence; wrong, right. Counts of several frames are added.
    """
    if not truth.shape == prediction.shape == confidence.shape:
        raise ValueError(
            f"truth has shape {truth.shape}, prediction {prediction.shape},"
            f" confidence {confidence.shape}"
        )
    keep = (truth < classes) & (prediction != UNLABELLED)
    right = truth[keep] == prediction[keep]
    cells = confidence[keep].astype(np.int64) * 2 + right
    return np.bincount(cells, minlength=LEVELS * 2).reshape(LEVELS, 2)


@dataclass(frozen=True)
class Reliability:
    """Reliability curve, one point a group of confidences, and its error.

    Attributes:
        confidence: mean confidence of the group's pixels, 0 to 1; NaN where there are none.
        accuracy: share of them that are right; NaN likewise.
        pixels: their number.
        ece: mean of |accuracy - confidence| over the groups, weighted by pixels; NaN without any.
    """

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    pixels: tuple[int, ...]
    ece: float


def reliability(counts: NDArray[np.int64], groups: int = GROUPS) -> Reliability:
    """Figures of (256, 2) counts; see `grouped`."""
    pixels, right, weighted = grouped(counts, groups).T
    with np.errstate(invalid="ignore"):
        confidence, accuracy = weighted / (255 * pixels), right / pixels
    return Reliability(
        confidence=tuple(confidence.tolist()),
        accuracy=tuple(accuracy.tolist()),
        pixels=tuple(pixels.tolist()),
        ece=float(expected_error(np.stack([pixels, right, weighted], 1))),
    )


def grouped(counts: NDArray[np.int64], groups: int = GROUPS) -> NDArray[np.int64]:
    """Counts of groups of equally many confidences.

    Args:
        counts: (256, 2), see calibration_counts.
        groups: a divisor of 256. These are the equally wide bins of the literature:
            v * groups // 255 = v * groups // 256 for v < 255.

    Returns:
        (groups, 3) int64: pixels, right ones, sum of the confidences (0 to 255).

    Raises:
        ValueError: `groups` does not divide 256.
    """
    if LEVELS % groups:
        raise ValueError(f"{groups} groups: 256 confidences are divided into 1, 2, 4, ... 256")
    pixels = counts.sum(1)
    columns = pixels, counts[:, 1], pixels * np.arange(LEVELS)
    return np.stack([c.reshape(groups, -1).sum(1) for c in columns], 1)


class TemperatureFit:
    """Finds the temperature at which the true classes are most probable.

    It minimises the negative log likelihood (Guo et al., section 4.2) over a fine grid.
    """

    def __init__(self) -> None:
        self._grid = np.geomspace(0.25, 8.0, 121)  # 3 % from one to the next
        self._loss = np.zeros(len(self._grid))
        self._pixels = 0

    def add(self, scores: NDArray[np.float32], truth: NDArray[np.uint8]) -> None:
        """Take pixels into account.

        Args:
            scores: (K, N) class scores before the softmax.
            truth: (N,) class ids; ids from K up are ignored (unlabelled).
        """
        keep = truth < len(scores)
        below = (scores - scores.max(0))[:, keep]
        own = np.take_along_axis(below, truth[keep][None].astype(np.intp), 0)[0]
        for i, temperature in enumerate(self._grid):
            total = np.exp(below / np.float32(temperature)).sum(0)
            self._loss[i] += float((np.log(total) - own / temperature).sum(dtype=np.float64))
        self._pixels += len(own)

    def best(self) -> float:
        """The temperature, 1 where there were no labelled pixels."""
        return float(self._grid[self._loss.argmin()]) if self._pixels else 1.0


def expected_error(groups: NDArray[Any]) -> NDArray[np.float64]:
    """ECE of (..., G, 3) counts, see `grouped`; NaN without pixels."""
    pixels, right, weighted = np.moveaxis(np.asarray(groups, np.float64), -1, 0)
    with np.errstate(invalid="ignore"):
        error = np.abs(right - weighted / 255).sum(-1) / pixels.sum(-1)
    return np.asarray(error, np.float64)
