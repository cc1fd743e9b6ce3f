# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is counted in every frame of a replay, as one vector: sums over any frames have figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.metrics.boundary import f_scores
from lrn_ros.metrics.calibration import GROUPS, expected_error


def marginals(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """(3, K) int64: hits, truth and answers per class of a (K, K + 1) confusion matrix."""
    classes = len(matrix)
    return np.stack([matrix.diagonal(), matrix.sum(1), matrix[:, :classes].sum(0)])


def vector(line: Mapping[str, Any], classes: int) -> NDArray[np.int64]:
    """The counts of a frame's line, (10 K + 50,) int64; zero where nothing was counted."""
    found = np.zeros(10 * classes + 3 * GROUPS + 2, np.int64)
    parts = _split(found, classes)
    for key in ("pixels", "boundary", "calibration", "before"):
        if key in line:
            parts[key][:] = line[key]
    parts["steady"][:] = line.get("still", 0), line.get("flickered", 0)
    return found


def figures(counts: NDArray[Any], classes: int) -> dict[str, NDArray[np.float64]]:
    """Figures of summed vectors.

    Args:
        counts: (..., 10 K + 50).
        classes: K.

    Returns:
        `miou`, `pixel_accuracy`, `boundary_f`, `ece`, `consistency`, `flicker`: (...), and `iou`:
        (..., K). NaN where nothing was counted; see scores, boundary_scores, Reliability and
        Steadiness for what they are.
    """
    parts = _split(np.asarray(counts, np.float64), classes)
    iou, before = _iou(parts["pixels"]), _iou(parts["before"])
    hits, truth = parts["pixels"][..., 0, :].sum(-1), parts["pixels"][..., 1, :].sum(-1)
    still, flickered = np.moveaxis(parts["steady"], -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "miou": mean(iou),
            "pixel_accuracy": hits / truth,
            "boundary_f": mean(f_scores(parts["boundary"])),
            "ece": expected_error(parts["calibration"]),
            "consistency": mean(before),
            "flicker": flickered / still,
            "iou": iou,
        }


def _split(counts: NDArray[Any], classes: int) -> dict[str, NDArray[Any]]:
    """Views of the vectors' parts."""
    shapes = {
        "pixels": (3, classes),
        "boundary": (classes, 4),
        "calibration": (GROUPS, 3),
        "before": (3, classes),
        "steady": (2,),
    }
    found, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        found[name] = counts[..., at : at + size].reshape(*counts.shape[:-1], *shape)
        at += size
    return found


def _iou(pixels: NDArray[Any]) -> NDArray[Any]:
    """(..., K) IoU of (..., 3, K) hits, truth and answers; NaN where a class does not occur."""
    hits, truth, answers = np.moveaxis(pixels, -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hits / (truth + answers - hits))


def mean(values: NDArray[Any]) -> NDArray[Any]:
    """Mean over the last axis of what is not NaN; NaN where all is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0).sum(-1) / known.sum(-1))
