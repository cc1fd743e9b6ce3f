# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Boundary F-score per class, counted over all frames together, as in a confusion matrix.

After Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.model.labels import UNLABELLED

TOLERANCE = 0.0075  # share of the image's diagonal, as in Csurka et al.


def boundary_counts(
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    classes: int,
    tolerance: float = TOLERANCE,
) -> NDArray[np.int64]:
    """Count the boundary pixels of both masks, and those that are near the other mask's boundary.

    A pixel belongs to the boundary of its class if one of its four neighbours has another class.
    Pixels without a label in the truth are ignored in the prediction too; their border and the
    image's border are no boundaries. Two pixels are near each other if their Euclidean distance is
    at most `tolerance` times the image's diagonal.

    Args:
        truth: (H, W) class ids; ids from `classes` up are ignored (unlabelled).
        prediction: (H, W) class ids, 255 (unlabelled) has no boundary.
        classes: K.
        tolerance: share of the image's diagonal.

    Returns:
        (K, 4) int64, one row for each class: boundary pixels of the prediction; how many of them
        are near the truth's boundary; boundary pixels of the truth; how many of them are near the
        prediction's boundary. Counts of several frames can be added.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
    labelled = truth < classes
    true = _boundaries(np.where(labelled, truth, UNLABELLED))
    found = _boundaries(np.where(labelled, prediction, UNLABELLED))
    reach = tolerance * math.hypot(*truth.shape)
    columns = *_count(found, true, reach, classes), *_count(true, found, reach, classes)
    return np.stack(columns, 1)


@dataclass(frozen=True)
class BoundaryScores:
    """Boundary figures over a whole set.

    Attributes:
        f_score: per class, harmonic mean of precision and recall; NaN where neither mask has a
            boundary of the class.
        mean: mean of `f_score` over the classes that have one.
        precision: per class, share of the prediction's boundary that is near the truth's boundary;
            NaN where the prediction has no boundary of the class.
        recall: per class, share of the truth's boundary that is near the prediction's boundary; NaN
            where the truth has no boundary of the class.
    """

    f_score: tuple[float, ...]
    mean: float
    precision: tuple[float, ...]
    recall: tuple[float, ...]


def boundary_scores(counts: NDArray[np.int64]) -> BoundaryScores:
    """Figures of (K, 4) counts."""
    found, found_near, true, true_near = counts.T.astype(np.float64)
    f_score, occurs = f_scores(counts), found + true > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = found_near / found, true_near / true
    return BoundaryScores(
        f_score=tuple(f_score.tolist()),
        mean=float(f_score[occurs].mean()) if occurs.any() else float("nan"),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
    )


def f_scores(counts: NDArray[Any]) -> NDArray[np.float64]:
    """(..., K) F-scores of (..., K, 4) counts; NaN where neither mask has a boundary."""
    found, found_near, true, true_near = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = found_near / found, true_near / true
        f_score = 2 * precision * recall / (precision + recall)
    missed = (found + true > 0) & ((found_near == 0) | (true_near == 0))
    return np.where(missed, 0.0, f_score)


def _boundaries(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W): the class of every pixel beside another class, 255 elsewhere."""
    labelled, edge = mask != UNLABELLED, np.zeros(mask.shape, bool)
    for a, b in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (mask[a] != mask[b]) & labelled[a] & labelled[b]
        edge[a] |= differ
        edge[b] |= differ
    return np.where(edge, mask, np.uint8(UNLABELLED))


def _count(
    edges: NDArray[np.uint8], others: NDArray[np.uint8], reach: float, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Per class: pixels of `edges`, and those with the same class in `others` within `reach`.

    Neighbours are tried from the nearest on, for the pixels that have found none so far.
    """
    margin = int(reach)
    around = cv2.copyMakeBorder(
        others, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=[UNLABELLED]
    )
    y, x = np.nonzero(edges != UNLABELLED)
    classes_left = edges[y, x]
    width = around.shape[1]
    left = (y + margin) * width + x + margin  # positions in `around`, row after row
    side = np.arange(-margin, margin + 1)
    squared = side[:, None] ** 2 + side**2
    offsets, inside = side[:, None] * width + side, squared <= reach**2
    flat, total = around.ravel(), np.bincount(classes_left, minlength=256)[:classes]
    for offset in offsets[inside][np.argsort(squared[inside])]:
        lonely = flat[left + offset] != classes_left
        left, classes_left = left[lonely], classes_left[lonely]
    return total, total - np.bincount(classes_left, minlength=256)[:classes]
