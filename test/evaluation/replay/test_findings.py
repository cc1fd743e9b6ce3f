# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labels that sit beside their pixels, in recordings longer than those of the replay tests."""

from __future__ import annotations

import numpy as np

from lrn_ros.evaluation.replay.findings import Alignment

MASK = np.kron(np.arange(40).reshape(5, 8) % 3, np.ones((12, 16))).astype(np.uint8)  # 60 x 128


def fed(shifts: list[int]) -> Alignment:
    """After labels of one mask, moved to the right by so many pixels each."""
    alignment = Alignment(3)
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
