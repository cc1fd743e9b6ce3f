# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The results of a replay: the parts of all bags added up, their figures, and curves over time."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lrn_ros.errors import UserError
from lrn_ros.metrics.latency import percentiles
from lrn_ros.replay.curve import Stream
from lrn_ros.replay.findings import of_stream
from lrn_ros.replay.part import STAGES, Part
from lrn_ros.replay.tally import Tally

RESULTS = "results.json"
_POINTS = 120  # of all curves together
_BINS = 40


def merge(parts: Sequence[Part]) -> dict[str, Any]:
    """Figures of all parts together and of each, as plain data.

    `throughput` is what one worker does, whose seconds are added: parts may have been replayed side
    by side, or by an earlier run. `model` names all backends, precisions and devices.

    Args:
        parts: all with the same classes; none: everything is empty.

    Raises:
        UserError: the parts have other classes than each other.
    """
    if not parts:
        return {
            "frames": 0, "complete": True, "model": None, "labels": None, "accuracy": None,
            "temporal": None, "latency_ms": {}, "jitter_ms": None, "histogram": None,
            "throughput": {"seconds": 0.0, "fps": None}, "bags": [], "findings": [], "curve": [],
        }  # fmt: skip
    labels = parts[0].labels
    if other := next((p for p in parts if p.labels.names != labels.names), None):
        raise UserError(f"{other.name}: its labels have other classes than {parts[0].name}")
    total = Tally.empty(len(labels))
    times = {stage: array("d") for stage in STAGES}
    bags, curve, findings = [], [], []
    points = max(2, _POINTS // len(parts))
    for part in parts:
        total += part.tally
        stream = Stream(part)
        for stage in STAGES:
            times[stage].extend(stream.times[stage])
        bags.append(_figures(part, stream))
        curve.append({"bag": part.name, "points": stream.points(points)})
        findings += [{"bag": part.name, "text": t} for t in _findings(part, stream)]
    seconds = sum(p.summary["seconds"] for p in parts)
    return {
        "frames": total.frames,
        "complete": all(p.summary["complete"] for p in parts),
        "model": _model(parts),
        "labels": labels.to_dict(),
        "accuracy": total.accuracy(labels.names),
        "temporal": total.temporal(),
        "latency_ms": _latency(times),
        "jitter_ms": jitter(times["total_ms"]),
        "histogram": histogram(times["total_ms"]),
        "throughput": {"seconds": seconds, "fps": total.frames / seconds if seconds else None},
        "bags": bags,
        "findings": findings,
        "curve": curve,
    }


def _model(parts: Sequence[Part]) -> dict[str, str] | None:
    """What the parts were replayed with; where they differ, all values of it."""
    models = [part.summary["model"] for part in parts if part.summary.get("model")]
    if not models:
        return None
    return {key: ", ".join(dict.fromkeys(str(m[key]) for m in models)) for key in models[0]}


def jitter(times_ms: Sequence[float]) -> float | None:
    """Mean difference of a duration from the one before, ms; None for fewer than two.

    >>> jitter([10.0, 12.0, 11.0])
    1.5
    """
    if len(times_ms) < 2:
        return None
    return float(np.abs(np.diff(np.asarray(times_ms, np.float64))).mean())


def histogram(times_ms: Sequence[float]) -> dict[str, list[float]] | None:
    """Counts of durations between `edges` (one more), ms; the slowest percent is in the last."""
    values = np.asarray(times_ms, np.float64)
    if not len(values):
        return None
    low, high = float(values.min()), float(np.percentile(values, 99))
    counts, edges = np.histogram(
        np.minimum(values, high), _BINS, (low, high if high > low else low + 1)
    )
    return {"edges": edges.round(4).tolist(), "counts": counts.tolist()}


def _latency(times: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    return {s: asdict(p) for s, t in times.items() if (p := percentiles(t)) is not None}


def _figures(part: Part, stream: Stream) -> dict[str, Any]:
    times = stream.times
    return {
        "name": part.name,
        "path": part.summary["bag"],
        "topic": part.summary["topic"],
        "complete": part.summary["complete"],
        "damage": part.summary["damage"],
        "frames": part.tally.frames,
        "labelled": part.tally.labelled,
        "seconds": stream.seconds,
        "ground_truth": part.summary["ground_truth"],
        "accuracy": part.tally.accuracy(part.labels.names),
        "temporal": part.tally.temporal(),
        "latency_ms": _latency(times),
        "jitter_ms": jitter(times["total_ms"]),
    }


def _findings(part: Part, stream: Stream) -> list[str]:
    damage = part.summary["damage"]
    return [
        *([f"damaged: {damage}"] if damage else []),
        *of_stream(stream.stamps, stream.recorded),
        *part.summary["findings"],
    ]
