# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Latency of a run: percentiles by stage, rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lrn_ros.inference.result import STAGES
from lrn_ros.metrics import text
from lrn_ros.metrics.text import number

_NOT_OVERHEAD = ("queue_ms", "preprocess_ms", "inference_ms", "postprocess_ms")


@dataclass(frozen=True)
class Percentiles:
    """Percentiles of a duration in milliseconds over `count` frames."""

    count: int
    p50: float
    p95: float
    p99: float


def percentiles(values: Iterable[float]) -> Percentiles | None:
    """Percentiles of the finite values; None when there are none.

    >>> percentiles([1.0, 2.0, 3.0, float("nan")])
    Percentiles(count=3, p50=2.0, p95=2.9, p99=2.98)
    """
    finite = [v for v in values if np.isfinite(v)]
    if not finite:
        return None
    p50, p95, p99 = (round(float(v), 3) for v in np.percentile(finite, (50, 95, 99)))
    return Percentiles(len(finite), p50, p95, p99)


def overhead(stages: Mapping[str, float]) -> float:
    """The time that the node adds to the Segmenter's, in ms: decoding, messages, publishing.

    >>> overhead({"processing_ms": 20.0, "queue_ms": 1.0, "inference_ms": 15.0})
    4.0
    """
    return stages["processing_ms"] - sum(stages.get(s, 0.0) for s in _NOT_OVERHEAD)


def by_stage(frames: Sequence[Mapping[str, float]]) -> dict[str, Percentiles]:
    """Percentiles of every stage that any frame has, in the order of the path."""
    names = [s for s in STAGES if any(s in f for f in frames)]
    names += sorted({s for f in frames for s in f} - set(names))
    found = {s: percentiles(f[s] for f in frames if s in f) for s in names}
    return {s: p for s, p in found.items() if p is not None}


def rate(times_ns: Sequence[int]) -> float:
    """Events per second over a span; 0 for fewer than two.

    >>> rate([0, 100_000_000, 200_000_000])
    10.0
    """
    if len(times_ns) < 2 or max(times_ns) == min(times_ns):
        return 0.0
    return (len(times_ns) - 1) * 1e9 / (max(times_ns) - min(times_ns))


def table(stages: Mapping[str, Percentiles]) -> list[str]:
    """The percentiles in milliseconds as aligned lines of text, with a heading."""
    rows = [
        [name.removesuffix("_ms"), *(number(v, 2) for v in (p.p50, p.p95, p.p99))]
        for name, p in stages.items()
    ]
    return text.table(["stage, ms", "p50", "p95", "p99"], rows)
