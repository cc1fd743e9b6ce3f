# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The learning rate as a function of a run's progress, and the clock that measures the progress."""

from __future__ import annotations

import math
import time
from collections import deque

import torch

from lrn_ros.training.recipe import Recipe

# The one-cycle policy with the defaults of torch.optim.lr_scheduler.OneCycleLR.
_RISE, _START_DIVISOR, _END_DIVISOR = 0.3, 25.0, 1e4


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Learning rate of a step.

    - "poly": lr (1 - progress)^power (DeepLab, Chen et al. 2017, Equation 1).
    - "one_cycle": cosine from lr / 25 up to lr over the first 30 %, then down to lr / 250,000
      (Smith and Topin 2017, as torch's OneCycleLR has it).
    - "step": lr / 10 after every milestone (a share of the run) that has passed.

    Args:
        recipe: its keys lr, schedule and the keys of that schedule.
        step: number of steps done, which the linear warm-up counts.
        progress: share of the run that is done, 0-1. With `lr_every` above 1, its value at the
            begin of the present group of steps counts.
    """
    if recipe.lr_every > 1:
        groups = recipe.steps / recipe.lr_every
        # 1e-9: the first step of a group belongs to it, whatever the rounding.
        progress = math.floor(progress * groups + 1e-9) / groups
    if recipe.schedule == "poly":
        factor = (1 - progress) ** recipe.power
    elif recipe.schedule == "one_cycle":
        start, end = 1 / _START_DIVISOR, 1 / (_START_DIVISOR * _END_DIVISOR)
        if progress < _RISE:
            factor = _cosine(start, 1.0, progress / _RISE)
        else:
            factor = _cosine(1.0, end, (progress - _RISE) / (1 - _RISE))
    else:
        factor = 0.1 ** sum(progress >= m for m in recipe.milestones)
    return recipe.lr * factor * min(1.0, (step + 1) / max(recipe.warmup, 1))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


PHASES = ("data", "teacher", "forward", "backward", "update")


class StepClock:
    """Times training steps.

    Every step counts for the rate. In every n-th step the device is synchronised between the
    phases, because a GPU works on after a call has returned; only so the phases' shares are right.
    The other steps are not slowed.

    Args:
        device: the device that trains.
        every: n, one step in so many is measured by phase.
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
        """The rate over the last 200 steps; NaN before the first step."""
        seconds = sum(s for s, _ in self._recent)
        return sum(n for _, n in self._recent) / seconds if seconds else float("nan")

    @property
    def shares(self) -> dict[str, float]:
        """Share of each phase of PHASES in the steps measured by phase; empty before the first."""
        total = sum(self._phases.values())
        return {k: v / total for k, v in self._phases.items()} if total else {}

    def forward_images_per_second(self) -> float:
        """Images per second of the forward pass alone: the rate divided by the forward's share."""
        share = self.shares.get("forward", 0.0)
        return self.images_per_second / share if share else float("nan")

    def __str__(self) -> str:
        parts = ", ".join(f"{k} {100 * v:.0f} %" for k, v in self.shares.items() if v)
        return f"{self.images_per_second:.1f} images/s" + (f" ({parts})" if parts else "")
