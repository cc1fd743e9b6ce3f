# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Corruptions: repeatable, stronger with the strength, each of the kind that its name says."""

from __future__ import annotations

import numpy as np
import pytest

from lrn_ros.data.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from lrn_ros.scene import StreetScene


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return StreetScene(seed=4, height=120, width=160).frame(3)[0]


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_repeatable_and_stronger_with_the_strength(kind: str, rgb: np.ndarray) -> None:
    before = rgb.copy()
    found = [corrupt(rgb, kind, s, 7) for s in STRENGTHS]
    np.testing.assert_array_equal(rgb, before)
    for s, image in zip(STRENGTHS, found):
        assert image.shape == rgb.shape and image.dtype == np.uint8
        np.testing.assert_array_equal(image, corrupt(rgb, kind, s, 7))
    errors = [float(np.abs(image.astype(int) - rgb).mean()) for image in found]
    assert errors[0] > 0.5 and all(a < b for a, b in zip(errors, errors[1:]))


@pytest.mark.parametrize("kind", ["fog", "rain", "noise", "darkness"])
def test_two_images_do_not_share_their_noise(kind: str, rgb: np.ndarray) -> None:
    assert (corrupt(rgb, kind, 3, 0) != corrupt(rgb, kind, 3, 1)).any()


def test_each_is_what_its_name_says(rgb: np.ndarray) -> None:
    def detail(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image.astype(float), axis=1)).mean())

    assert corrupt(rgb, "darkness", 5, 0).mean() < 0.45 * rgb.mean()
    assert (corrupt(rgb, "over-exposure", 5, 0) == 255).mean() > (rgb == 255).mean() + 0.1
    assert corrupt(rgb, "fog", 5, 0).std() < 0.5 * rgb.std()
    assert detail(corrupt(rgb, "motion-blur", 5, 0)) < 0.5 * detail(rgb)
    assert detail(corrupt(rgb, "noise", 5, 0)) > 1.5 * detail(rgb)
