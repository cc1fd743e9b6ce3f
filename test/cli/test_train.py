# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn train: a run that was stopped and resumed is the run that was not, bit for bit."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from lrn_ros.cli import main
from lrn_ros.model.artifact import read_info, read_weights

pytest.importorskip("lightning")

RECIPE = """
name: tiny
architecture: lrnnet_c
labels: camvid11
license: none, a test
steps: 8
batch: 2
stages:
  - {until: 0.5, crop: [64, 64], scale: [0.5, 2.0]}
  - {until: 1.0, crop: [64, 96], scale: [0.5, 2.0]}
warmup: 2
class_centred: 0.5
degrade: 0.5
clip: 5.0
scene_share: 0.3
scene_frames: 2
eval_every: 4
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return str(path)


def _arguments(recipe, dataset, run):
    return ["train", recipe, "--data", str(dataset), "--output", str(run), "--quiet"]


def test_ctrl_c_between_steps_then_resume(recipe, dataset, tmp_path, capsys, monkeypatch):
    """Steps resumed are steps not lost, bit for bit; test_trainer.py has more of it."""
    from lrn_ros.training.trainer import Trainer

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(_arguments(recipe, dataset, whole)) == 0
    step = Trainer._step

    def interrupted(self, progress, rate):
        if self.state.step == 3:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C within the fourth step
        return step(self, progress, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        assert main(_arguments(recipe, dataset, parts)) == 130
    assert "stopped at step 4" in capsys.readouterr().err
    assert not (parts / "tiny.safetensors").exists()
    assert main([*_arguments(recipe, dataset, parts), "--json"]) == 0
    printed = capsys.readouterr()
    assert "resumed at step 4 of 8" in printed.err
    expected, found = (read_weights(run / "tiny.safetensors") for run in (whole, parts))
    assert expected.keys() == found.keys()
    for name, weights in expected.items():
        np.testing.assert_array_equal(found[name], weights, err_msg=name)
    info = read_info(parts / "tiny.safetensors")
    assert info.provenance["steps"] == 8 and info.license == "none, a test"
    assert info.metrics == read_info(whole / "tiny.safetensors").metrics
    report = json.loads(printed.out)
    assert report["steps"] == 8 and report["images_per_second"] > 0
    assert round(report["val"]["miou"], 4) == info.metrics["val"]["miou"]


def test_restart_extend_and_another_recipe(recipe, dataset, tmp_path, capsys):
    arguments = _arguments(recipe, dataset, tmp_path / "run")
    assert main([*arguments, "--steps", "2"]) == 0
    assert main([*arguments, "--set", "lr=0.5"]) == 2
    assert "made by another recipe (lr was 0.003)" in capsys.readouterr().err
    assert main([*arguments, "--steps", "3"]) == 0
    assert "resumed at step 2 of 3" in capsys.readouterr().out
    assert main([*arguments, "--set", "lr=0.5", "--steps", "1", "--restart"]) == 0
    assert "resumed" not in capsys.readouterr().out
    made = read_info(tmp_path / "run" / "tiny.safetensors").provenance
    assert made["steps"] == 1 and made["recipe"]["lr"] == 0.5


@pytest.mark.parametrize("name", ["lrnnet_max", "lrnnet_nonlocal_assoc", "lrnnet_ssnbt"])
def test_the_papers_ablation_is_one_recipe(recipe, dataset, tmp_path, name):
    run = tmp_path / "run"
    change = ["--set", f"architecture={name}", "--steps", "1"]
    assert main([*_arguments(recipe, dataset, run), *change]) == 0
    assert read_info(run / "tiny.safetensors").architecture == name


def test_tensorboard_log(recipe, dataset, tmp_path):
    arguments = [*_arguments(recipe, dataset, tmp_path), "--steps", "4", "--log", "tensorboard"]
    assert main(arguments) == 0
    assert list((tmp_path / "log").rglob("events.out.tfevents.*"))


def test_tensorboard_that_is_not_there(recipe, dataset, tmp_path, capsys, monkeypatch):
    from lightning.fabric.loggers import tensorboard

    monkeypatch.setattr(tensorboard, "_TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr(tensorboard, "_TENSORBOARDX_AVAILABLE", False)
    assert main([*_arguments(recipe, dataset, tmp_path), "--log", "tensorboard"]) == 2
    assert "pip install tensorboard" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "learning_rate=3"], "unknown key 'learning_rate'"),
        (["--set", "architecture=unet"], "unet"),
        (["--set", "init=nothing"], "nothing"),
        (["--set", "seed"], "KEY=VALUE"),
        (["--data", "/nowhere"], "/nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line(recipe, dataset, tmp_path, capsys, arguments, says):
    assert main([*_arguments(recipe, dataset, tmp_path), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert says in error and "\n" not in error


def test_missing_data_says_where_to_put_it(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LRN_DATA", raising=False)
    assert main(["train", recipe]) == 2
    assert "data/camvid" in capsys.readouterr().err
    monkeypatch.setenv("LRN_DATA", str(tmp_path / "sets"))
    assert main(["train", recipe]) == 2
    assert str(tmp_path / "sets" / "camvid") in capsys.readouterr().err
