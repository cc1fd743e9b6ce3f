# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labels that sit beside their pixels, in recordings longer than those of the replay tests."""

from __future__ import annotations

import numpy as np

from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.findings import Alignment, of_stream

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


def test_images_that_come_late_are_not_missing() -> None:
    rng, step = np.random.default_rng(0), 33_333_333
    stamps = [10**18 + i * step for i in range(3000)]
    late = [s + int(rng.random() < 0.01) * 50_000_000 for s in stamps]
    assert of_stream(stamps, late) == []
    (said,) = of_stream(stamps[:1000] + stamps[1002:], late[:1000] + late[1002:])
    assert said.startswith("about 2 images are missing in 1 gaps, the first after image 999")
    unset = of_stream([0] * 2998, stamps[:1000] + stamps[1002:])
    assert [u[:15] for u in unset] == ["stamps are not ", "about 2 images "]


def test_later_labels_count_too() -> None:
    """Three quarters of those tried are moved, though the first ones are not."""
    assert fed([0] * 20 + [2] * 100).in_place() is None
    found = fed([0] * 20 + [2] * 600).in_place()
    assert found is not None and found.by == (2, 0) and found.labels == 20 + 60
