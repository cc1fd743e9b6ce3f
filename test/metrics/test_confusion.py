# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Confusion matrix and scores against torchmetrics and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrn_ros.metrics.confusion import confusion_matrix, scores


def test_by_hand() -> None:
    truth = np.array([0, 0, 1, 1, 255], np.uint8)
    prediction = np.array([0, 1, 1, 255, 0], np.uint8)
    matrix = confusion_matrix(truth, prediction, 2)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 1]])
    result = scores(matrix)
    assert result.iou == (1 / 2, 1 / 3)
    assert result.miou == pytest.approx(5 / 12)
    assert result.pixel_accuracy == 0.5
    assert result.precision == (1, 1 / 2) and result.recall == (1 / 2, 1 / 2)
    assert result.pixels == (2, 2)


def test_classes_that_never_occur_do_not_count() -> None:
    zeros = np.zeros(4, np.uint8)
    result = scores(confusion_matrix(zeros, zeros, 3))
    assert result.miou == 1 and math.isnan(result.iou[2])
    assert math.isnan(result.precision[2]) and math.isnan(result.recall[2])
    assert result.pixels == (4, 0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_torchmetrics(seed: int) -> None:
    torch = pytest.importorskip("torch")
    from torchmetrics.classification import (
        MulticlassJaccardIndex,
        MulticlassPrecision,
        MulticlassRecall,
    )

    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 12, (5, 40, 30)).astype(np.uint8)
    truth[truth == 11] = 255
    prediction = np.where(
        rng.random(truth.shape) < 0.6, truth % 11, rng.integers(0, 11, truth.shape)
    )
    prediction = prediction.astype(np.uint8)
    metrics = {
        "iou": MulticlassJaccardIndex(11, average="none", ignore_index=255),
        "precision": MulticlassPrecision(11, average="none", ignore_index=255),
        "recall": MulticlassRecall(11, average="none", ignore_index=255),
    }
    total = np.zeros((11, 12), np.int64)
    for t, p in zip(truth, prediction):
        for metric in metrics.values():
            metric.update(torch.from_numpy(p).long(), torch.from_numpy(t).long())
        total += confusion_matrix(t, p, 11)
    for name, metric in metrics.items():
        ours = getattr(scores(total), name)
        np.testing.assert_allclose(ours, metric.compute().numpy(), rtol=1e-6)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shape"):
        confusion_matrix(np.zeros(3, np.uint8), np.zeros(4, np.uint8), 2)
