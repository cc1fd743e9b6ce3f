# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Learning rates against torch's schedulers and closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from lrn_ros.training.recipe import Recipe  # noqa: E402
from lrn_ros.training.schedule import learning_rate  # noqa: E402


def rates(recipe: Recipe, steps: int) -> list[float]:
    return [learning_rate(recipe, s, s / steps) for s in range(steps)]


def torch_rates(scheduler: type, steps: int, lr: float, **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)
    schedule = scheduler(optimizer, **options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_poly(recipe: Recipe) -> None:
    recipe = replace(recipe, schedule="poly", warmup=0, lr=0.2, power=0.9)
    expected = torch_rates(
        torch.optim.lr_scheduler.PolynomialLR, 50, 0.2, total_iters=50, power=0.9
    )
    assert rates(recipe, 50) == pytest.approx(expected)


def test_one_cycle(recipe: Recipe) -> None:
    recipe = replace(recipe, schedule="one_cycle", warmup=0, lr=0.2)
    # torch counts from its first to its last step, 0 to steps - 1.
    expected = torch_rates(
        torch.optim.lr_scheduler.OneCycleLR, 101, 0.2, max_lr=0.2, total_steps=101,
        pct_start=31 / 101,
    )  # fmt: skip
    found = [learning_rate(recipe, s, s / 100) for s in range(101)]
    assert found == pytest.approx(expected, rel=1e-6)


def test_step(recipe: Recipe) -> None:
    recipe = replace(recipe, schedule="step", milestones=[0.25, 0.75], warmup=0, lr=1.0)
    expected = torch_rates(
        torch.optim.lr_scheduler.MultiStepLR, 8, 1.0, milestones=[2, 6], gamma=0.1
    )
    assert rates(recipe, 8) == pytest.approx(expected)


def test_warm_up_is_linear(recipe: Recipe) -> None:
    recipe = replace(recipe, schedule="step", milestones=[1.0], warmup=4, lr=1.0)
    assert rates(recipe, 6) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_poly_per_epoch(recipe: Recipe) -> None:
    """As LEDNet's code: (1 - (epoch - 1) / epochs)^0.9 for the epochs from 1."""
    recipe = replace(recipe, schedule="poly", warmup=0, lr=5e-4, power=0.9, steps=70, lr_every=7)
    expected = [5e-4 * (1 - (epoch - 1) / 10) ** 0.9 for epoch in range(1, 11) for _ in range(7)]
    assert rates(recipe, 70) == pytest.approx(expected)
    # The real one: 595 steps in each of 300 epochs.
    recipe = replace(recipe, steps=178_500, lr_every=595)
    found = rates(recipe, 178_500)
    assert len(set(found)) == 300 and found[594] == 5e-4 > found[595]
    assert found[-1] == pytest.approx(5e-4 * (1 / 300) ** 0.9)
