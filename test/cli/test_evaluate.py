# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn evaluate against torchmetrics' Jaccard index."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from lrn_ros.cli import main

torch = pytest.importorskip("torch")


def _expected(model, dataset):
    metrics = pytest.importorskip("torchmetrics.classification")
    from lrn_ros import Segmenter

    segmenter = Segmenter.load(model, backend="torch")
    options = {"num_classes": 11, "ignore_index": 255}
    jaccard = metrics.MulticlassJaccardIndex(average="none", **options)
    accuracy = metrics.MulticlassAccuracy(average="micro", **options)
    for file in sorted((dataset / "val").iterdir()):
        rgb = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        truth = cv2.imread(str(dataset / "valannot" / file.name), cv2.IMREAD_UNCHANGED)
        truth = torch.from_numpy(np.where(truth == 11, 255, truth).astype(np.int64))
        mask = torch.from_numpy(segmenter(rgb).mask.astype(np.int64))
        jaccard.update(mask, truth)
        accuracy.update(mask, truth)
    return jaccard.compute().numpy(), float(accuracy.compute())


def test_evaluate(random_model, dataset, capsys):
    arguments = ["evaluate", str(random_model), str(dataset), "--backend", "torch"]
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    iou, accuracy = _expected(random_model, dataset)
    matrix = np.array(report["confusion"])
    occurs = matrix.sum(1) + matrix[:, :11].sum(0) > 0
    ours = np.array([np.nan if v is None else v for v in report["iou"].values()])
    np.testing.assert_array_equal(np.isnan(ours), ~occurs)
    np.testing.assert_allclose(ours[occurs], iou[occurs], atol=1e-6)
    assert report["miou"] == pytest.approx(iou[occurs].mean(), abs=1e-6)
    assert report["pixel_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert report["images"] == 3
    assert matrix.sum() == 3 * (64 * 96) - unlabelled(dataset)
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert f"{100 * report['miou']:.2f} %" in text and "bicyclist" in text


def unlabelled(dataset):
    files = (dataset / "valannot").iterdir()
    return sum(int((cv2.imread(str(f), cv2.IMREAD_UNCHANGED) >= 11).sum()) for f in files)


def test_a_bad_label_is_named(random_model, tmp_path, capsys):
    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
    picture = np.zeros((64, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "val" / "a.png"), picture)
    assert main(["evaluate", str(random_model), str(tmp_path)]) == 2
    assert "a.png is missing" in capsys.readouterr().err
    cv2.imwrite(str(tmp_path / "valannot" / "a.png"), np.full((64, 64), 77, np.uint8))
    assert main(["evaluate", str(random_model), str(tmp_path)]) == 2
    assert "id 77 is not in camvid11" in capsys.readouterr().err
