# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The findings of a check of a data set, and data sets that give no finding."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_farm import FARM, Array, farm, scene

from lrn_ros.data.check import (
    Report,
    check_folder,
    digest_of,
    judge,
    pair_facts,
    without_partner,
)
from lrn_ros.data.datasets import Pair
from lrn_ros.data.layouts import find_files, split_names, unlabelled_splits
from lrn_ros.model.labels import LabelSet
from lrn_ros.scene import StreetScene

TWO = LabelSet("road", ("background", "road"), ((0, 0, 0), (128, 64, 128)))


def check(root: Path, labels: LabelSet = FARM) -> Report:
    found = {split: find_files(root, split) for split in ("train", "val")}
    return check_folder(found, labels)[0]


def texts(report: Report) -> str:
    return "\n".join(f.text for f in report.findings)


def test_a_sound_set(tmp_path: Path) -> None:
    report = check(farm(tmp_path))
    assert not report.findings and not report.unreadable
    train, val = report.splits
    assert (train.name, train.images, val.images) == ("train", 6, 3)
    assert train.sizes == ((64, 96, 6),) and train.void == 0 and train.one_class == 0
    assert [c.name for c in train.classes] == ["sky", "field", "barn"]
    pixels = np.zeros(3, int)
    for files in find_files(tmp_path, "train"):
        pixels += np.bincount(cv2.imread(str(files.label), -1).ravel(), minlength=3)
    assert [c.pixels for c in train.classes] == pixels.tolist()
    assert sum(c.share for c in train.classes) == pytest.approx(1)
    assert {c.images for c in train.classes} == {6}


def test_masks_of_0_and_255(tmp_path: Path) -> None:
    root = farm(tmp_path, change=lambda x: (x == 2).astype(np.uint8) * 255)
    report = check(root, TWO)
    (refused,) = report.refused
    assert "train: only class 'background' occurs, no pixel is of class 'road'" in refused
    assert "--ids 255=NAME" in refused
    assert report.splits[0].void > 0.05


def test_one_class_of_several_stored_as_255(tmp_path: Path) -> None:
    report = check(farm(tmp_path, change=lambda x: np.where(x == 2, 255, x).astype(np.uint8)))
    (refused,) = report.refused
    assert "no pixel is of class 'barn'" in refused and "% of the pixels are 255" in refused


def test_classes_that_never_occur(tmp_path: Path) -> None:
    """A label set may have classes that never occur: this is reported, not refused."""
    more = LabelSet("f", (*FARM.names, "cow", "dog"), (*FARM.colors, (1, 1, 1), (2, 2, 2)))
    report = check(farm(tmp_path), more)
    assert not report.refused and "no pixel is of the classes 'cow', 'dog'" in texts(report)


def test_a_class_that_only_training_has(tmp_path: Path) -> None:
    root = farm(tmp_path)
    for label in (root / "labels" / "val").iterdir():
        image = cv2.imread(str(label), -1)
        cv2.imwrite(str(label), np.minimum(image, 1))
    report = check(root)
    assert not report.refused and "val: no pixel is of class 'barn'" in texts(report)


def test_unlabelled_pixels(tmp_path: Path) -> None:
    most = check(farm(tmp_path / "a", change=lambda x: np.where(x == 2, 2, 255).astype(np.uint8)))
    assert "% of the pixels are unlabelled" in texts(most)
    sparse = LabelSet("s", FARM.names, FARM.colors, ignore=254)

    def corner(label: Array) -> Array:
        out = np.full_like(label, 254)
        out[:2, :3] = [[0, 1, 2], [2, 1, 0]]
        return out

    assert any(
        "100 % of the pixels" in t
        for t in check(farm(tmp_path / "b", change=corner), sparse).refused
    )


def test_images_in_both_splits(tmp_path: Path) -> None:
    root = farm(tmp_path)
    for kind, suffix in (("images", "jpg"), ("labels", "png")):
        shutil.copy(
            root / kind / "train" / f"a0_000.{suffix}", root / kind / "val" / f"z_1.{suffix}"
        )
    (refused,) = check(root).refused
    assert "val: 1 of 4 images are in train too, such as z_1 (train: a0_000)" in refused


def test_nearly_the_same_images(tmp_path: Path) -> None:
    """Recompressed, brightened, darkened and scaled copies; frames of a standing car."""
    root, rng = farm(tmp_path, val=0), np.random.default_rng(9)
    for i, files in enumerate(find_files(root, "train")[:3]):
        image = cv2.imread(str(files.image))
        for j, changed in enumerate(
            (
                cv2.add(image, (2, 2, 2, 0)),
                cv2.resize(image, None, fx=1.25, fy=1.25),
                cv2.convertScaleAbs(image, alpha=0.7),
            )
        ):
            stem = f"z{i}_{j}"
            quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
            cv2.imwrite(str(root / "images" / "val" / f"{stem}.jpg"), changed, quality)
            label = np.full(changed.shape[:2], rng.integers(3), np.uint8)
            cv2.imwrite(str(root / "labels" / "val" / f"{stem}.png"), label)
    (refused,) = check(root).refused
    assert "val: 9 of 9 images nearly equal one of train, such as z0_0 (train: a0_000)" in refused


def test_other_images_are_not_nearly_the_same() -> None:
    """Pictures of distant streets, of noise, of one colour, and of a moving car a second apart."""
    rng = np.random.default_rng(0)

    def facts(images: list[Array]) -> list:
        label = np.zeros(images[0].shape[:2], np.uint8)
        return [pair_facts(Pair(str(i), rgb, label)) for i, rgb in enumerate(images)]

    streets = [StreetScene(seed=s, height=90, width=160).frame(0)[0] for s in range(4)]
    moving = [StreetScene(seed=1, height=90, width=160, fps=1.0).frame(i)[0] for i in range(4)]
    noise = [rng.integers(0, 256, (300, 400, 3), np.uint8) for _ in range(4)]
    flat = [np.full((64, 96, 3), v, np.uint8) for v in (0, 1, 2, 3)]
    drawn = [scene(rng)[0] for _ in range(20)]
    for images in (streets, moving, noise, flat, drawn):
        half = len(images) // 2
        report = judge(FARM, {"train": facts(images[:half]), "val": facts(images[half:])})
        assert "nearly" not in texts(report)


def test_unreadable_files_are_all_named(tmp_path: Path) -> None:
    root = farm(tmp_path)
    (root / "images" / "train" / "a0_002.jpg").write_bytes(b"nonsense")
    cv2.imwrite(str(root / "labels" / "val" / "a1_001.png"), np.full((64, 96), 7, np.uint8))
    jpeg = root / "images" / "train" / "a1_003.jpg"
    jpeg.write_bytes(jpeg.read_bytes()[:-300])
    report = check(root)
    assert len(report.unreadable) == 3
    for name in ("a0_002.jpg", "a1_001.png: id 7", "a1_003.jpg"):
        assert any(name in line for line in report.unreadable)
    assert report.splits[0].images == 4


def test_digests_follow_names_images_and_labels(tmp_path: Path) -> None:
    def digest(root: Path) -> str:
        files = {"train": find_files(root, "train")}
        return digest_of(check_folder(files, FARM)[1]["train"])

    root = farm(tmp_path / "a")
    first = digest(root)
    assert digest(farm(tmp_path / "b")) == first
    assert digest(farm(tmp_path / "c", seed=1)) != first
    label = root / "labels" / "train" / "a0_000.png"
    cv2.imwrite(str(label), cv2.imread(str(label), -1)[:, ::-1])
    assert digest(root) != first


def test_what_has_no_partner_is_said(tmp_path: Path) -> None:
    root = farm(tmp_path)
    (root / "images" / "test").mkdir()
    assert split_names(root) == ["train", "val"] and unlabelled_splits(root) == ["test"]
    found = {split: find_files(root, split) for split in ("train", "val")}
    assert [f.text for f in without_partner(found, ["test"])] == [
        "test: left out, it has no labels"
    ]
    lost = found["train"].pop().label
    (note,) = without_partner(found, [])
    assert not note.refused
    assert note.text == f"{lost.parent}: labels without an image: 1, such as {lost.name}"


def test_labels_of_a_test_split_may_be_kept_back(tmp_path: Path) -> None:
    shape = (8, 8)
    pairs = [
        pair_facts(
            Pair(str(n), np.full((*shape, 3), 60 * n, np.uint8), np.full(shape, 255, np.uint8))
        )
        for n in range(2)
    ]
    cityscapes = LabelSet.load("cityscapes19")
    assert not judge(cityscapes, {"test": pairs}).refused
    report = judge(cityscapes, {"val": pairs})
    assert len(report.refused) == 1 and "such as cityscapes19_trainids" in report.refused[0]
