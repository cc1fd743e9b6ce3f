# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Confusion matrix and the figures that are derived from it, those of Cityscapes included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrn_ros.model.labels import LabelSet


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


def merged(matrix: NDArray[np.int64], groups: Sequence[int]) -> NDArray[np.int64]:
    """The (G, G + 1) confusion matrix of groups of classes, such as Cityscapes' categories.

    Args:
        matrix: (K, K + 1) of the classes.
        groups: the group of every class, 0 to G - 1.
    """
    count = max(groups) + 1
    rows = np.zeros((count, matrix.shape[1]), np.int64)
    np.add.at(rows, list(groups), matrix)
    result = np.zeros((count, count + 1), np.int64)
    np.add.at(result.T, [*groups, count], rows.T)
    return result


def instance_hits(
    prediction: NDArray[np.uint8],
    instances: NDArray[np.int32],
    classes: NDArray[np.int16],
    sizes: Sequence[float],
    groups: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """Pixels of single objects that are right and wrong, small objects weighing more.

    This is what Cityscapes' iIoU counts (cityscapesScripts,
    evaluation/evalPixelLevelSemanticLabeling.py): every pixel of an object weighs the mean size of
    an object of its class divided by the size of this object.

    Args:
        prediction: (H, W) class ids.
        instances: (H, W) as in Cityscapes' instanceIds files: 1000 times the label id plus a number
            where a pixel belongs to a single object, the label id elsewhere.
        classes: (256,) the class of every label id, 255 unlabelled; see LabelSet.id_table.
        sizes: mean number of pixels of an object per class; 0: the class has no single objects.
        groups: the group of every class; the objects are then right where the group is.

    Returns:
        (K, 2) sums of the weights of the right and of the wrong pixels, by the object's class.
    """
    none = 256  # stands for what is no class; its group is -1
    group_of = np.full(none + 1, -1)
    group_of[: len(sizes)] = range(len(sizes)) if groups is None else groups
    inside = instances > 1000
    ids, place, pixels = np.unique(instances[inside], return_inverse=True, return_counts=True)
    truth = classes[np.minimum(ids // 1000, 255)]
    truth = np.where((truth >= 0) & (truth < len(sizes)), truth, none)
    right = group_of[prediction[inside]] == group_of[truth][place]
    hits = np.bincount(place, right, len(ids))
    known = truth < none
    weight = np.asarray(sizes, float)[truth[known]] / pixels[known]
    found = np.zeros((len(sizes), 2))
    np.add.at(found[:, 0], truth[known], weight * hits[known])
    np.add.at(found[:, 1], truth[known], weight * (pixels - hits)[known])
    return found


def instance_iou(
    matrix: NDArray[np.int64], hits: NDArray[np.float64], sizes: Sequence[float]
) -> tuple[float, ...]:
    """Cityscapes' iIoU per class (or group), NaN where it has no single objects.

    Args:
        matrix: (K, K + 1) confusion matrix.
        hits: (K, 2) sums of `instance_hits`.
        sizes: see `instance_hits`; of a group any positive number if all of its classes have one.
    """
    false = matrix.sum(0)[: len(matrix)] - matrix.diagonal()
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = hits[:, 0] / (hits.sum(1) + false)
    return tuple(np.where(np.asarray(sizes) > 0, iou, np.nan).tolist())


class ObjectHits:
    """Sums `instance_hits` of classes and of categories over the images of a set.

    Attributes:
        complete: the label set has object sizes, and every image so far had its instances.
    """

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._groups = labels.category_ids
        self._hits = np.zeros((len(labels), 2))
        self._group_hits = np.zeros((len(labels), 2))
        self.complete = bool(labels.object_sizes)

    def add(self, prediction: NDArray[np.uint8], instances: NDArray[np.int32] | None) -> None:
        """Count an image; None in place of its instances leaves the set without a figure."""
        if instances is None:
            self.complete = False
            return
        table, sizes = self._labels.id_table(), self._labels.object_sizes
        self._hits += instance_hits(prediction, instances, table, sizes)
        if self._groups:
            self._group_hits += instance_hits(prediction, instances, table, sizes, self._groups)

    def iou(self, matrix: NDArray[np.int64]) -> tuple[float, ...]:
        """The iIoU of every class from the (K, K + 1) confusion matrix; NaN where it has none."""
        if not self.complete:
            return (float("nan"),) * len(matrix)
        return instance_iou(matrix, self._hits, self._labels.object_sizes)

    def iou_of_categories(self, matrix: NDArray[np.int64]) -> tuple[float, ...]:
        """The same of categories from their matrix; NaN where not all classes have objects."""
        if not self.complete:
            return (float("nan"),) * len(matrix)
        hits, sizes = np.zeros((len(matrix), 2)), np.full(len(matrix), np.inf)
        np.add.at(hits, list(self._groups), self._group_hits)
        np.minimum.at(sizes, list(self._groups), self._labels.object_sizes)
        return instance_iou(matrix, hits, sizes.tolist())


def mean(values: Sequence[float]) -> float:
    """Mean of the values that are numbers; NaN where none is."""
    numbers = [v for v in values if v == v]
    return sum(numbers) / len(numbers) if numbers else float("nan")
