# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn evaluate against torchmetrics' Jaccard index."""

from __future__ import annotations

import json
import sys

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
    classes = report["classes"].values()
    ours = np.array([np.nan if c["iou"] is None else c["iou"] for c in classes])
    np.testing.assert_array_equal(np.isnan(ours), ~occurs)
    np.testing.assert_allclose(ours[occurs], iou[occurs], atol=1e-6)
    assert report["miou"] == pytest.approx(iou[occurs].mean(), abs=1e-6)
    assert report["pixel_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert report["images"] == 3
    assert [c["pixels"] for c in classes] == matrix.sum(1).tolist()
    assert sum(c["share"] for c in classes) == pytest.approx(1)
    assert report["sequences"] == {"val": {"images": 3, "miou": report["miou"]}}
    assert matrix.sum() == 3 * (64 * 96) - unlabelled(dataset)
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert f"{100 * report['miou']:.2f} %" in text and "sequence" not in text
    for name, figures in report["classes"].items():
        shown = [figures[c] for c in ("iou", "precision", "recall", "share")]
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        assert line.split()[1:] == ["-" if v is None else f"{100 * v:.2f}" for v in shown]


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


def evaluate(capsys, *arguments):
    """The report of a run that must succeed."""
    words = [str(a) for a in arguments]
    assert main(["evaluate", *words, "--backend", "torch", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def copy(dataset, folder, change=lambda image: image, name=str):
    """The data set's validation split with its images changed or its files renamed."""
    for part in ("val", "valannot"):
        (folder / part).mkdir(parents=True)
        for file in (dataset / part).iterdir():
            image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            cv2.imwrite(str(folder / part / name(file.name)), change(image))
    return folder


def test_flip_does_not_tell_left_from_right(random_model, dataset, tmp_path, capsys):
    mirrored = copy(dataset, tmp_path / "mirrored", lambda image: image[:, ::-1])
    plain = [evaluate(capsys, random_model, d)["confusion"] for d in (dataset, mirrored)]
    flipped = [evaluate(capsys, random_model, d, "--flip") for d in (dataset, mirrored)]
    assert plain[0] != plain[1]
    assert flipped[0]["confusion"] == flipped[1]["confusion"] != plain[0]
    assert flipped[0]["flip"] is True


def test_scales_are_told_and_change_the_result(random_model, dataset, capsys):
    plain = evaluate(capsys, random_model, dataset, "--scales", "1")
    several = evaluate(capsys, random_model, dataset, "--scales", "0.75", "1", "1.25")
    assert (plain["scales"], several["scales"]) == ([1.0], [0.75, 1.0, 1.25])
    assert np.sum(plain["confusion"]) == np.sum(several["confusion"])
    assert plain["confusion"] != several["confusion"]
    arguments = ["evaluate", str(random_model), str(dataset), "--backend", "torch", "--flip"]
    assert main([*arguments, "--scales", "0.75", "1.25"]) == 0
    assert "3 images, scales 0.75 1.25, with mirror images\n" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["0", "-1", "4.1", "nan", "big"])
def test_scales_out_of_range_are_refused(random_model, dataset, capsys, value):
    assert main(["evaluate", str(random_model), str(dataset), "--scales", "1", value]) == 2
    assert f"'{value}' is not a number from 0.1 to 4" in capsys.readouterr().err


def test_sequences_are_scored_apart(random_model, dataset, tmp_path, capsys):
    names = {"val_0.png": "x_0.png", "val_1.png": "y_1.png", "val_2.png": "x_2.png"}
    both = copy(dataset, tmp_path / "both", name=names.get)
    report = evaluate(capsys, random_model, both)
    assert list(report["sequences"]) == ["x", "y"]
    for sequence, images in (("x", 2), ("y", 1)):
        alone = copy(both, tmp_path / sequence)
        for file in [f for f in alone.rglob("*.png") if not f.name.startswith(sequence)]:
            file.unlink()
        expected = {"images": images, "miou": evaluate(capsys, random_model, alone)["miou"]}
        assert report["sequences"][sequence] == expected
    assert report["sequences"]["x"]["miou"] != report["sequences"]["y"]["miou"]
    assert main(["evaluate", str(random_model), str(both), "--backend", "torch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["sequence", "x", "y"]
    assert lines[-2].split()[1:] == [f"{100 * report['sequences']['x']['miou']:.2f}", "2"]
    unnamed = copy(dataset, tmp_path / "unnamed", name=lambda name: name.replace("_", "-"))
    assert evaluate(capsys, random_model, unnamed)["sequences"] == {}


def test_output_holds_report_and_picture(random_model, dataset, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "out"
    for limit in (1, 2):  # the second run replaces what the first one wrote
        report = evaluate(capsys, random_model, dataset, "--output", folder, "--limit", limit)
        assert json.loads((folder / "report.json").read_text()) == report
        assert report["images"] == limit
        picture = cv2.imread(str(folder / "confusion.png"))
        assert picture is not None and min(picture.shape[:2]) >= 600
        (folder / "confusion.png").write_bytes(b"old")
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    assert main(["evaluate", str(random_model), str(dataset), "--output", str(other)]) == 2
    assert "nothing was overwritten" in capsys.readouterr().err
    assert [p.name for p in other.iterdir()] == ["mine.txt"]


def test_output_without_matplotlib_says_so_first(
    random_model, dataset, tmp_path, capsys, monkeypatch
):
    from lrn_ros import Segmenter

    def load(*args, **kwargs):
        raise AssertionError("the evaluation started")

    monkeypatch.setattr(Segmenter, "load", load)
    monkeypatch.delitem(sys.modules, "lrn_ros.report.drawings", raising=False)
    for name in [m for m in sys.modules if m.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    folder = tmp_path / "out"
    assert main(["evaluate", str(random_model), str(dataset), "--output", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "pip install 'lrn_ros[evaluate]'" in error and error.count("\n") == 1
    assert not folder.exists()


def test_corrupted_images(random_model, dataset, capsys):
    """Two kinds; the figures of the images as they are do not change."""
    from lrn_ros.cli.evaluate import _KINDS
    from lrn_ros.data.corruptions import CORRUPTIONS, corrupt
    from lrn_ros.data.datasets import read_pair
    from lrn_ros.data.layouts import find_files
    from lrn_ros.metrics.confusion import confusion_matrix, scores

    assert tuple(CORRUPTIONS) == _KINDS
    arguments = ["evaluate", str(random_model), str(dataset), "--backend", "torch"]
    assert main([*arguments, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain.pop("corruptions") == {}
    assert main([*arguments, "--corrupt", "fog", "noise", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = report.pop("corruptions")
    assert report == plain and set(found) == {"fog", "noise"}
    from lrn_ros import Segmenter

    segmenter = Segmenter.load(random_model, backend="torch")
    matrix = np.zeros((11, 12), np.int64)
    for i, file in enumerate(find_files(dataset, "val")):
        pair = read_pair(file, segmenter.labels)
        mask = segmenter(corrupt(pair.rgb, "noise", 4, i)).mask
        matrix += confusion_matrix(pair.label, mask, 11)
    assert found["noise"][3] == pytest.approx(scores(matrix).miou)
    assert main([*arguments, "--corrupt", "jpeg"]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("jpeg")]
    assert len(line.split()) == 7
    assert main([*arguments, "--corrupt", "snow"]) == 2
    assert "fog" in capsys.readouterr().err


@pytest.fixture
def cityscapes(tmp_path):
    """A model with random weights of Cityscapes' classes, and two images in its layout."""
    from lrn_ros.model.artifact import ModelInfo, save_model
    from lrn_ros.model.labels import LabelSet
    from lrn_ros.networks import build

    labels = LabelSet.load("cityscapes19")
    torch.manual_seed(0)
    network = build("lednet", num_classes=19)
    info = ModelInfo("random", "lednet", labels, (0.5,) * 3, (0.2,) * 3, (64, 96), "none")
    model = tmp_path / "random.safetensors"
    save_model(model, info, {k: v.numpy() for k, v in network.state_dict().items()})
    rng = np.random.default_rng(0)
    for i in range(2):
        ids = np.kron(rng.integers(0, 34, (8, 12)), np.ones((8, 8), int))
        instances = np.where(np.isin(ids, labels.ids[11:]), 1000 * ids + 1, ids)
        image = tmp_path / "data/leftImg8bit/val/ulm" / f"ulm_00000{i}_000019_leftImg8bit.png"
        label = tmp_path / "data/gtFine/val/ulm" / f"ulm_00000{i}_000019_gtFine_labelIds.png"
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), rng.integers(0, 256, (64, 96, 3), np.uint8))
        cv2.imwrite(str(label), ids.astype(np.uint8))
        cv2.imwrite(str(label).replace("labelIds", "instanceIds"), instances.astype(np.uint16))
    return model, tmp_path / "data", labels


def test_the_measures_of_cityscapes(cityscapes, tmp_path, capsys):
    model, data, labels = cityscapes
    out = tmp_path / "predictions"
    arguments = ["evaluate", str(model), str(data), "--backend", "torch"]
    assert main([*arguments, "--predictions", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    matrix = np.array(report["confusion"])
    assert list(report["categories"]) == [
        *("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
    ]
    flat = matrix[:2, :2].sum() / (matrix[:2].sum() + matrix[2:, :2].sum())
    assert report["categories"]["flat"]["iou"] == pytest.approx(flat)
    known = [c["iou"] for c in report["categories"].values() if c["iou"] is not None]
    assert report["category_miou"] == pytest.approx(np.mean(known))
    assert report["categories"]["flat"]["iiou"] is None
    assert report["categories"]["vehicle"]["iiou"] is not None
    with_objects = [c["iiou"] for c in report["classes"].values() if c["iiou"] is not None]
    assert report["iiou"] == pytest.approx(np.mean(with_objects))
    # The predictions are the label ids of what was counted.
    files = sorted(out.glob("*.png"))
    assert [f.name for f in files] == ["ulm_000000_000019.png", "ulm_000001_000019.png"]
    again = np.zeros_like(matrix)
    from lrn_ros.metrics.confusion import confusion_matrix

    for file in files:
        truth = data / f"gtFine/val/ulm/{file.stem}_gtFine_labelIds.png"
        both = [labels.classes_of(cv2.imread(str(p), -1), str(p)) for p in (truth, file)]
        again += confusion_matrix(*both, 19)
    assert (again == matrix).all()
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for name, key in (("category mIoU", "category_miou"), ("iIoU", "iiou")):
        assert f"{name} " in text and f"{100 * report[key]:.2f} %" in text
    assert main(["evaluate", str(model), str(data), "--predictions", str(data)]) == 2
    assert f"--predictions {data}: a folder with files of others" in capsys.readouterr().err


def test_without_instances_there_is_no_iiou(cityscapes, capsys):
    model, data, _ = cityscapes
    arguments = ["evaluate", str(model), str(data), "--backend", "torch"]
    last = sorted(data.rglob("*_instanceIds.png"))[1]
    cv2.imwrite(str(last), np.zeros((2, 2), np.uint16))
    assert main(arguments) == 2
    assert "instanceIds.png: size (2, 2) but its label is (64, 96)" in capsys.readouterr().err
    last.unlink()
    assert main([*arguments, "--json"]) == 0
    found = capsys.readouterr()
    report = json.loads(found.out)
    assert report["iiou"] is None and report["category_miou"] is not None
    assert f"no iIoU: 1 of {report['images']} images have no _instanceIds.png" in found.err
