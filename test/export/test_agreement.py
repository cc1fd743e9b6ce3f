# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Agreement with torch: figures against counts made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from lrn_ros import Segmenter  # noqa: E402
from lrn_ros.export.agreement import SCENES, measure, scene_images  # noqa: E402


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
