# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labels that sit beside their pixels, in recordings longer than those of the replay tests."""

from __future__ import annotations

import re
from collections.abc import Callable

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags")

from scene_bags import IMAGES, LABELS

from lrn_ros.data.bags.reader import BagReader
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.findings import Alignment, of_unlabelled
from lrn_ros.replay.ground_truth import FolderTruth
from lrn_ros.replay.scoring import TruthOptions, open_truth
from lrn_ros.replay.tally import Tally

MASK = np.kron(np.arange(40).reshape(5, 8) % 3, np.ones((12, 16))).astype(np.uint8)  # 60 x 128


def fed(shifts: list[int]) -> Alignment:
    """After labels of one mask, moved to the right by so many pixels each."""
    alignment = Alignment(LabelSet("three", tuple("abc"), ((0, 0, 0), (1, 1, 1), (2, 2, 2))))
    for shift in shifts:
        alignment.add(MASK, np.roll(MASK, shift, 1))
    return alignment


def test_of_many_labels_the_first_twenty_and_every_tenth_are_tried() -> None:
    found = fed([2] * 60).in_place()
    assert found is not None and found.by == (2, 0)
    assert found.labels == 20 + 4  # 20, 30, 40, 50
    assert found.share == 1 > found.here


def test_later_labels_count_too() -> None:
    """Three quarters of those tried are moved, though the first ones are not."""
    assert fed([0] * 20 + [2] * 100).in_place() is None
    found = fed([0] * 20 + [2] * 600).in_place()
    assert found is not None and found.by == (2, 0) and found.labels == 20 + 60


NAMES = ("sky", "road", "car", "person")
FOUR = LabelSet("four", NAMES, tuple((i, i, i) for i in range(4)))


def street(seed: int) -> np.ndarray:
    """A mask with much of three classes and a little of the fourth; the third one moves."""
    mask = np.zeros((60, 128), np.uint8)
    mask[24:] = 1
    mask[30:50, 4 * seed : 4 * seed + 40] = 2
    mask[34:44, 100:108] = 3
    return mask


def doubts(label_of: Callable[[np.ndarray], np.ndarray], labels: LabelSet = FOUR) -> list[str]:
    """What is found where the model is nearly right, and labels are made of what is there."""
    alignment, rng = Alignment(labels), np.random.default_rng(0)
    for i in range(8):
        mask = street(i)
        noisy = np.where(rng.random(mask.shape) < 0.1, 0, mask).astype(np.uint8)
        alignment.add(noisy, label_of(mask).astype(np.uint8))
    assert alignment.in_time() is None or not alignment.in_ids()
    return alignment.in_ids()


def test_right_labels_and_few_classes_are_not_doubted() -> None:
    assert doubts(lambda mask: mask) == []
    assert doubts(lambda mask: np.where(mask == 3, 255, mask)) == []
    assert doubts(lambda mask: np.where(mask == 3, 2, mask)) == []  # cars and people are one


def test_ids_that_are_one_too_high() -> None:
    (said,) = doubts(lambda mask: np.where(mask == 3, 255, mask + 1))
    assert said.startswith(
        "the classes of the labels do not fit, but their places do: ids are 1 too high"
    )
    assert "1 (road) is 0 (sky), " in said and "2 (car) is 1 (road)" in said
    now, then = map(float, re.findall(r"([\d.]+) %", said))
    assert now < 15 and then > 85


def test_two_classes_that_were_exchanged() -> None:
    (said,) = doubts(lambda mask: np.array([1, 0, 2, 3])[mask])
    assert "the ids or colours of classes were exchanged" in said
    assert "1 (road) is 0 (sky)" in said and "0 (sky) is 1 (road)" in said and "car" not in said


def test_ids_of_the_set_are_told_and_not_positions() -> None:
    ids = LabelSet("ids", NAMES, FOUR.colors, ids=(7, 8, 26, 24))
    (said,) = doubts(lambda mask: np.array([1, 0, 2, 3])[mask], ids)
    assert "8 (road) is 7 (sky)" in said


def test_masks_of_0_and_255() -> None:
    (said,) = doubts(lambda mask: np.where(mask == 2, 0, 255))
    assert said == (
        "8 labels hold one class only, sky, as masks of 0 and 255 do; a label must hold the id of a"
        " class for every pixel"
    )


def test_train_ids_that_are_read_as_label_ids(tmp_path) -> None:
    city = LabelSet.load("cityscapes19")
    for i, ids in enumerate(([0, 1, 255], [10, 13, 18])):
        cv2.imwrite(str(tmp_path / f"{i:06d}.png"), np.array([ids] * 4, np.uint8).repeat(4, 1))
    truth = FolderTruth(tmp_path, city, 0)
    assert truth.doubt == ""
    for i in range(2):
        truth.find(i, i, i)
    assert truth.doubt.startswith("all ids of the labels are from 0 to 18, as train ids are, and")
    assert "those of cityscapes19 from 7 to 33" in truth.doubt


@pytest.mark.parametrize("names_classes", [False, True])
def test_train_ids_in_a_topic(tmp_path, write_bag, timed, names_classes) -> None:
    city = LabelSet.load("cityscapes19")
    labels = timed([np.full((8, 8), i, np.uint8) for i in (0, 10, 18)])
    topics = {IMAGES: timed([np.zeros((8, 8, 3), np.uint8)] * 3), LABELS: labels}
    bag = BagReader(write_bag(topics, city if names_classes else None))
    truth, _ = open_truth(bag, IMAGES, TruthOptions(LABELS, "cityscapes19"), city)
    truth.finish()
    assert truth.doubt.startswith("" if names_classes else "all ids of the labels are from 0 to")
    assert bool(truth.doubt) != names_classes


def test_labels_that_are_mostly_empty() -> None:
    tally = Tally.empty(4)
    label = np.full((10, 10), 255, np.uint8)
    label[:4] = 1
    tally.compare(label, np.ones_like(label))
    assert of_unlabelled(tally.accuracy(NAMES)) == [
        "60 % of the pixels of the labels are unlabelled"
    ]
    label[:6] = 1
    tally.compare(label, np.ones_like(label))
    assert of_unlabelled(tally.accuracy(NAMES)) == [] == of_unlabelled(None)
