# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measures the speed of training: images per second, and the share of every phase of a step."""

from __future__ import annotations

import time
from collections import deque

import torch

PHASES = ("data", "teacher", "forward", "backward", "update")


class StepClock:
    """Times training steps.

    Every step counts for the rate. In one of `every` steps the device is synchronised between the
    phases: a GPU works on after a call has returned, and only then are the phases' shares right.
    The other steps are not slowed.

    Args:
        device: the device that trains.
        every: one step in so many is taken apart.
    """

    def __init__(self, device: torch.device, every: int = 10) -> None:
        self._device, self._every = device, every
        self._phases = dict.fromkeys(PHASES, 0.0)
        self._recent: deque[tuple[float, int]] = deque(maxlen=200)
        self._apart = False
        self._start = self._last = 0.0

    def start(self, step: int) -> None:
        """Note that a step begins."""
        self._apart = step % self._every == self._every - 1
        self._start = self._last = self._now()

    def mark(self, phase: str) -> None:
        """Note that a phase of the step has ended."""
        if self._apart:
            now = self._now()
            self._phases[phase] += now - self._last
            self._last = now

    def stop(self, images: int) -> float:
        """Note that the step has ended; returns its duration in seconds."""
        seconds = self._now() - self._start
        self._recent.append((seconds, images))
        return seconds

    def _now(self) -> float:
        if self._apart and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.monotonic()

    @property
    def images_per_second(self) -> float:
        """Over the last 200 steps, NaN before the first."""
        seconds = sum(s for s, _ in self._recent)
        return sum(n for _, n in self._recent) / seconds if seconds else float("nan")

    @property
    def shares(self) -> dict[str, float]:
        """Share of each phase of PHASES in the steps taken apart, empty before the first."""
        total = sum(self._phases.values())
        return {k: v / total for k, v in self._phases.items()} if total else {}

    def forward_images_per_second(self) -> float:
        """Images per second of the forward pass alone: the rate over the forward's share."""
        share = self.shares.get("forward", 0.0)
        return self.images_per_second / share if share else float("nan")

    def __str__(self) -> str:
        parts = ", ".join(f"{k} {100 * v:.0f} %" for k, v in self.shares.items() if v)
        return f"{self.images_per_second:.1f} images/s" + (f" ({parts})" if parts else "")
