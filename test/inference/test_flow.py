# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Flow of translated pictures, at sizes at which OpenCV's search alone fails or crashes too."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lrn_ros.inference.smoothing import find_flow

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
SIZES = [
    (1, 1),
    (7, 3),
    (8, 8),
    (8, 60),
    (12, 128),
    (24, 128),
    (64, 5),
    (16, 16),
    (24, 640),
    (97, 300),
]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("size", SIZES)
def test_every_size(size: tuple[int, int], preset: int) -> None:
    search = cv2.DISOpticalFlow.create(preset)
    random = np.random.default_rng(0)
    for _ in range(3):
        one, two = random.integers(0, 255, (2, *size), np.uint8)
        flow = find_flow(search, one, two)
        assert flow.shape == (*size, 2) and np.isfinite(flow).all()


@pytest.mark.parametrize("size", [(24, 128), (64, 64), (90, 160)])
def test_a_translation(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (30, 50), np.uint8)
    picture = cv2.resize(noise, (400, 240), interpolation=cv2.INTER_CUBIC)
    here, there = (picture[50:, n : n + size[1]][: size[0]].copy() for n in (50, 53))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    inner = find_flow(search, here, there)[4:-4, 8:-8]
    np.testing.assert_allclose(np.median(inner, (0, 1)), (-3, 0), atol=0.2)
