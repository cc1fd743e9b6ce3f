# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Boundary F-score against the definition pixel by pixel, and closed forms."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from lrn_ros.metrics.boundary import TOLERANCE, boundary_counts, boundary_scores


def pixels(mask: np.ndarray, labelled: np.ndarray, k: int) -> list[tuple[int, int]]:
    """The boundary of class k by the definition."""
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if not (0 <= v < height and 0 <= u < width):
                    continue
                both = labelled[y, x] and labelled[v, u] and 255 not in (mask[y, x], mask[v, u])
                if mask[y, x] == k and both and mask[v, u] != k:
                    found.append((y, x))
                    break
    return found


def by_definition(
    truth: np.ndarray, prediction: np.ndarray, classes: int, reach: float
) -> list[list[int]]:
    labelled = truth < classes
    rows = []
    for k in range(classes):
        true, found = pixels(truth, labelled, k), pixels(prediction, labelled, k)
        near = [sum(any(math.dist(p, q) <= reach for q in b) for p in a) for a, b in
                ((found, true), (true, found))]  # fmt: skip
        rows.append([len(found), near[0], len(true), near[1]])
    return rows


def blobs(rng: np.random.Generator, classes: int) -> np.ndarray:
    small = rng.integers(0, classes, (5, 6)).astype(np.uint8)
    return cv2.resize(small, (40, 30), interpolation=cv2.INTER_NEAREST)


@pytest.mark.parametrize("tolerance", [0.0, 0.04, 0.06, 0.1])  # of a diagonal of exactly 50 pixels
@pytest.mark.parametrize("seed", range(3))
def test_counts_by_definition(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    truth = blobs(rng, 4)
    prediction = np.roll(truth, rng.integers(-2, 3, 2), (0, 1))
    prediction = np.where(rng.random(truth.shape) < 0.03, 3, prediction).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.02] = 4  # an id that is no class
    truth[10:14, 5:25] = 255
    prediction[20:24, 10:14] = 255
    ours = boundary_counts(truth, prediction, 4, tolerance)
    np.testing.assert_array_equal(ours, by_definition(truth, prediction, 4, tolerance * 50))
    assert 0 < ours[:, 1].sum() < ours[:, 0].sum()


def test_an_edge_moved_by_the_tolerance_is_found_and_by_more_is_not() -> None:
    truth = np.zeros((360, 480), np.uint8)  # diagonal 600: the tolerance is 4.5 pixels
    truth[:, 200:] = 1
    for shift, score in ((0, 1.0), (4, 1.0), (5, 0.0)):
        prediction = np.zeros_like(truth)
        prediction[:, 200 + shift :] = 1
        found = boundary_scores(boundary_counts(truth, prediction, 2))
        assert found.f_score == (score, score) and found.mean == score
    assert TOLERANCE * math.hypot(360, 480) == pytest.approx(4.5)


def test_scores_by_hand() -> None:
    counts = np.array([[10, 5, 20, 15], [0, 0, 7, 0], [3, 0, 5, 0], [0, 0, 0, 0]])
    result = boundary_scores(counts)
    assert result.precision[0] == 0.5 and result.recall[0] == 0.75
    assert result.f_score[:3] == (pytest.approx(0.6), 0.0, 0.0) and math.isnan(result.f_score[3])
    assert result.mean == pytest.approx(0.2)
    assert math.isnan(result.precision[1]) and result.recall[1] == 0


def test_frames_add_up() -> None:
    rng = np.random.default_rng(3)
    frames = [(blobs(rng, 3), blobs(rng, 3)) for _ in range(2)]
    total = sum(boundary_counts(t, p, 3, 0.06) for t, p in frames)
    expected = np.sum([by_definition(t, p, 3, 3.0) for t, p in frames], axis=0)
    np.testing.assert_array_equal(total, expected)


def test_no_boundary_at_all() -> None:
    plain = np.zeros((9, 9), np.uint8)
    assert math.isnan(boundary_scores(boundary_counts(plain, plain, 2)).mean)
    with pytest.raises(ValueError, match="shape"):
        boundary_counts(plain, plain[1:], 2)
