# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a bag's figures develop over its time."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.replay.frame_counts import figures, vector
from lrn_ros.replay.part import STAGES, Part, read_frames

_FRAMES = 10  # of a span, about, so that its figures are more than chance


def spans(frames: int) -> int:
    """Into how many spans of time so many frames are divided at most; two make a line."""
    return min(frames, max(2, frames // _FRAMES))


class Stream:
    """The frames of a part; a few numbers a frame are held.

    Attributes:
        stamps, recorded: of every frame, nanoseconds.
        times: durations of every frame by stage, ms.
    """

    def __init__(self, part: Part) -> None:
        self.stamps, self.recorded = array("q"), array("q")
        self.times = {stage: array("d") for stage in STAGES}
        self._part = part
        for frame in read_frames(part):
            self.stamps.append(frame["stamp_ns"])
            self.recorded.append(frame["recorded_ns"])
            for stage in STAGES:
                self.times[stage].append(frame[stage])

    @property
    def seconds(self) -> float:
        """From the first frame to the last, by the recorder's clock."""
        return (max(self.recorded) - min(self.recorded)) / 1e9 if self.recorded else 0.0

    def points(self, count: int) -> list[dict[str, Any]]:
        """Figures over at most `count` equally long spans of time, of those that have frames."""
        if not self.recorded:
            return []
        count = min(count, spans(len(self.recorded)))
        recorded, span = np.asarray(self.recorded), max(self.seconds, 1e-9)
        slots = np.minimum((recorded - recorded.min()) / 1e9 / span * count, count - 1).astype(int)
        classes = len(self._part.labels)
        sums = np.zeros((count, len(vector({}, classes))), np.int64)
        for slot, frame in zip(slots, read_frames(self._part)):
            sums[slot] += vector(frame, classes)
        totals, names = np.asarray(self.times["total_ms"]), self._part.labels.names
        return [
            {
                "time_s": round(span * (i + 0.5) / count, 3),
                "frames": int((slots == i).sum()),
                **_figures(sums[i], names),
                **_latency(totals[slots == i]),
            }
            for i in range(count)
            if (slots == i).any()
        ]


def _figures(counts: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, Any]:
    """Those that are known."""
    found = figures(counts, len(names))
    iou = {n: round(float(v), 6) for n, v in zip(names, found.pop("iou")) if np.isfinite(v)}
    known = {k: float(v) for k, v in found.items() if np.isfinite(v)}
    return {**known, "iou": iou} if iou else known


def _latency(times_ms: NDArray[np.float64]) -> dict[str, float]:
    p50, p95 = (round(float(v), 3) for v in np.percentile(times_ms, (50, 95)))
    return {"p50_ms": p50, "p95_ms": p95}
