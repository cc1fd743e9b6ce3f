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
    child.write_text(f"base: {tmp_path / 'base.yaml'}\nname: child\nlabels: camvid11\nlr: 0.25\n")
    recipe = load_recipe(child, {"batch": 3})
    assert (recipe.name, recipe.lr, recipe.seed, recipe.batch) == ("child", 0.25, 4, 3)


def test_what_speaks_of_a_data_set_is_never_inherited(tmp_path: Path) -> None:
    shipped, child = load_recipe("lrnnet_c_camvid"), tmp_path / "child.yaml"
    child.write_text("base: lrnnet_c_camvid\nname: child\nlabels: cityscapes19\n")
    recipe = load_recipe(child)
    assert (recipe.architecture, recipe.clip) == (shipped.architecture, shipped.clip)
    assert shipped.scene_share and shipped.max_minutes and "CamVid" in shipped.license
    assert (recipe.scene_share, recipe.max_minutes, recipe.license) == (0, 0, "unset")
    child.write_text("base: lrnnet_c_camvid\nname: child\n")
    with pytest.raises(UserError, match="labels"):
        load_recipe(child)


def test_a_changed_label_set_leaves_the_licence_behind() -> None:
    changed = load_recipe("lrnnet_c_camvid", {"labels": "cityscapes19"})
    assert changed.license == "unset"
    assert load_recipe("lrnnet_c_camvid", {"labels": "camvid11"}).license != "unset"
    assert load_recipe("lrnnet_c_camvid", {"labels": "x", "license": "mine"}).license == "mine"


@pytest.mark.parametrize(
    ("change", "value"),
    [("lr=1e-3", 1e-3), ("steps=1e4", 10_000), ("clip=5", 5), ("holdout=[1, 2]", ["1", "2"])],
)
def test_numbers_as_they_are_typed(change: str, value: object) -> None:
    recipe = load_recipe("lrnnet_c_camvid", parse_changes([change]))
    assert getattr(recipe, change.partition("=")[0]) == value


@pytest.mark.parametrize(
    "change",
    [
        *("lr=fast", "lr=.nan", "lr=[1]", "lr=true", "lr=", "steps=2.5", "steps=.inf", "seed=x"),
        *("channels_last=1", "stages=3", "stages=[3]", "options=[1]", "size=tall", "init=[x]"),
        *("milestones=[a]", "stages=[{until: x, crop: [64, 64], scale: [1, 1]}]", "ohem=3"),
        "stages=[{until: 1, crop: [64, a], scale: [1, 1]}]",
    ],
)
def test_values_of_another_type_name_their_key(change: str) -> None:
    key = change.partition("=")[0]
    with pytest.raises(UserError, match=rf"^recipe '.*': {key}( is|:) "):
        load_recipe("lrnnet_c_camvid", parse_changes([change]))


@pytest.mark.parametrize("name", ["farm_v1.5", "A", "3cams", "x-y"])
def test_names(name: str) -> None:
    assert load_recipe("lrnnet_c_camvid", {"name": name}).name == name


@pytest.mark.parametrize(
    "name", ["", "a/b", "../x", ".x", "a b", "farm_fp16", "farm_int8", "farm_64x96", "farm.onnx"]
)
def test_names_that_would_be_another_models_file(name: str) -> None:
    with pytest.raises(UserError, match="name is"):
        load_recipe("lrnnet_c_camvid", {"name": name})


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
        (f"{{{MINIMUM}, lr: fast}}", "lr is 'fast'; a number works"),
        (f"{{{MINIMUM}, size: [100, 200]}}", "multiples of 8"),
        (f"{{{MINIMUM}, precision: fp8}}", "bf16-mixed"),
        (f"{{{MINIMUM}, flip: 2}}", "flip is 2; 0 to 1 works"),
        (f"{{{MINIMUM}, shift: -1}}", "shift must not be negative"),
        (f"{{{MINIMUM}, lr_every: 0}}", "lr_every must be positive"),
        (f"{{{MINIMUM}, std: [1, 1, 0]}}", "three numbers"),
        (f"{{{MINIMUM}, init: }}", "init is None; a text works"),
        (f"{{{MINIMUM}, decayed: some}}", "weights, all work"),
        (f"{{{MINIMUM}, sampling: epoch, scene_share: 0.1}}", "neither scene_share"),
        (f"{{{MINIMUM}, stages: [{{until: 1, crop: [64, 64], scales: []}}]}}", "at least one"),
        (f"{{{MINIMUM}, auxiliary: {{layer: a, weight: 1, head: big}}}}", "separable work"),
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
