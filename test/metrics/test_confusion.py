# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Confusion matrix and scores against torchmetrics and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrn_ros.metrics.confusion import ObjectHits, confusion_matrix, mean, merged, scores
from lrn_ros.model.labels import LabelSet


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


LABELS = LabelSet.load("cityscapes19")


def drawn_objects(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label ids, instance ids and a prediction, as Cityscapes codes them, of random blocks."""
    rng = np.random.default_rng(seed)
    ids = np.kron(rng.integers(0, 34, (12, 16)), np.ones((4, 4), int))
    instances = ids.copy()
    with_objects = [label for label, size in zip(LABELS.ids, LABELS.object_sizes) if size]
    with_objects += [29, 30]  # of caravans and trailers, which are not evaluated
    number = np.kron(rng.integers(0, 3, (12, 16)), np.ones((4, 4), int))
    single = np.isin(ids, with_objects) & (number < 2)  # the third is a group
    instances[single] = 1000 * ids[single] + number[single] + 1
    prediction = np.where(
        rng.random(ids.shape) < 0.5, np.maximum(LABELS.id_table()[ids], 0) % 19,
        rng.integers(0, 19, ids.shape),
    )  # fmt: skip
    return ids.astype(np.uint8), instances.astype(np.int32), prediction.astype(np.uint8)


def test_merged_matrix_is_the_matrix_of_the_groups() -> None:
    ids, _, prediction = drawn_objects(0)
    prediction[::7] = 255
    truth = LABELS.classes_of(ids, "here")
    table = np.full(256, 255, np.uint8)
    table[:19] = LABELS.category_ids
    expected = confusion_matrix(table[truth], table[prediction], 7)
    found = merged(confusion_matrix(truth, prediction, 19), LABELS.category_ids)
    np.testing.assert_array_equal(found, expected)
    assert LABELS.category_names == (
        *("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
    )


def literal_iiou(groups: list[tuple[int, ...]], images: list[tuple]) -> list[float]:
    """Cityscapes' iIoU of groups of classes, one object after the other."""
    result = []
    for group in groups:
        right = wrong = false = 0.0
        for ids, instances, prediction in images:
            truth = LABELS.classes_of(ids, "here")
            for instance in np.unique(instances[instances > 1000]):
                mask = instances == instance
                of = int(LABELS.id_table()[instance // 1000])
                if of in group:
                    weight = LABELS.object_sizes[of] / mask.sum()
                    hits = np.isin(prediction[mask], group).sum()
                    right, wrong = right + weight * hits, wrong + weight * (mask.sum() - hits)
            others = (truth != 255) & ~np.isin(truth, group)
            false += (np.isin(prediction, group) & others).sum()
        # Only groups all of whose classes have single objects have a figure.
        whole = all(LABELS.object_sizes[c] for c in group)
        result.append(right / (right + wrong + false) if whole else float("nan"))
    return result


def test_instance_iou() -> None:
    images = [drawn_objects(seed) for seed in range(3)]
    hits, matrix = ObjectHits(LABELS), np.zeros((19, 20), np.int64)
    for ids, instances, prediction in images:
        hits.add(prediction, instances)
        matrix += confusion_matrix(LABELS.classes_of(ids, "here"), prediction, 19)
    np.testing.assert_allclose(hits.iou(matrix), literal_iiou([(c,) for c in range(19)], images))
    categories = [tuple(c for c in range(19) if LABELS.category_ids[c] == g) for g in range(7)]
    found = hits.iou_of_categories(merged(matrix, LABELS.category_ids))
    np.testing.assert_allclose(found, literal_iiou(categories, images))
    assert [math.isfinite(v) for v in found] == [False] * 5 + [True] * 2  # human and vehicle
    hits.add(images[0][2], None)
    assert not hits.complete and all(math.isnan(v) for v in hits.iou(matrix))


def test_mean_of_what_is_known() -> None:
    assert mean([1.0, math.nan, 3.0]) == 2
    assert math.isnan(mean([math.nan]))
