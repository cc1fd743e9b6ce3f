# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""benchmark/smoothing.py on a short street scene, against counting by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lrn_ros import Segmenter
from lrn_ros.errors import RunError, UserError
from lrn_ros.metrics.confusion import confusion_matrix, scores
from lrn_ros.model.labels import LabelSet


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmark" / "smoothing.py"
    spec = importlib.util.spec_from_file_location("smoothing_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["smoothing_benchmark"] = module
    spec.loader.exec_module(module)
    return module


def test_figures_of_two_scenes(benchmark: ModuleType, random_model: Path) -> None:
    segmenter = Segmenter.load(random_model, backend="torch")
    scenes = [benchmark.from_scene(seed, (64, 96), 15.0, 3) for seed in (3, 4)]
    frames = [f for s in (3, 4) for f in benchmark.from_scene(s, (64, 96), 15.0, 3)]
    found = benchmark.measure(segmenter, scenes)
    assert found["frames"] == 6 and found["truth"]["miou"] == 100
    by_hand = sum(confusion_matrix(f.label, segmenter(f.rgb).mask, 11) for f in frames)
    assert found["single frames"]["miou"] == pytest.approx(100 * scores(by_hand).miou)
    assert found["smoothed"]["miou"] != found["single frames"]["miou"]
    assert found["smoothed"]["flicker"] < found["single frames"]["flicker"]
    still = {found[kind]["still"] for kind in ("truth", "single frames", "smoothed")}
    assert len(still) == 1 and 0 < still.pop() < 4 * 64 * 96  # of two pairs a scene
    assert len(benchmark.table({"scene": found}).splitlines()) == 5


def test_frames_too_far_apart(benchmark: ModuleType, random_model: Path) -> None:
    segmenter = Segmenter.load(random_model, backend="torch")
    with pytest.raises(RunError, match="nothing can be smoothed"):
        benchmark.measure(segmenter, [benchmark.from_scene(3, (64, 96), 1.9, 2)])


def test_times_of_numbered_files(benchmark: ModuleType, tmp_path: Path) -> None:
    import cv2

    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
        for name in ("0016E5_07959", "0016E5_07961"):
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), np.zeros((8, 8), np.uint8))
    labels = LabelSet.load("camvid11")
    first, second = benchmark.from_files(tmp_path, "val", labels)
    assert second.seconds - first.seconds == pytest.approx(1 / 15)
    for folder in ("val", "valannot"):
        (tmp_path / folder / "0016E5_07961.png").rename(tmp_path / folder / "last.png")
    with pytest.raises(UserError, match="last: no frame number"):
        list(benchmark.from_files(tmp_path, "val", labels))


@pytest.mark.parametrize(
    ("miou", "flicker", "bars"), [(60.0, 0.8, 0), (59.9, 0.8, 1), (60.1, 0.81, 1), (59.9, 0.9, 2)]
)
def test_bars(benchmark: ModuleType, miou: float, flicker: float, bars: int) -> None:
    video = {
        "single frames": {"miou": 60.0, "flicker": 1.0},
        "smoothed": {"miou": miou, "flicker": flicker},
    }
    assert len(benchmark.missed(video)) == bars
