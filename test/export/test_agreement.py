# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Agreement with torch: figures against counts made here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from lrn_ros import Segmenter  # noqa: E402
from lrn_ros.export.agreement import (  # noqa: E402
    CALIBRATION,
    SCENES,
    calibration_images,
    calibration_scenes,
    measure,
    scene_images,
)


def only(class_id: int):
    """An exported model that sees one class everywhere."""

    def run(image: np.ndarray) -> np.ndarray:
        n, height, width, _ = image.shape
        logits = np.zeros((n, 11, height // 8, width // 8), np.float32)
        logits[:, class_id] = 1
        return logits

    return run


def test_figures(random_model: Path) -> None:
    reference = Segmenter.load(random_model, backend="torch", precision="fp32")
    rgbs = [np.random.default_rng(i).integers(0, 256, (64, 80 + i, 3), np.uint8) for i in (0, 5)]
    masks = [reference(rgb).mask for rgb in rgbs]
    common = int(np.bincount(masks[0].ravel()).argmax())
    same, pixels = sum((m == common).sum() for m in masks), sum(m.size for m in masks)
    assert 0 < same < pixels
    figures = measure(reference, only(common), ((rgb, None) for rgb in rgbs))
    assert figures == {"images": 2, "same_label": same / pixels}

    # Labelled with what torch answers: its IoUs are 1, those of the constant answer 0 but for one.
    figures = measure(reference, only(common), zip(rgbs, masks))
    assert figures["torch_miou"] == 1
    classes = len(set(np.unique(np.concatenate([m.ravel() for m in masks]))))
    assert figures["miou"] == pytest.approx(same / pixels / classes)


def test_scenes_have_the_size_asked_for() -> None:
    shapes = [(rgb.shape, label) for rgb, label in scene_images((64, 96))]
    assert shapes == [((64, 96, 3), None)] * SCENES


def test_calibration_scenes_are_others() -> None:
    measured = {rgb.tobytes() for rgb, _ in scene_images((64, 96))}
    calibrated = {rgb.tobytes() for rgb in calibration_scenes((64, 96))}
    assert len(calibrated) == CALIBRATION and not measured & calibrated


def test_calibration_images_are_spread_over_the_train_split(tmp_path: Path) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
        for i in range(70):
            cv2.imwrite(f"{tmp_path / folder}/{i:02}.png", np.full((8, 8, 3), i, np.uint8))
    found = [int(rgb[0, 0, 0]) for rgb in calibration_images(tmp_path)]
    assert len(found) == CALIBRATION == 32
    assert (found[0], found[16], found[-1]) == (0, 35, 67)
