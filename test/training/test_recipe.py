# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recipes: reading, bases, changes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrn_ros.errors import UserError
from lrn_ros.networks import architectures
from lrn_ros.training.recipe import Recipe, load_recipe, parse_changes

MINIMUM = "name: x, architecture: a, labels: l, license: n, steps: 5"
SHIPPED = sorted(p.stem for p in (Path(__file__).parents[2] / "config" / "train").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_valid(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.architecture in architectures()


def test_stages_follow_the_progress(recipe: Recipe) -> None:
    assert recipe.stage_at(0.0).crop == (64, 64)
    assert recipe.stage_at(0.49).crop == (64, 64)
    assert recipe.stage_at(0.5).crop == (96, 128)
    assert recipe.stage_at(1.0).crop == (96, 128)


def test_a_base_holds_where_the_recipe_is_silent(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(f"{{{MINIMUM}, lr: 0.5, seed: 4}}")
    child = tmp_path / "child.yaml"
    child.write_text(f"base: {tmp_path / 'base.yaml'}\nname: child\nlr: 0.25\n")
    recipe = load_recipe(child, {"batch": 3})
    assert (recipe.name, recipe.lr, recipe.seed, recipe.batch) == ("child", 0.25, 4, 3)


def test_a_recipe_is_not_its_own_base(tmp_path: Path) -> None:
    path = tmp_path / "circle.yaml"
    path.write_text(f"base: {path}\n")
    with pytest.raises(UserError, match="its own base"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "mapping"),
        ("name: x\nlearning_rate: 3\n", "unknown key 'learning_rate'"),
        ("name: x\n", "missing"),
        (f"{{{MINIMUM}, batch: 0}}", "batch must be positive"),
        (f"{{{MINIMUM}, stages: [{{until: 1, crop: [60, 64], scale: [1, 1]}}]}}", "of 8"),
        (f"{{{MINIMUM}, stages: [{{until: 1, crop: [64, 64], scale: [2, 1]}}]}}", "low, high"),
        (f"{{{MINIMUM}, stages: [{{until: 1, crop: [64, 64]}}]}}", "until, crop and scale"),
        (f"{{{MINIMUM}, stages: []}}", "at least one"),
        (f"{{{MINIMUM}, schedule: cosine}}", "poly, one_cycle, step work"),
        (f"{{{MINIMUM}, schedule: step}}", "needs milestones"),
        (f"{{{MINIMUM}, class_mix: 1.5}}", "class_mix is 1.5"),
        (f"{{{MINIMUM}, ohem: {{keep: 0.1}}}}", "ohem has the keys keep, threshold"),
        (f"{{{MINIMUM}, lr: fast}}", "wrong form"),
        (f"{{{MINIMUM}, size: [100, 200]}}", "multiples of 8"),
        (f"{{{MINIMUM}, precision: fp8}}", "bf16-mixed"),
    ],
)
def test_bad_recipes_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        load_recipe(tmp_path / "bad.yaml")


@pytest.mark.parametrize("text", ["seed", "=3", "crop=[1, 2"])
def test_bad_changes_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--set"):
        parse_changes([text])
