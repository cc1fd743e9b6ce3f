# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn train: a run that was stopped and resumed is the run that was not, bit for bit."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from lrn_ros.artifact import read_info, read_weights
from lrn_ros.cli import main

pytest.importorskip("lightning")

RECIPE = """
name: tiny
architecture: lrnnet_c
labels: camvid11
license: none, a test
steps: 8
batch: 2
crops: [[0.5, 64, 64], [1.0, 64, 96]]
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


def test_resume_is_exact(recipe, dataset, tmp_path, capsys, monkeypatch):
    from lrn_ros.training.trainer import Trainer

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(_arguments(recipe, dataset, whole)) == 0
    step = Trainer._step

    def interrupted(self, progress):
        if self.state.step == 3:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C within the fourth step
        return step(self, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        assert main(_arguments(recipe, dataset, parts)) == 130
    assert "stopped at step 4" in capsys.readouterr().err
    assert not (parts / "tiny.safetensors").exists()
    assert main(_arguments(recipe, dataset, parts)) == 0
    assert "resumed at step 4 of 8" in capsys.readouterr().out
    expected, found = (read_weights(run / "tiny.safetensors") for run in (whole, parts))
    assert expected.keys() == found.keys()
    for name, weights in expected.items():
        np.testing.assert_array_equal(found[name], weights, err_msg=name)
    info = read_info(parts / "tiny.safetensors")
    assert info.provenance["steps"] == 8 and info.license == "none, a test"
    assert info.metrics == read_info(whole / "tiny.safetensors").metrics


def test_restart_and_another_recipe(recipe, dataset, tmp_path, capsys):
    arguments = _arguments(recipe, dataset, tmp_path / "run")
    assert main([*arguments, "--steps", "2"]) == 0
    assert main([*arguments, "--steps", "3"]) == 2
    assert "made by another recipe" in capsys.readouterr().err
    assert main([*arguments, "--steps", "3", "--restart"]) == 0
    assert "resumed" not in capsys.readouterr().out
    assert read_info(tmp_path / "run" / "tiny.safetensors").provenance["steps"] == 3


def test_missing_data_says_where_to_put_it(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LRN_DATA", raising=False)
    assert main(["train", recipe]) == 2
    assert "data/camvid" in capsys.readouterr().err
    monkeypatch.setenv("LRN_DATA", str(tmp_path / "sets"))
    assert main(["train", recipe]) == 2
    assert str(tmp_path / "sets" / "camvid") in capsys.readouterr().err
