# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny data set and a tiny recipe."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from lrn_ros.scene import StreetScene
from lrn_ros.training.recipe import Recipe


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rendered frames in SegNet's CamVid layout, of two sequences."""
    root = tmp_path_factory.mktemp("data")
    scene = StreetScene(seed=5, height=96, width=128)
    for split, count in (("train", 4), ("val", 3)):
        (root / split).mkdir()
        (root / f"{split}annot").mkdir()
        for i in range(count):
            rgb, labels = scene.frame(5 * i)
            name = f"{'one' if i < 3 else 'two'}_{i}.png"
            cv2.imwrite(str(root / split / name), rgb[..., ::-1])
            cv2.imwrite(str(root / f"{split}annot" / name), labels)
    return root


@pytest.fixture
def recipe() -> Recipe:
    """Six steps with everything on that changes what a step draws."""
    return Recipe(
        name="tiny",
        architecture="lrnnet_c",
        labels="camvid11",
        license="none",
        steps=6,
        batch=2,
        stages=[
            {"until": 0.5, "crop": [64, 64], "scale": [0.5, 2.0]},
            {"until": 1.0, "crop": [96, 128], "scale": [0.5, 2.0]},
        ],
        warmup=1,
        loss_stride=2,
        sequence_balance=0.5,
        class_centred=0.5,
        class_mix=0.5,
        degrade=0.5,
        scene_share=0.4,
        scene_frames=2,
        eval_every=3,
        clip=1.0,
        options={"dropout": [0.1, 0.1, 0.1]},
    )
