# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration against torchmetrics, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrn_ros.metrics.calibration import TemperatureFit, calibration_counts, reliability


def test_by_hand() -> None:
    truth = np.array([[0, 1, 1], [255, 1, 0]], np.uint8)
    prediction = np.array([[0, 1, 0], [1, 255, 0]], np.uint8)
    confidence = np.array([[255, 204, 204], [99, 99, 255]], np.uint8)
    counts = calibration_counts(truth, prediction, confidence, 2)
    assert counts.sum() == 4  # neither the unlabelled pixel nor the one without an answer
    assert counts[255].tolist() == [0, 2] and counts[204].tolist() == [1, 1]
    result = reliability(counts)
    assert result.pixels[15] == 2 and result.confidence[15] == 1 and result.accuracy[15] == 1
    assert result.pixels[12] == 2 and result.confidence[12] == pytest.approx(0.8)
    assert result.accuracy[12] == 0.5 and math.isnan(result.accuracy[0])
    assert result.ece == pytest.approx((2 * 0 + 2 * 0.3) / 4)


def sample(seed: int, size: int = 5000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overconfident answers; the truth of one pixel in ten is unlabelled."""
    rng = np.random.default_rng(seed)
    confidence = (255 * rng.beta(4, 1, size)).astype(np.uint8).clip(30, 254)
    prediction = rng.integers(0, 5, size).astype(np.uint8)
    right = rng.random(size) < (confidence / 255) ** 2
    truth = np.where(right, prediction, (prediction + 1) % 5).astype(np.uint8)
    truth[rng.random(size) < 0.1] = 255
    return truth, prediction, confidence


# 255 is left out: torchmetrics gives a confidence of exactly 1 a bin of its own.
@pytest.mark.parametrize("groups", [8, 16])
def test_agrees_with_torchmetrics(groups: int) -> None:
    torch = pytest.importorskip("torch")
    calibration = pytest.importorskip("torchmetrics.classification").MulticlassCalibrationError
    metric = calibration(5, n_bins=groups, norm="l1", ignore_index=255)
    counts = np.zeros((256, 2), np.int64)
    for seed in range(3):  # merged over three parts
        truth, prediction, confidence = sample(seed)
        top = torch.from_numpy(confidence / 255)
        rest = ((1 - top) / 4)[:, None].repeat(1, 5)
        probability = rest.scatter(1, torch.from_numpy(prediction).long()[:, None], top[:, None])
        assert (probability.argmax(1).numpy() == prediction)[confidence > 52].all()
        keep = confidence > 52  # where the class given is the most probable one
        metric.update(probability[keep].float(), torch.from_numpy(truth[keep]).long())
        counts += calibration_counts(truth[keep], prediction[keep], confidence[keep], 5)
    result = reliability(counts, groups)
    assert result.ece == pytest.approx(float(metric.compute()), rel=1e-4)  # it adds in float32
    assert result.ece > 0.05


def test_groups_are_equally_wide_bins() -> None:
    for groups in (2, 8, 16, 64):
        for v in (0, 1, 15, 16, 127, 128, 200, 254):
            counts = np.zeros((256, 2), np.int64)
            counts[v, 1] = 1
            edges = np.linspace(0, 1, groups + 1)
            assert np.searchsorted(edges, v / 255, "right") - 1 == np.argmax(
                reliability(counts, groups).pixels
            )


def test_nothing_counted_and_bad_input() -> None:
    nothing = np.zeros((256, 2), np.int64)
    assert math.isnan(reliability(nothing).ece)
    with pytest.raises(ValueError, match="15 groups"):
        reliability(nothing, 15)
    with pytest.raises(ValueError, match="shape"):
        calibration_counts(*np.zeros((2, 4), np.uint8), np.zeros(3, np.uint8), 2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 3.5])
def test_the_temperature_of_known_scores_is_found(temperature: float) -> None:
    """The truth is drawn from the softmax at the temperature, so that it fits best."""
    random = np.random.default_rng(3)
    scores = random.normal(scale=3.0, size=(6, 40_000)).astype(np.float32)
    exact = np.exp((scores - scores.max(0)) / temperature)
    chances = np.cumsum(exact / exact.sum(0), axis=0)
    truth = (random.random(40_000) > chances).sum(0).clip(max=5).astype(np.uint8)
    truth[::7] = 255
    fit = TemperatureFit()
    for part in np.array_split(np.arange(40_000), 3):
        fit.add(scores[:, part], truth[part])
    assert fit.best() == pytest.approx(temperature, rel=0.05)


def test_without_labels_the_temperature_is_1() -> None:
    fit = TemperatureFit()
    fit.add(np.zeros((3, 4), np.float32), np.full(4, 255, np.uint8))
    assert fit.best() == 1.0
