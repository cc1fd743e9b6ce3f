# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Confusion matrix and the figures derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Count pixels by (truth, prediction).

    Args:
        truth: class ids, any shape; ids from `classes` up are ignored (unlabelled).
        prediction: class ids of the same shape; 255 (unlabelled) counts as a miss.
        classes: K.

    Returns:
        (K, K + 1) int64: row = truth, column = prediction, the last column "no answer".
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
    # Unlabelled pixels get a row of their own: that is faster than to leave them out.
    cells = np.minimum(truth, classes).astype(np.uint16)
    cells *= classes + 1
    cells += np.minimum(prediction, classes)
    counts = np.bincount(cells.ravel(), minlength=(classes + 1) ** 2)
    return counts.reshape(classes + 1, classes + 1)[:classes]


@dataclass(frozen=True)
class Scores:
    """Segmentation figures over a whole set, from one confusion matrix.

    Attributes:
        iou: intersection over union per class, NaN where the class never occurs.
        miou: mean of `iou` over the classes that occur.
        pixel_accuracy: share of labelled pixels that are right.
        precision: per class, hits per pixel of that answer; NaN where it was never given.
        recall: per class, hits per pixel of the truth; NaN where the truth has none.
        pixels: per class, pixels of the truth.
    """

    iou: tuple[float, ...]
    miou: float
    pixel_accuracy: float
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    pixels: tuple[int, ...]

    def by_class(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """The figures of every class under its name, with its share of all pixels."""
        total = max(1, sum(self.pixels))
        rows = zip(names, self.iou, self.precision, self.recall, self.pixels)
        return {
            name: {
                "iou": iou,
                "precision": precision,
                "recall": recall,
                "pixels": pixels,
                "share": pixels / total,
            }
            for name, iou, precision, recall, pixels in rows
        }


def scores(matrix: NDArray[np.int64]) -> Scores:
    """Figures of a (K, K + 1) confusion matrix."""
    classes = matrix.shape[0]
    hits = matrix.diagonal().astype(np.float64)
    truth, called = matrix.sum(1), matrix[:, :classes].sum(0)
    union = truth + called - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        iou, precision, recall = hits / union, hits / called, hits / truth
        accuracy = hits.sum() / matrix.sum()
    occurs = union > 0
    miou = float(iou[occurs].mean()) if occurs.any() else float("nan")
    return Scores(
        iou=tuple(iou.tolist()),
        miou=miou,
        pixel_accuracy=float(accuracy),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        pixels=tuple(truth.tolist()),
    )
