# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict of a comparison: which figures fell behind by more than their margins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from lrn_ros.errors import UserError
from lrn_ros.replay.comparison import LOWER_IS_BETTER, Difference, RunComparison

VULNERABLE = ("pedestrian", "person", "bicyclist", "rider", "car")  # have a margin by default
CLASS_POINTS = 3.0  # the default margin of their IoU
MIN_SAMPLES = 10  # with fewer samples a figure decides nothing


class Verdict(Enum):
    """The verdict of a figure about B."""

    PASSES = "passes"
    WORSE = "worse"
    TOO_FEW = "too few"
    DRIFT = "machine changed"


@dataclass(frozen=True)
class Margins:
    """How much worse B may be; None: the figure is not judged.

    Attributes:
        points: mIoU and temporal consistency, percentage points.
        class_points: IoU by class, percentage points; None: CLASS_POINTS for VULNERABLE classes.
        any_class_points: IoU of every class that `class_points` does not name.
        boundary_points, flicker_points: percentage points.
        drop_points: share of the images that real time did not answer, percentage points.
        latency_percent: median and 95th percentile of the end-to-end latency in real time, percent
            of A's.
    """

    points: float = 0.5
    class_points: Mapping[str, float] | None = None
    any_class_points: float | None = None
    boundary_points: float | None = None
    flicker_points: float | None = None
    drop_points: float | None = None
    latency_percent: float | None = None


@dataclass(frozen=True)
class Judgement:
    """The verdict of one figure with a sentence; if a `needed` figure has none, there is none."""

    name: str
    state: Verdict
    text: str
    needed: bool


@dataclass(frozen=True)
class _Gate:
    name: str
    difference: Difference
    margin: float
    needed: bool
    unit: str = "frames"
    percent: bool = False  # the margin is a share of A's figure, which is in milliseconds
    lower_is_better: bool = field(default=False)


def judge(found: RunComparison, margins: Margins) -> list[Judgement]:
    """Judge every figure that has a margin.

    Raises:
        UserError: a margin is given for a figure that the runs do not have.
    """
    return [
        _judgement(gate, found) for gate in (*_quality(found, margins), *_speed(found, margins))
    ]


def _quality(found: RunComparison, margins: Margins) -> list[_Gate]:
    gates = []
    labelled = "miou" in found.figures
    for key, name, points, needed, unit in (
        ("miou", "mIoU", margins.points, True, "frames"),
        ("consistency", "temporal consistency", margins.points, not labelled, "pairs"),
        ("boundary_f", "boundary F-score", margins.boundary_points, True, "frames"),
        ("flicker", "flicker", margins.flicker_points, True, "pairs"),
    ):
        if key in found.figures and points is not None:
            lower = key in LOWER_IS_BETTER
            gates.append(
                _Gate(name, found.figures[key], points / 100, needed, unit, lower_is_better=lower)
            )
        elif points is not None and key in ("boundary_f", "flicker"):
            raise UserError(f"the runs have no {name}, so its margin cannot be checked")
    given = margins.class_points or {}
    if unknown := [n for n in given if n not in found.classes]:
        raise UserError(
            f"--class-margin {unknown[0]}: no such class was scored; there are"
            f" {', '.join(found.classes) or 'none'}"
        )
    everything = margins.any_class_points
    default = margins.class_points is None and everything is None
    for name, difference in found.classes.items():
        points = given.get(name, everything)
        if default and name in VULNERABLE:
            points = CLASS_POINTS
        if points is not None:
            gates.append(_Gate(f"IoU of {name}", difference, points / 100, name in given))
    return gates


def _speed(found: RunComparison, margins: Margins) -> list[_Gate]:
    gates = []
    asked = margins.drop_points is not None or margins.latency_percent is not None
    if asked and not found.realtime:
        raise UserError(
            "latency and drops are those of real time, which a run does not have; lrn replay --mode"
            " both plays a bag in real time, --rerun plays it with both models in turns"
        )
    if margins.drop_points is not None:
        gates.append(
            _Gate(
                "share of unanswered images", found.realtime["unanswered"],
                margins.drop_points / 100, True, lower_is_better=True,
            )
        )  # fmt: skip
    if margins.latency_percent is not None:
        for key in ("p50_ms", "p95_ms"):
            if key not in found.realtime:
                raise UserError("a run answered no image in real time; its latency is not known")
            difference = found.realtime[key]
            margin = margins.latency_percent / 100 * difference.a
            name = f"latency's {key.removesuffix('_ms')}"
            gates.append(_Gate(name, difference, margin, True, percent=True, lower_is_better=True))
    return gates


def decide(difference: Difference, margin: float, lower_is_better: bool) -> Verdict:
    """The verdict of a figure about B.

    An interval that lies wholly beyond the margin, or wholly within it, decides. If the margin is
    inside the interval, the figure itself decides, provided that half the length of the interval is
    at most the margin. Otherwise, and with fewer than MIN_SAMPLES samples, the samples are too few.
    If no frame differs, nothing is worse.
    """
    low, high = difference.low, difference.high
    if not lower_is_better:
        low, high = -high, -low
    if low == high == 0:
        return Verdict.PASSES
    if difference.samples < MIN_SAMPLES or not math.isfinite(low):
        return Verdict.TOO_FEW
    if high <= margin or low > margin:
        return Verdict.WORSE if low > margin else Verdict.PASSES
    if (high - low) / 2 > margin:
        return Verdict.TOO_FEW
    return Verdict.WORSE if difference.loss > margin else Verdict.PASSES


def _judgement(gate: _Gate, found: RunComparison) -> Judgement:
    d = gate.difference
    state = decide(d, gate.margin, gate.lower_is_better)
    amount = f"{100 * abs(d.b - d.a):.2f} points, {100 * d.a:.2f} % to {100 * d.b:.2f} %"
    if gate.percent:
        drifts = not found.drift <= gate.margin / d.a
        state = Verdict.DRIFT if drifts else state
        amount = f"{100 * abs(d.b - d.a) / d.a:.1f} %, {d.a:.2f} ms to {d.b:.2f} ms"
    sentence = f"{gate.name} {'rose' if d.b > d.a else 'fell'} by {amount}"
    if state is Verdict.TOO_FEW:
        sentence += f"; {d.samples} {gate.unit} are too few for this margin"
    elif state is Verdict.DRIFT:
        by = f"{100 * found.drift:.0f} %" if math.isfinite(found.drift) else "an unknown share"
        sentence += f"; the machine's pace differed by {by} between the runs"
        sentence += "" if found.interleaved else ": --rerun plays in turns"
    elif state is Verdict.WORSE and not d.sure:
        sentence += "; this may be chance, more frames would show it"
    return Judgement(gate.name, state, sentence, gate.needed)


def verdict(judgements: list[Judgement]) -> Verdict:
    """WORSE if any figure is worse, else that of an undecided needed figure, else PASSES."""
    if any(j.state is Verdict.WORSE for j in judgements):
        return Verdict.WORSE
    undecided = [j.state for j in judgements if j.needed and j.state is not Verdict.PASSES]
    return undecided[0] if undecided else Verdict.PASSES
