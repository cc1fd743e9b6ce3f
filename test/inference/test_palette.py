# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The colour difference against published pairs; the shipped colours against their bounds."""

import dataclasses
import time

import numpy as np
import pytest

from lrn_ros.errors import UserError
from lrn_ros.inference.palette import (
    APART,
    PEOPLE_APART,
    choose,
    ciede2000,
    distances,
    people,
    seen_colors,
    shown,
)
from lrn_ros.model.labels import LabelSet

CAMVID = LabelSet.load("camvid11")

# Test data of Sharma, Wu and Dalal, 2005, table 1.
PAIRS = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 2.8361, -74.0200), (50, 0, -82.7485), 3.4412),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0009), 7.1792),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0011), 7.2195),
    ((50, -0.0010, 2.4900), (50, 0.0011, -2.4900), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((63.0109, -31.0961, -5.8663), (62.8187, -29.7946, -4.0864), 1.2630),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("a", "b", "expected"), PAIRS)
def test_ciede2000_against_the_published_pairs(a, b, expected):
    assert ciede2000(np.array(a, float), np.array(b, float)) == pytest.approx(expected, abs=5e-5)
    assert ciede2000(np.array(b, float), np.array(a, float)) == pytest.approx(expected, abs=5e-5)


# Set -> the smallest distance of all pairs, and between people and others: docs/viewers.md.
REACHED = {
    "camvid11": (12.0, 22.0),
    "camvid32": (6.5, 10.0),
    "cityscapes19": (9.0, 15.0),
    "cityscapes19_trainids": (9.0, 15.0),
    "drivable": (25.0, 0.0),
}


@pytest.mark.parametrize("name", LabelSet.shipped())
def test_shipped_colours_can_be_told_apart_by_everybody(name):
    labels = LabelSet.load(name)
    display = shown(labels)
    assert display.colors in (labels.display, labels.shipped_display()), "computed before, not here"
    apart = lambda colors: distances(np.array(colors)) + 1e9 * np.eye(len(labels))  # noqa: E731
    far, persons = apart(display.colors), list(people(labels))
    least, least_people = REACHED[name]
    assert far.min() >= least
    # The check can fail: the data sets' own colours do not pass it.
    assert name == "drivable" or apart(labels.colors).min() < 4
    if persons:
        assert np.delete(far[persons], persons, 1).min() >= least_people
        # What people touch is their outline, and the pixels next to them are black.
        seen, black = seen_colors(display.palette[persons]), seen_colors(np.zeros((1, 3)), 1.0)
        assert ciede2000(seen, black).min() >= PEOPLE_APART
    assert shown(LabelSet.from_dict(labels.to_dict(), "a model")).colors == display.colors


def test_people_are_known_by_their_names():
    names = ("Persons", "tree", "motor-cyclist", "Child", "bicycle rider", "people_group", "mason")
    labels = LabelSet("names", names, tuple((i, 0, 0) for i in range(7)))
    assert people(labels) == (0, 2, 3, 4, 5)
    assert people(CAMVID) == (9, 10)


@pytest.mark.parametrize("count", [1, 2, 60, 200])
def test_any_number_of_classes_gets_colours(count):
    names = tuple(f"class {i}" for i in range(count))
    labels = LabelSet("many", names, ((0, 0, 0),) * count)
    start = time.process_time()
    colors = choose(labels)
    assert time.process_time() - start < 5, "a node starts with it"
    assert len(set(colors)) == count
    far = distances(np.array(colors)) + 1e9 * np.eye(count)
    assert far.min() > {1: 1e8, 2: 40.0, 60: 2.0, 200: 0.0}[count]


def test_shown():
    assert shown(CAMVID, "dataset").colors == CAMVID.colors
    assert shown(CAMVID).colors == CAMVID.display != CAMVID.colors
    # A model's file may hold the set without display colours.
    bare = dataclasses.replace(CAMVID, display=())
    assert shown(bare).colors == CAMVID.display and bare == CAMVID


def test_a_set_of_ones_own_gets_colours():
    names = ("road", "kerb", "person", "car", "tram")
    mine = LabelSet("mine", names, ((0, 0, 0),) * 4 + ((1, 1, 1),))
    colors = shown(mine).colors
    assert colors == choose(mine), "the same every time"
    far = distances(np.array(colors)) + 1e9 * np.eye(5)
    assert far.min() >= APART and np.delete(far[2], 2).min() >= PEOPLE_APART
    other = LabelSet("camvid11", names, mine.colors)  # the set's name does not decide
    assert shown(other).colors == colors
    one = LabelSet("one", ("lane",), ((0, 255, 0),))
    assert len(shown(one).colors) == 1


def test_display_colours_are_for_every_class():
    data = dataclasses.replace(CAMVID, names=(*CAMVID.names[:-1], "rider")).to_dict()
    assert LabelSet.from_dict(data, "itself").display == CAMVID.display
    del data["classes"][3]["display"]
    with pytest.raises(UserError, match="display colours for all classes or none"):
        LabelSet.from_dict(data, "mine.yaml")
    data["classes"][3]["display"] = [0, 0, 256]
    with pytest.raises(UserError, match="a colour is three numbers from 0 to 255"):
        LabelSet.from_dict(data, "mine.yaml")
