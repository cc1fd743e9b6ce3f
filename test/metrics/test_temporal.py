# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Consistency and flicker on pictures whose motion is known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from lrn_ros.metrics.confusion import confusion_matrix, scores
from lrn_ros.metrics.temporal import Motion, find_motion, no_frames, steadiness, warp

SIZE = (120, 160)


def texture(height: int, width: int) -> np.ndarray:
    """A picture with structure at several scales everywhere."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.resize(rng.normal(0, 1, (-(-height // n), -(-width // n), 3)), (width, height)) * n
        for n in (4, 8, 24)
    ]
    picture = sum(layers)
    low, high = picture.min(), picture.max()
    return (255 * (picture - low) / (high - low)).astype(np.uint8)


def bands(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 3 :] = 1
    mask[height // 2 :] = 2
    return mask


@pytest.mark.parametrize("move", [(0, 0), (0, 9), (3, -5)])
def test_a_translated_picture_is_consistent(move: tuple[int, int]) -> None:
    height, width = SIZE
    rgb, mask = texture(height + 20, width + 20), bands(height + 20, width + 20)
    before = np.s_[10 : 10 + height, 10 : 10 + width]
    now = np.s_[10 + move[0] : 10 + move[0] + height, 10 + move[1] : 10 + move[1] + width]
    motion = find_motion(rgb[before].copy(), rgb[now].copy())
    counted = steadiness(mask[before], mask[now], motion, 3)
    assert counted.consistency > 0.995
    assert motion.visible.mean() > 0.9
    inner = np.s_[15:-15, 15:-15]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    assert np.abs(motion.x - x - move[1])[inner].max() < 0.5
    assert np.abs(motion.y - y - move[0])[inner].max() < 0.5
    moved = scores(confusion_matrix(mask[before], mask[now], 3)).miou
    assert counted.consistency == moved == 1 if move == (0, 0) else moved < 0.95


def test_flicker_is_the_share_of_still_pixels_that_change() -> None:
    rgb, mask = texture(*SIZE), bands(*SIZE)
    motion = find_motion(rgb, rgb)
    assert motion.still.all() and motion.visible.all()
    flipped = mask.copy()
    flipped[:30, :40] = 255  # 1,200 of 19,200 pixels
    counted = steadiness(mask, flipped, motion, 3)
    assert (counted.still, counted.flickered) == (19200, 1200)
    assert counted.flicker == 0.0625
    assert steadiness(mask, mask, motion, 3).flicker == 0


def test_pixels_that_moved_or_changed_do_not_flicker() -> None:
    rgb = texture(*SIZE)
    changed = rgb.copy()
    changed[:60] = 255 - changed[:60]
    still = find_motion(rgb, changed).still
    unlike = cv2.absdiff(
        cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY)
    )
    assert not still[unlike > 8].any() and still[90:].all()
    wide = texture(SIZE[0], SIZE[1] + 6)
    assert find_motion(wide[:, :-6].copy(), wide[:, 6:].copy()).still.mean() < 0.05


def test_what_was_hidden_is_not_compared() -> None:
    height, width = SIZE
    ground, figure = texture(height, width), texture(60, 40)[::-1].copy()
    before, now = ground.copy(), ground.copy()
    before[30:90, 60:100] = figure
    now[30:90, 72:112] = figure  # uncovers 12 columns
    motion = find_motion(before, now)
    assert motion.visible[35:85, 62:70].mean() < 0.4
    assert motion.visible[:, 120:].mean() > 0.95 and motion.visible[40:80, 80:105].mean() > 0.9


def test_warp_by_a_given_motion() -> None:
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    x, y = np.meshgrid(np.arange(4, dtype=np.float32), np.arange(3, dtype=np.float32))
    visible = np.ones((3, 4), bool)
    visible[:, 3] = False
    motion = Motion(x + 1, y, visible, np.zeros((3, 4), bool))
    np.testing.assert_array_equal(
        warp(mask, motion), [[1, 2, 3, 255], [5, 6, 7, 255], [9, 10, 11, 255]]
    )
    now = np.array([[1, 2, 3, 0], [5, 6, 7, 0], [9, 10, 255, 0]], np.uint8)
    counted = steadiness(mask, now, motion, 12)
    assert counted.matrix.sum() == 9 and counted.matrix[11, 12] == 1
    assert math.isnan(counted.flicker)
    assert counted.consistency == pytest.approx(8 / 9)


def test_videos_add_up() -> None:
    rgb, mask = texture(*SIZE), bands(*SIZE)
    motion = find_motion(rgb, rgb)
    one = steadiness(mask, mask, motion, 3)
    two = steadiness(mask, np.zeros_like(mask), motion, 3)
    total = sum((one, two), no_frames(3))
    np.testing.assert_array_equal(total.matrix, one.matrix + two.matrix)
    assert total.still == 2 * 19200 and total.flicker == two.flicker / 2
    assert math.isnan(no_frames(3).consistency)
    with pytest.raises(ValueError, match="shapes"):
        find_motion(rgb, rgb[1:])
    with pytest.raises(ValueError, match="shapes"):
        steadiness(mask[1:], mask[1:], motion, 3)


@pytest.mark.parametrize("size, by", [((180, 1279), 1), ((180, 1280), 2), ((1930, 270), 3)])
def test_large_pictures_are_compared_at_a_fraction_of_their_size(
    size: tuple[int, int], by: int
) -> None:
    height, width = size
    wide = cv2.GaussianBlur(texture(height, width + 12), (0, 0), by)
    before, now = wide[:, :-12].copy(), wide[:, 12:].copy()
    mask = bands(height, width + 12)
    motion = find_motion(before, now)
    assert motion.still.shape == (height // by, width // by)
    inner = np.s_[8:-8, 8:-16]
    x = np.arange(width // by)[None, :]
    assert np.abs(motion.x - x - 12 / by)[inner].max() < 0.5
    counted = steadiness(mask[:, :-12], mask[:, 12:], motion, 3)
    assert counted.consistency > 0.995
    assert counted.matrix.sum() == np.count_nonzero(motion.visible) > 0.8 * motion.visible.size
    unmoved = steadiness(mask[:, :-12], mask[:, :-12], find_motion(before, before), 3)
    assert (unmoved.still, unmoved.flickered) == (motion.still.size, 0)
    with pytest.raises(ValueError, match="shapes"):
        steadiness(mask[:-by, :-12], mask[:-by, 12:], motion, 3)


def test_a_line_of_pixels_is_a_picture() -> None:
    line = texture(1, 1300)
    assert find_motion(line, line).still.shape == (1, 650)
