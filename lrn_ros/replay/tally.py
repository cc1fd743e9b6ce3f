# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The counts of a replay: only whole numbers, so that the counts of many bags add up exactly.

A Tally holds the counts of a whole recording. A frame's own counts are one vector, `vector`, and
sums of such vectors over any frames have figures, `figures`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.inference.result import Result
from lrn_ros.metrics.boundary import boundary_counts, boundary_scores, f_scores
from lrn_ros.metrics.calibration import (
    GROUPS,
    LEVELS,
    calibration_counts,
    expected_error,
    reliability,
)
from lrn_ros.metrics.confusion import confusion_matrix, scores
from lrn_ros.metrics.temporal import Steadiness, find_motion, no_frames, steadiness


@dataclass(frozen=True)
class ClassAccuracy:
    """Figures of a class, see Scores and BoundaryScores; `share` is of the labelled pixels."""

    iou: float
    precision: float
    recall: float
    pixels: int
    share: float
    boundary_f: float


@dataclass(frozen=True)
class BoundaryFigures:
    """Mean boundary F-score over `frames` labelled frames."""

    frames: int
    f_score: float


@dataclass(frozen=True)
class CalibrationFigures:
    """Reliability curve and its error over `frames` labelled frames; see Reliability."""

    frames: int
    ece: float
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    pixels: tuple[int, ...]


@dataclass(frozen=True)
class Accuracy:
    """Figures against the ground truth, as `lrn evaluate` gives them.

    Attributes:
        frames: number of frames with ground truth.
        unlabelled: share of these frames' pixels that have no label.
        miou, pixel_accuracy: see Scores.
        classes: figures by class name.
        confusion: (K, K + 1) counts, see confusion_matrix.
        boundary, calibration: over the frames of which they were taken.
    """

    frames: int
    unlabelled: float
    miou: float
    pixel_accuracy: float
    classes: dict[str, ClassAccuracy]
    confusion: tuple[tuple[int, ...], ...]
    boundary: BoundaryFigures
    calibration: CalibrationFigures


@dataclass(frozen=True)
class Temporal:
    """Steadiness from frame to frame over `pairs` pairs of frames; see Steadiness."""

    pairs: int
    consistency: float
    flicker: float


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
        pixels: pixels of the labelled frames, those without a label included.
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
    pixels: int = 0

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
        """Count a labelled frame; returns the (K, K + 1) confusion matrix of this frame."""
        matrix = confusion_matrix(truth, mask, len(self.matrix))
        self.matrix += matrix
        self.labelled += 1
        self.pixels += truth.size
        return matrix

    def sample(
        self, truth: NDArray[np.uint8], mask: NDArray[np.uint8], confidence: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count boundaries and calibration of a labelled frame; returns the counts of it."""
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
        """Count a pair of consecutive frames, each an image and a mask; returns its counts."""
        motion = find_motion(previous[0], present[0])
        found = steadiness(previous[1], present[1], motion, len(self.matrix))
        self.before += found.matrix
        self.still += found.still
        self.flickered += found.flickered
        self.pairs += 1
        return found

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {f.name: np.asarray(getattr(self, f.name)).tolist() for f in fields(self)}

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Tally:
        """From the data of `to_dict`; `where` names their origin in errors."""
        try:
            if set(data) != {f.name for f in fields(cls)}:
                raise ValueError("other counts")
            values: dict[str, Any] = {
                k: np.array(v, np.int64) if isinstance(v, list) else int(v) for k, v in data.items()
            }
            return cls(**values)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{where}: these are not the counts of a replay ({error})") from error

    def accuracy(self, names: tuple[str, ...]) -> Accuracy | None:
        """Figures against the ground truth; None without any."""
        if not self.labelled:
            return None
        found, edges = scores(self.matrix), boundary_scores(self.boundary)
        curve = reliability(self.calibration)
        rows = zip(found.by_class(names).items(), edges.f_score)
        return Accuracy(
            frames=self.labelled,
            unlabelled=1 - int(self.matrix.sum()) / self.pixels if self.pixels else float("nan"),
            miou=found.miou,
            pixel_accuracy=found.pixel_accuracy,
            classes={
                name: ClassAccuracy(**row, boundary_f=f_score)  # type: ignore[arg-type]
                for (name, row), f_score in rows
            },
            confusion=tuple(map(tuple, self.matrix.tolist())),
            boundary=BoundaryFigures(self.sampled, edges.mean),
            calibration=CalibrationFigures(
                self.sampled, curve.ece, curve.confidence, curve.accuracy, curve.pixels
            ),
        )

    def temporal(self) -> Temporal | None:
        """Steadiness from frame to frame; None where no two frames were compared."""
        if not self.pairs:
            return None
        found = Steadiness(self.before, self.still, self.flickered)
        return Temporal(self.pairs, found.consistency, found.flicker)


def stage_times(result: Result) -> dict[str, float]:
    """Stages of a Segmenter's result by name, in milliseconds, rounded."""
    t = result.timings
    names = ("preprocess_ms", "inference_ms", "postprocess_ms", "total_ms")
    return {n: round(getattr(t, n), 3) for n in names}


def marginals(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """(3, K) int64: hits, truth and answers per class of a (K, K + 1) confusion matrix."""
    classes = len(matrix)
    return np.stack([matrix.diagonal(), matrix.sum(1), matrix[:, :classes].sum(0)])


# The counts that a frame's line may have, and their positions in the frame's vector.
COUNTED = ("pixels", "boundary", "calibration", "before")


def vector(line: Any, classes: int, counted: tuple[str, ...] = COUNTED) -> NDArray[np.int64]:
    """The counts of a frame as one vector.

    Args:
        line: a FrameLine.
        classes: K.
        counted: which of its counts are taken.

    Returns:
        (10 K + 50,) int64; zero where nothing was counted.
    """
    found = np.zeros(10 * classes + 3 * GROUPS + 2, np.int64)
    parts = _split(found, classes)
    for key in counted:
        if (counts := getattr(line, key)) is not None:
            parts[key][:] = counts
    if "before" in counted:
        parts["steady"][:] = line.still, line.flickered
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
    iou, before = iou_of(parts["pixels"]), iou_of(parts["before"])
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


def iou_of(pixels: NDArray[Any]) -> NDArray[Any]:
    """(..., K) IoU of (..., 3, K) hits, truth and answers; NaN where a class does not occur."""
    hits, truth, answers = np.moveaxis(pixels, -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hits / (truth + answers - hits))


def mean(values: NDArray[Any]) -> NDArray[Any]:
    """Mean over the last axis of the values that are not NaN; NaN where all are."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0).sum(-1) / known.sum(-1))
