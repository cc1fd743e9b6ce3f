# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""benchmark/gpu.py: a dry run on the CPU, its bounds, and on a GPU the kernels it measures."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")
SCRIPT = Path(__file__).parents[2] / "benchmark" / "gpu.py"


def run(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_benchmark"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_dry_run(tmp_path: Path) -> None:
    sections = ["right", "fast", "faults", "overlap", "lasting"]
    run("--dry-run", "--sections", *sections, "--output", tmp_path)
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert results["dry run"] is True and set(sections) < set(results)
    for line in results["right"]:  # the reference beside itself
        assert line["same label"] == line.get("same label alone", 1.0) == 1.0, line
    models = {line["model"] for line in results["right"] if "model" in line}
    assert models >= {"lrnnet_c_camvid", "ndnet45_camvid"}
    assert {line.get("smoothed") for line in results["right"]} == {None, True}
    *faults, skipped = results["faults"]
    assert len(faults) == 3 and all(line["same mask"] for line in faults)
    assert faults[2]["said"] == ["on purpose"] * 3 and faults[2]["loaded"] == 2
    assert "skipped" in skipped and "skipped" in results["overlap"][0]
    limits, *figures = results["fast"]
    assert all(value > 0 for value in limits.values())
    assert figures and all(f["p99 ms"] >= f["p50 ms"] > 0 for f in figures)
    assert results["lasting"][-1]["frames"] == 20 and results["lasting"][-1]["resident MB"] > 0
    for name in sections:
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == results[name]


def test_a_section_that_takes_too_long_keeps_its_lines(tmp_path: Path) -> None:
    run("--dry-run", "--sections", "right", "--minutes", 0.0001, "--output", tmp_path)
    lines = json.loads((tmp_path / "gpu.json").read_text())["right"]
    assert lines[-1] == {"stopped": "after 1 s"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_sections_say_why(tmp_path: Path) -> None:
    run("--sections", "fast", "--output", tmp_path)
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert results["fast"] == [{"skipped": "torch finds no GPU"}]


def check_kernels(gpu: ModuleType) -> None:
    compiled, *lines = gpu.kernels(gpu.DRY)
    assert lines and compiled["compiled for 8.9, bytes"] > 1000
    for line in lines:
        assert line["same images"] and line["same masks"], line
        assert line["largest difference of a confidence"] <= 1, line
        assert line["p99 ms"] >= line["p50 ms"] > 0


def test_kernels_on_a_stand_in(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("cuda.bindings.driver")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "inference"))
    from gpu_stand_in import StandInGpu
    from kernel_shim import StandInDriver

    # Other tests import these modules anew: the package's attributes may be of such a copy.
    cuda_graph = importlib.import_module("lrn_ros.inference.cuda_graph")
    device_code = importlib.import_module("lrn_ros.inference.device_code")
    stand_in = StandInGpu()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cuda_graph, "cudart", stand_in)
    monkeypatch.setattr(device_code, "driver", StandInDriver(stand_in.enqueue))
    check_kernels(gpu)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU; see `make gpu`")
def test_kernels_on_the_gpu(gpu: ModuleType) -> None:
    pytest.importorskip("cuda.bindings")
    check_kernels(gpu)
