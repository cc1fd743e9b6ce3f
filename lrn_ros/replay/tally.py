# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a replay counts: whole numbers alone, so that the counts of many bags add up exactly."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.result import Result
from lrn_ros.metrics.boundary import boundary_counts, boundary_scores
from lrn_ros.metrics.calibration import LEVELS, calibration_counts, reliability
from lrn_ros.metrics.confusion import confusion_matrix, scores
from lrn_ros.metrics.temporal import Steadiness, find_motion, no_frames, steadiness


@dataclass
class Tally:
    """Counts over frames; K classes.

    Attributes:
        matrix: (K, K + 1) int64 confusion matrix of the labelled frames.
        boundary: (K, 4) int64, see boundary_counts.
        calibration: (256, 2) int64, see calibration_counts.
        before: (K, K + 1) int64, see Steadiness.matrix.
        still, flickered: see Steadiness.
        frames: segmented; labelled: with ground truth; sampled: with boundary and calibration
            counted; pairs: compared with the frame before.
    """

    matrix: NDArray[np.int64]
    boundary: NDArray[np.int64]
    calibration: NDArray[np.int64]
    before: NDArray[np.int64]
    still: int = 0
    flickered: int = 0
    frames: int = 0
    labelled: int = 0
    sampled: int = 0
    pairs: int = 0

    @classmethod
    def empty(cls, classes: int) -> Tally:
        """Nothing counted yet."""
        matrix = no_frames(classes).matrix
        return cls(
            matrix.copy(), np.zeros((classes, 4), np.int64), np.zeros((LEVELS, 2), np.int64), matrix
        )

    def __add__(self, other: Tally) -> Tally:
        names = [f.name for f in fields(self)]
        sums: dict[str, Any] = {n: getattr(self, n) + getattr(other, n) for n in names}
        return Tally(**sums)

    def compare(self, truth: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Count a labelled frame; returns its own (K, K + 1) confusion matrix."""
        matrix = confusion_matrix(truth, mask, len(self.matrix))
        self.matrix += matrix
        self.labelled += 1
        return matrix

    def sample(
        self, truth: NDArray[np.uint8], mask: NDArray[np.uint8], confidence: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count boundaries and calibration of a labelled frame; returns its own."""
        classes = len(self.matrix)
        edges = boundary_counts(truth, mask, classes)
        levels = calibration_counts(truth, mask, confidence, classes)
        self.boundary += edges
        self.calibration += levels
        self.sampled += 1
        return edges, levels

    def follow(
        self,
        previous: tuple[NDArray[np.uint8], NDArray[np.uint8]],
        present: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    ) -> Steadiness:
        """Count a pair of consecutive frames, each its image and its mask; returns its own."""
        motion = find_motion(previous[0], present[0])
        found = steadiness(previous[1], present[1], motion, len(self.matrix))
        self.before += found.matrix
        self.still += found.still
        self.flickered += found.flickered
        self.pairs += 1
        return found

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Tally:
        """From the data of `to_dict`."""
        arrays = {k: np.array(v, np.int64) for k, v in data.items() if isinstance(v, list)}
        return cls(**(data | arrays))

    def accuracy(self, names: tuple[str, ...]) -> dict[str, Any] | None:
        """Figures against the ground truth, as `lrn evaluate` gives them; None without any."""
        if not self.labelled:
            return None
        found, edges = scores(self.matrix), boundary_scores(self.boundary)
        rows = zip(found.by_class(names).items(), edges.f_score)
        return {
            "frames": self.labelled,
            "miou": found.miou,
            "pixel_accuracy": found.pixel_accuracy,
            "classes": {name: row | {"boundary_f": f_score} for (name, row), f_score in rows},
            "confusion": self.matrix.tolist(),
            "boundary": {"frames": self.sampled, "f_score": edges.mean},
            "calibration": self._calibration(),
        }

    def _calibration(self) -> dict[str, Any]:
        found = reliability(self.calibration)
        curve = {"confidence": found.confidence, "accuracy": found.accuracy, "pixels": found.pixels}
        return {"frames": self.sampled, "ece": found.ece} | {k: list(v) for k, v in curve.items()}

    def temporal(self) -> dict[str, Any] | None:
        """Steadiness from frame to frame; None where no two frames were compared."""
        if not self.pairs:
            return None
        found = Steadiness(self.before, self.still, self.flickered)
        return {"pairs": self.pairs, "consistency": found.consistency, "flicker": found.flicker}


def stage_times(result: Result) -> dict[str, float]:
    """Stages of a Segmenter's result by name, ms, rounded."""
    t = result.timings
    names = ("preprocess_ms", "inference_ms", "postprocess_ms", "total_ms")
    return {n: round(getattr(t, n), 3) for n in names}
