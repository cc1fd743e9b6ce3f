# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Upsampling on the host: the shortcut against the direct computation, that against a formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from lrn_ros.inference.geometry import Geometry, fit
from lrn_ros.inference.postprocess import upsample, upsample_argmax

STRIDE = 8
GEOMETRIES = {
    "own size": fit((96, 128), (96, 128)),
    "camera larger": fit((211, 283), (96, 128)),
    "camera smaller": fit((45, 60), (96, 128)),
    "border": fit((100, 300), (96, 128), (96, 160)),
    "border, network output": fit((100, 300), (96, 128), (96, 160), "network"),
    "one pixel": fit((1, 1), (96, 128)),
    "one row": fit((1, 700), (96, 128)),
    "far smaller": Geometry((9, 7), (512, 400), (512, 400), (9, 7)),
    "one score": Geometry((30, 40), (8, 8), (8, 8), (30, 40)),
    "rows in several chunks": Geometry((80, 1280), (40, 640), (40, 640), (80, 1280)),
    "one column of scores": Geometry((64, 8), (64, 8), (64, 8), (64, 8)),
}


def logits(kind: str, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Scores of one kind, float32."""
    random = np.random.default_rng(len(kind))
    noise = random.normal(size=shape).astype(np.float32)
    blocks = np.repeat(np.repeat(noise[:, ::4, ::4], 4, 1), 4, 2)[:, : shape[1], : shape[2]]
    return {
        "random": noise,
        "constant": np.full(shape, 1.7, np.float32),
        "whole numbers": random.integers(-1, 2, shape).astype(np.float32),
        "regions": blocks * 8,
        "regions and noise": blocks * 8 + noise,
        "one outlier": blocks + 1e9 * (noise == noise.max()),
        "subnormal": blocks * np.float32(1e-39),
        "huge": blocks * np.float32(1e37),
    }[kind].astype(np.float32)


KINDS = [
    *("random", "constant", "whole numbers", "regions", "regions and noise"),
    *("one outlier", "subnormal", "huge"),
]


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [1, 11])
@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.3])
def test_shortcut_equals_direct(
    geometry: Geometry, kind: str, classes: int, temperature: float
) -> None:
    shape = (classes, *(-(-n // STRIDE) for n in geometry.network))
    coarse = logits(kind, shape)
    direct = upsample(coarse, geometry, STRIDE)
    mask, nothing = upsample_argmax(coarse, geometry, STRIDE, False)
    np.testing.assert_array_equal(mask, direct.argmax(0))
    assert mask.dtype == np.uint8 and nothing is None
    again, confidence = upsample_argmax(coarse, geometry, STRIDE, True, temperature=temperature)
    np.testing.assert_array_equal(again, mask)  # the temperature changes no mask
    exact = direct.astype(np.float64)
    probability = 255 / np.exp((exact - exact.max(0)) / temperature).sum(0)
    assert confidence is not None and confidence.dtype == np.uint8
    assert np.abs(confidence - probability).max() < 0.501


def test_probabilities_of_merged_classes_are_added_up() -> None:
    geometry = next(iter(GEOMETRIES.values()))
    coarse = logits("random", (11, *(-(-n // STRIDE) for n in geometry.network)))
    merged = [0, 7, 7, 1, 0, 255, 1, 7, 255, 3, 3]
    mask, confidence = upsample_argmax(coarse, geometry, STRIDE, True, merged)
    np.testing.assert_array_equal(mask, upsample_argmax(coarse, geometry, STRIDE, False)[0])
    exact = upsample(coarse, geometry, STRIDE).astype(np.float64)
    weights = np.exp(exact - exact.max(0))
    groups = np.array(merged)
    own = np.array([weights[groups == number].sum(0) for number in range(256)])
    expected = 255 * np.take_along_axis(own, groups[mask][None], 0)[0] / weights.sum(0)
    assert confidence is not None and np.abs(confidence - expected).max() < 0.501
    alone = upsample_argmax(coarse, geometry, STRIDE, True)[1]
    assert alone is not None and (confidence > alone).any()


def test_ties_appear_by_rounding_between_scores_without_any() -> None:
    """What the margin is for: without it the shortcut would answer 1 at every pixel."""
    low = np.random.default_rng(0).uniform(1, 2, (40, 40)).astype(np.float32)
    coarse = np.stack([low, np.nextafter(low, np.float32(3))])
    geometry = Geometry((320, 320), (320, 320), (320, 320), (320, 320))
    direct = upsample(coarse, geometry, STRIDE).argmax(0)
    assert (coarse.argmax(0) == 1).all() and 0 < (direct == 0).mean() < 1
    np.testing.assert_array_equal(upsample_argmax(coarse, geometry, STRIDE, False)[0], direct)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_direct_equals_the_formula_pixel_by_pixel(geometry: Geometry) -> None:
    shape = (3, *(-(-n // STRIDE) for n in geometry.network))
    coarse = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    scores = upsample(coarse, geometry, STRIDE)
    height, width = geometry.output
    assert scores.shape == (3, height, width) and scores.dtype == np.float32
    for y in {0, height // 3, height - 1}:
        for x in {0, width // 5, width - 1}:
            at, parts = (y, x), []
            for n in (0, 1):
                scale = geometry.content[n] / geometry.output[n] / STRIDE
                position = min(max((at[n] + 0.5) * scale - 0.5, 0), shape[n + 1] - 1)
                low = math.floor(position)
                parts.append((low, min(low + 1, shape[n + 1] - 1), position - low))
            (i, below, b), (j, right, a) = parts
            top = coarse[:, i, j] * (1 - a) + coarse[:, i, right] * a
            bottom = coarse[:, below, j] * (1 - a) + coarse[:, below, right] * a
            expected = top * (1 - b) + bottom * b
            np.testing.assert_allclose(scores[:, y, x], expected, rtol=1e-5, atol=1e-6)


def test_scores_that_are_not_numbers_are_unlabelled() -> None:
    coarse = np.zeros((3, 4, 4), np.float32)
    coarse[1] = 5
    coarse[2, 3, 3] = np.nan
    geometry = Geometry((32, 32), (32, 32), (32, 32), (32, 32))
    mask, _ = upsample_argmax(coarse, geometry, STRIDE, False)
    assert mask[0, 0] == 1 and mask[31, 31] == 255 and set(np.unique(mask)) == {1, 255}
