# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Losses against torch's own, and against loops that spell the equations out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from lrn_ros.training.losses import (  # noqa: E402
    class_weights,
    cross_entropy,
    lovasz,
    pixel_contrast,
)
from lrn_ros.training.recipe import Recipe  # noqa: E402


@pytest.fixture
def batch() -> tuple:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 6, 5, generator=generator)
    labels = torch.randint(0, 4, (2, 6, 5), generator=generator)
    labels[0, :2] = 255
    return logits, labels, torch.tensor([1.0, 2.0, 0.5, 3.0])


def test_log_weights_are_the_published_ones_of_erfnet(recipe: Recipe) -> None:
    """ERFNet's constants for Cityscapes at 1.10 and 1.20 come from about the same pixel shares."""
    at_110 = torch.tensor([2.8149, 6.9850, 3.7890, 9.9428])
    shares = torch.exp(1 / at_110.double()) - 1.10
    recipe = replace(recipe, class_weights="log", weight_power=1.0, weight_offset=1.20)
    expected = torch.tensor([2.3653, 4.4237, 2.9691, 5.3442])
    torch.testing.assert_close(class_weights(shares, recipe), expected, rtol=5e-3, atol=0)


def test_median_weights(recipe: Recipe) -> None:
    recipe = replace(recipe, class_weights="median", weight_power=1.0)
    found = class_weights(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), recipe)
    torch.testing.assert_close(found, torch.tensor([0.6, 1.0, 1.5]))


def test_power_and_none(recipe: Recipe) -> None:
    shares = torch.tensor([0.9, 0.1], dtype=torch.float64)
    whole = class_weights(shares, replace(recipe, class_weights="log", weight_power=1.0))
    root = class_weights(shares, replace(recipe, class_weights="log", weight_power=0.5))
    torch.testing.assert_close(root**2, whole)
    assert class_weights(shares, replace(recipe, class_weights="none")).tolist() == [1, 1]


def test_cross_entropy_is_torchs(batch: tuple) -> None:
    logits, labels, weights = batch
    expected = F.cross_entropy(logits, labels, weights, ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, labels, weights, None), expected)


def test_all_unlabelled_is_zero_not_nan(batch: tuple) -> None:
    logits, labels, weights = batch
    nothing = torch.full_like(labels, 255)
    for ohem in (None, {"threshold": 0.7, "keep": 0.1}):
        assert float(cross_entropy(logits, nothing, weights, ohem)) == 0


def test_lovasz_is_the_integral_of_the_jaccard_loss_over_thresholds(batch: tuple) -> None:
    """The Lovász extension of f at errors m is the integral of f({m >= t}) over t."""
    logits, labels, _ = batch
    keep = labels != 255
    truth = labels[keep].numpy()
    probabilities = logits.double().softmax(1).permute(0, 2, 3, 1)[keep].numpy()
    expected = []
    for c in set(truth.tolist()):
        errors = abs((truth == c) - probabilities[:, c])
        total, below = 0.0, 0.0
        for t in sorted(errors):
            wrong = errors >= t  # the set of pixels that count as wrong
            missed, false = (wrong & (truth == c)).sum(), (wrong & (truth != c)).sum()
            iou = ((truth == c).sum() - missed) / ((truth == c).sum() + false)
            total, below = total + (t - below) * (1 - iou), t
        expected.append(total)
    assert float(lovasz(logits, labels)) == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_lovasz_of_a_sure_answer_is_one_minus_iou() -> None:
    labels = torch.tensor([[[0, 0, 0, 1, 1, 255]]])
    guess = torch.tensor([[[0, 0, 1, 1, 0, 1]]])
    logits = 100.0 * F.one_hot(guess, 2).permute(0, 3, 1, 2)
    assert float(lovasz(logits, labels)) == pytest.approx(1 - (2 / 4 + 1 / 3) / 2)
    nothing = torch.full_like(labels, 255)
    assert float(lovasz(logits, nothing)) == 0


@pytest.mark.parametrize(("threshold", "keep"), [(0.2, 0.0), (0.01, 0.5), (1.0, 0.0)])
def test_ohem_keeps_the_hardest(batch: tuple, threshold: float, keep: float) -> None:
    logits, labels, weights = batch
    probability = logits.softmax(1)
    pixels = []
    for b, y, x in (labels != 255).nonzero().tolist():
        c = int(labels[b, y, x])
        pixels.append((-math.log(float(probability[b, c, y, x])), float(weights[c])))
    pixels.sort(reverse=True)
    floor = math.ceil(keep * len(pixels))
    kept = [p for i, p in enumerate(pixels) if i < floor or p[0] > -math.log(threshold)]
    assert 0 < len(kept) <= len(pixels)
    expected = sum(loss * w for loss, w in kept) / sum(w for _, w in kept)
    found = cross_entropy(logits, labels, weights, {"threshold": threshold, "keep": keep})
    assert float(found) == pytest.approx(expected, rel=1e-5)


class TestPixelContrast:
    def test_spelled_out(self) -> None:
        generator = torch.Generator().manual_seed(1)
        embedding = torch.randn(1, 3, 2, 4, generator=generator)
        labels = torch.tensor([[[0, 0, 1, 1], [2, 2, 0, 255]]])
        unit = F.normalize(embedding[0].flatten(1).T, dim=1)
        classes = labels.flatten().tolist()
        means = []
        for i, ci in enumerate(classes):
            positives = [p for p, c in enumerate(classes) if c == ci and p != i]
            negatives = [n for n, c in enumerate(classes) if c not in (ci, 255)]
            if ci == 255 or not positives:
                continue
            far = sum(math.exp(float(unit[i] @ unit[n]) / 0.1) for n in negatives)
            terms = []
            for p in positives:
                near = math.exp(float(unit[i] @ unit[p]) / 0.1)
                terms.append(-math.log(near / (near + far)))
            means.append(sum(terms) / len(terms))
        logits = torch.randn(1, 3, 2, 4, generator=generator)
        found = pixel_contrast(embedding, labels, logits, 0.1, samples=100)
        assert float(found) == pytest.approx(sum(means) / len(means), rel=1e-5)

    def test_falls_when_classes_part(self) -> None:
        labels = torch.tensor([[[0, 1], [0, 1]]]).repeat_interleave(4, 1)
        logits = torch.zeros(1, 2, 8, 2)
        torch.manual_seed(0)
        mixed = torch.randn(1, 8, 8, 2)
        parted = torch.zeros(1, 8, 8, 2)
        parted[:, 0, :, 0] = parted[:, 1, :, 1] = 1
        losses = [float(pixel_contrast(e, labels, logits, 0.1, 32)) for e in (mixed, parted)]
        assert losses[1] < 1e-3 < losses[0]

    def test_half_of_the_samples_are_misclassified_ones(self) -> None:
        """Only pixels that may be sampled get a gradient."""
        embedding = torch.randn(1, 4, 10, 20, requires_grad=True)
        labels = torch.zeros(1, 10, 20, dtype=torch.long)
        labels[:, :, 10:] = 1
        logits = torch.zeros(1, 2, 10, 20)
        logits[:, 0, :, :10] = 1
        logits[:, 1, :, 10:] = 1
        logits[0, :, 0, :4] = torch.tensor([0.0, 5.0])[:, None]  # four wrong pixels of class 0
        pixel_contrast(embedding, labels, logits, 0.1, samples=16).backward()
        touched = embedding.grad.abs().sum(1)[0] > 0
        assert touched[:, :10].sum() == 8 and touched[:, 10:].sum() == 8
        assert touched[0, :4].all()

    def test_one_class_gives_zero_and_finite_gradients(self) -> None:
        embedding = torch.randn(1, 4, 4, 4, requires_grad=True)
        labels = torch.zeros(1, 4, 4, dtype=torch.long)
        loss = pixel_contrast(embedding, labels, torch.zeros(1, 2, 4, 4), 0.1, 16)
        loss.backward()
        assert float(loss) == 0 and torch.isfinite(embedding.grad).all()
