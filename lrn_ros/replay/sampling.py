# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decides for which frames the costly figures are computed: for all if there is time for that."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

SHORT = 600  # a recording of at most so many frames is measured in full, whatever that costs
LIMIT = 0.1  # the costly figures are sampled if they take more than this share of the time
_SHARE = 0.015  # the share of the time that each kind of figure takes when it is sampled
_FIRST_STRIDE = 8  # the stride in a long recording until the cost is known
_FIRST_LOOK = 32  # frames before the cost is looked at; then twice as many, and so on


@dataclass
class _Kind:
    """One kind of costly figure: how often it could be taken, how often it was, and the cost."""

    stride: int
    candidates: int = 0
    taken: int = 0
    seconds: float = 0.0

    def due(self) -> bool:
        self.candidates += 1
        return (self.candidates - 1) % self.stride == 0

    def add(self, seconds: float) -> None:
        self.taken += 1
        self.seconds += seconds

    def full_cost(self, elapsed_s: float) -> float:
        """Share of the time that the figure would take of every candidate."""
        mean = self.seconds / self.taken if self.taken else 0.0
        return mean * self.candidates / elapsed_s


class Sampling:
    """Chooses labelled frames for boundaries and calibration, and pairs of frames for steadiness.

    Strides are powers of two, and count labels and pairs from the beginning of the recording: of
    two replays of one recording, the one that samples less has sampled what the other has, too.

    Args:
        frames: frames of the recording, None: unknown, as of a long one.
        thorough: take every figure of every frame.
        clock: seconds.

    Attributes:
        labels: the labelled frames.
        pairs: the pairs of consecutive frames.
    """

    def __init__(
        self,
        frames: int | None,
        thorough: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._all = thorough or (frames is not None and frames <= SHORT)
        stride = 1 if self._all else _FIRST_STRIDE
        self.labels, self.pairs = _Kind(stride), _Kind(stride)
        self._clock, self._start, self._frames, self._look = clock, clock(), 0, _FIRST_LOOK

    def next_frame(self) -> None:
        """Count a frame, and adapt the strides from time to time."""
        self._frames += 1
        if self._all or self._frames < self._look:
            return
        self._look *= 2
        elapsed = max(self._clock() - self._start, 1e-9)
        kinds = (self.labels, self.pairs)
        costs = [kind.full_cost(elapsed) for kind in kinds]
        for kind, cost in zip(kinds, costs):
            wanted = cost / _SHARE if sum(costs) > LIMIT else 1.0
            kind.stride = 1 << max(0, math.ceil(math.log2(max(wanted, 1.0))))
