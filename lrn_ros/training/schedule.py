# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Learning rate as a function of a run's progress, which steps or a time budget determine."""

from __future__ import annotations

import math

from lrn_ros.training.recipe import Recipe

# Of the one-cycle policy, torch.optim.lr_scheduler.OneCycleLR's defaults.
_RISE, _START_DIVISOR, _END_DIVISOR = 0.3, 25.0, 1e4


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Learning rate of a step.

    - "poly": lr (1 - progress)^power (DeepLab, Chen et al. 2017, Equation 1).
    - "one_cycle": cosine from lr / 25 up to lr over the first 30 %, then down to lr / 250,000
      (Smith and Topin 2017, as torch's OneCycleLR has it).
    - "step": lr / 10 after every milestone (a share of the run) that has passed.

    Args:
        recipe: lr, schedule and what belongs to it.
        step: steps done; the linear warm-up counts them.
        progress: share of the run that is done, 0-1. With `lr_every` above 1 it counts as it was
            when the present group of so many steps began.
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
