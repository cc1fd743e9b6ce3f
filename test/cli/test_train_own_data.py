# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn train on somebody's own data: what is refused or said, and what is written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from drawn_farm import FARM, farm
from PIL import Image

from lrn_ros.cli import main
from lrn_ros.model.artifact import read_info
from lrn_ros.training.recipe import load_recipe

pytest.importorskip("lightning")

RECIPE = """\
name: fast
architecture: ndnet45
labels: farm.yaml
steps: 2
batch: 2
warmup: 1
stages: [{until: 1.0, crop: [64, 96], scale: [0.8, 1.5]}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with data, label set and recipe."""
    monkeypatch.chdir(tmp_path)
    farm(tmp_path / "data")
    (tmp_path / "farm.yaml").write_text(yaml.safe_dump(FARM.to_dict()))
    (tmp_path / "fast.yaml").write_text(RECIPE)
    return tmp_path


def train(*more: str) -> int:
    return main(["train", "fast.yaml", "--data", "data", "--output", "run", "--quiet", *more])


def test_start_and_end_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--set", "name=farm_v1.5") == 0
    said = capsys.readouterr().out
    assert "training farm_v1.5, ndnet45: 6 images of 64x96, 3 to validate on, 3 classes" in said
    assert re.search(r"val mIoU [\d.]+ % \(sky \d+, field \d+, barn \d+\)", said)
    assert read_info(folder / "run" / "farm_v1.5.safetensors").license == "unset"
    assert (folder / "run" / "farm_v1.5.png").is_file() and (
        folder / "run" / "farm_v1.5.md"
    ).is_file()


def test_masks_of_0_and_255(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in (folder / "data" / "labels").rglob("*.png"):
        barn = np.asarray(Image.open(label)) == 2
        Image.fromarray(barn.astype(np.uint8) * 255).save(label)
    assert train() == 2
    error = capsys.readouterr().err
    assert "the data set is refused" in error and "--anyway" in error and "255=NAME" in error
    assert not list((folder / "run").glob("*.safetensors"))
    assert train("--anyway") == 0
    assert "data: train: only class 'sky' occurs" in capsys.readouterr().err


def test_other_data_or_classes_do_not_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    swapped = FARM.to_dict()
    swapped["classes"] = swapped["classes"][::-1]
    (folder / "farm.yaml").write_text(yaml.safe_dump(swapped))
    assert train() == 2
    assert "classes of the label set: ['sky', 'field', 'barn'] before" in capsys.readouterr().err
    assert train("--restart") == 0


def test_a_set_larger_than_memory(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrn_ros.training.data.available_memory", lambda: 1000.0)
    assert train() == 2
    error = capsys.readouterr().err.strip()
    assert "`data: stream` in the recipe" in error and "\n" not in error
    assert train("--set", "data=stream") == 0
    assert (folder / "run" / "decoded" / "train" / "images.u8").stat().st_size == 6 * 3 * 64 * 96


def test_a_new_recipe(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "recipes").mkdir()
    assert main(["train", "--new", "own", "--data", "data", "--max-time", "90m"]) == 0
    said = capsys.readouterr().out
    assert "wrote own.yaml, own_labels.yaml" in said
    recipe = load_recipe("own.yaml")
    assert (recipe.name, recipe.max_minutes, recipe.license) == ("own", 90, "unset")
    assert recipe.size == [64, 96] and recipe.scene_share == 0
    assert yaml.safe_load(Path("own_labels.yaml").read_text())["classes"][2]["name"] == "class_2"
    assert main(["train", "--new", "own", "--data", "data"]) == 2
    assert "own.yaml: is there already" in capsys.readouterr().err
    assert main(["train", "--new", "recipes/own", "--data", "data"]) == 2
    assert "no folder" in capsys.readouterr().err
    named = ["--labels", "farm.yaml", "--data", "data"]
    assert main(["train", "--new", "named", *named]) == 0
    text = Path("named.yaml").read_text()
    assert "labels: ./farm.yaml" in text and "dataset: ./data" in text
    assert "camvid" not in re.sub("init: lrnnet_c_camvid", "", text).lower()


@pytest.mark.parametrize("arguments", [[], ["fast.yaml", "--new", "x"], ["--new", "x"]])
def test_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list) -> None:
    assert main(["train", *arguments]) == 2
    assert "--new" in capsys.readouterr().err
