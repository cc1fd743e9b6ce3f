# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A small labelled data set on disk, in SegNet's CamVid layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from lrn_ros.scene import StreetScene


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Street scenes of 64x96 pixels: four to train, three to validate; unlabelled is 11."""
    root = tmp_path_factory.mktemp("camvid")
    for split, count, seed in (("train", 4, 10), ("val", 3, 20)):
        images, labels = root / split, root / f"{split}annot"
        images.mkdir()
        labels.mkdir()
        for i in range(count):
            rgb, label = StreetScene(seed=seed + i, height=64, width=96).frame(0)
            label = label.copy()
            label[:4, :9] = 11
            cv2.imwrite(str(images / f"{split}_{i}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
            cv2.imwrite(str(labels / f"{split}_{i}.png"), label)
    return root
