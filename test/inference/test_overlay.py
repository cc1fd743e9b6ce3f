# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Overlays: people have an outline, the legend is readable at every size."""

import numpy as np
import pytest

from lrn_ros.inference.overlay import (
    blend,
    colorize,
    draw_legend,
    draw_note,
    draw_overlay,
    legend_band,
    legend_picture,
)
from lrn_ros.inference.palette import ciede2000, seen_colors, shown
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
    lab = seen_colors(np.array([a, b], float), 1.0)[0]
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


def test_people_come_first_where_the_legend_does_not_fit():
    rgb, mask = scene()
    mask[30:80, 90:125] = ROAD
    mask[50:54, 90:94] = PEDESTRIAN
    draw_legend(rgb, mask, LABELS)
    assert (rgb[:16] == LABELS.colors[PEDESTRIAN]).all(2).sum() > 40
    assert not (rgb == LABELS.colors[BICYCLIST]).all(2).any(), "there is none in the picture"


def test_the_legend_as_a_picture():
    picture = legend_picture(LABELS)
    assert picture.shape[0] == 32 * 11
    for row, color in enumerate(LABELS.colors):
        assert (picture[32 * row : 32 * (row + 1)] == color).all(2).sum() > 200


@pytest.mark.parametrize("count", [2, 24, 25, 200])
def test_the_legend_of_many_classes_has_columns(count):
    names = tuple(f"class {i}" for i in range(count))
    labels = LabelSet("many", names, tuple((i, 100, 255 - i) for i in range(count)))
    picture = legend_picture(labels)
    assert picture.shape[0] <= 24 * 32 and picture.shape[1] < 200 * -(-count // 24)
    for color in labels.colors:
        assert (picture == color).all(2).sum() > 200


def ink(picture):
    return int((picture > 160).all(2).sum())


@pytest.mark.parametrize(
    ("name", "same"),
    [("Fußgängerüberweg", "Fussgangeruberweg"), ("道路", "class 0"), ("дорога 1", "class 0"),
     ("piéton", "pieton"), ("x" * 200, "x" * 38 + "..")],
)  # fmt: skip
def test_names_are_written_in_letters_that_the_font_has(name, same):
    found, expected = (legend_picture(LabelSet("one", (n,), ((9, 99, 9),))) for n in (name, same))
    np.testing.assert_array_equal(found, expected)
    band = legend_band(LabelSet("one", (name,), ((9, 99, 9),)), 300, 28)
    assert band.shape == (28, 300, 3) and ink(band) > 20


@pytest.mark.parametrize(
    ("height", "width"), [(360, 640), (1280, 720), (2160, 3840), (57, 301), (640, 360)]
)
def test_a_note_is_small_and_stands_on_a_filled_background(height, width):
    picture = np.full((height, width, 3), 200, np.uint8)
    draw_note(picture, "12.40 s  frame 310  345 ms")
    changed = (picture != 200).any(2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert changed[np.ix_(rows, columns)].mean() > 0.99 and ink(picture[rows]) > 20
    assert columns[0] == 0 and rows[-1] == height - 1 and len(rows) <= max(14, height / 40)
    tiny = np.full((40, 60, 3), 200, np.uint8)
    draw_note(tiny, "12.40 s  frame 310  345 ms")
    assert (tiny == 200).all(), "no room, no note"
