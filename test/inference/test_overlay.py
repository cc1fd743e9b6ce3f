# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Overlays: people have an outline, the legend is readable at every size."""

import numpy as np
import pytest

from lrn_ros.inference.overlay import blend, colorize, draw_legend, draw_overlay, legend_picture
from lrn_ros.inference.palette import ciede2000, shown
from lrn_ros.model.labels import UNLABELLED, LabelSet

LABELS = shown(LabelSet.load("camvid11"))
ROAD, CAR, PEDESTRIAN, BICYCLIST = (
    LABELS.names.index(n) for n in ("road", "car", "pedestrian", "bicyclist")
)


def scene(grey=90):
    """A road with a car, and two people who touch each other."""
    mask = np.full((120, 160), ROAD, np.uint8)
    mask[20:60, 10:50] = CAR
    mask[30:80, 90:110], mask[30:80, 110:125] = PEDESTRIAN, BICYCLIST
    return np.full((120, 160, 3), grey, np.uint8), mask


def lightness_apart(a, b):
    """CIEDE2000 of two greys or colours, by way of the palette's own scale for normal sight."""
    from lrn_ros.inference.palette import _cielab, _linear

    lab = _cielab(_linear(np.array([a, b], float)))
    return float(ciede2000(lab[0], lab[1]))


@pytest.mark.parametrize("grey", [0, 60, 128, 200, 255])
def test_people_have_an_outline_that_stands_out(grey):
    rgb, mask = scene(grey)
    picture = draw_overlay(rgb, mask, LABELS)
    plain = blend(rgb, colorize(mask, LABELS.lookup()), mask, 0.5)
    changed = (picture != plain).any(2)
    assert not changed[20:60, 10:50].any(), "a car has none"
    assert not changed[31:79, 92:108].any(), "the inside stays as it is"
    ring = picture[55, 86:91]  # road, white, black, then the pedestrian
    np.testing.assert_array_equal(ring[1:4], [plain[55, 87], [255] * 3, [0] * 3])
    for beside in (plain[55, 88], plain[55, 100]):  # the road outside, the pedestrian inside
        assert max(lightness_apart(beside, line) for line in ((255,) * 3, (0,) * 3)) >= 25
    assert lightness_apart(picture[55, 90], picture[55, 89]) >= 25
    assert (picture[55, 109:112] == 0).all(1).any(), "and between two who touch"


def test_an_outline_at_the_edge_and_without_people():
    rgb, mask = scene()
    mask[:] = PEDESTRIAN
    np.testing.assert_array_equal(
        draw_overlay(rgb, mask, LABELS), blend(rgb, colorize(mask, LABELS.lookup()), mask, 0.5)
    )
    mask[:] = UNLABELLED
    np.testing.assert_array_equal(draw_overlay(rgb, mask, LABELS), rgb)


@pytest.mark.parametrize("rows", [360, 720, 1080, 2160])
def test_the_legend_is_readable(rows):
    columns = rows * 16 // 9
    picture = np.full((rows, columns, 3), 255, np.uint8)
    draw_legend(picture, np.zeros((rows, columns), np.uint8), LABELS)
    band = int((picture[:, -1] != 255).all(1).sum())
    assert 0 < band <= rows / 4 and (picture[band:] == 255).all(), "filled, and at the top"
    for color in LABELS.colors:
        found = (picture[:band] == color).all(2)
        assert found.sum() >= 40, "a patch of every class"
    ink = (picture[: max(16, round(rows / 36))] > 160).all(2)
    letter = np.flatnonzero(ink.any(0))
    tall = max(np.ptp(np.flatnonzero(ink[:, x])) + 1 for x in letter)
    assert tall >= max(9, rows / 60), "letters as high as this"


def test_a_legend_that_does_not_fit_names_the_largest_classes():
    names = tuple(f"class number {i}" for i in range(40))
    labels = LabelSet("many", names, tuple((i, 2 * i, 255 - i) for i in range(40)))
    mask = np.full((72, 300), 7, np.uint8)
    mask[:9] = 23
    picture = np.full((72, 300, 3), 1, np.uint8)
    draw_legend(picture, mask, labels)
    assert (picture == labels.colors[7]).all(2).any() and (picture[18:] == 1).all()
    tiny = np.full((24, 24, 3), 1, np.uint8)
    draw_legend(tiny, mask[:24, :24], labels)
    assert (tiny == 1).all(), "no room, no legend"


def test_the_legend_as_a_picture():
    picture = legend_picture(LABELS)
    assert picture.shape[0] == 32 * 11
    for row, color in enumerate(LABELS.colors):
        assert (picture[32 * row : 32 * (row + 1)] == color).all(2).sum() > 200
