# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Colours for people: chosen by computation, so that all classes can be told apart in an overlay.

The distance of two classes is the smallest CIEDE2000 difference of their blended colours over dark,
grey and bright pictures, for normal sight and for three kinds of colour-blind sight.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lrn_ros.model.labels import LabelSet

SCENES = (30.0, 90.0, 170.0)  # grey values of the pictures under the colours
APART, PEOPLE_APART = 12.0, 25.0  # CIEDE2000 between two classes; between people and others
_PEOPLE = {
    "person", "people", "human", "child", "children", "pedestrian", "rider", "bicyclist", "cyclist",
    "motorcyclist",
}  # fmt: skip
_MUTED = {"sky", "road"}  # classes that fill most of a picture get muted colours

# Simulated sight, on linear RGB: normal, and protanope, deuteranope, tritanope of Machado, Oliveira
# and Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009.
_SIGHTS = np.array([
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
     [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
     [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
     [0.004733, 0.691367, 0.303900]],
])  # fmt: skip
_XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]) / np.array([[0.95047], [1.0], [1.08883]])  # fmt: skip  # sRGB to XYZ over the white D65
_Floats = NDArray[np.float64]


def people(labels: LabelSet) -> tuple[int, ...]:
    """Ids of the classes that are people, by their names: these get an outline in overlays."""
    return tuple(
        i
        for i, name in enumerate(labels.names)
        if any(word in _PEOPLE or word.removesuffix("s") in _PEOPLE for word in _words(name))
    )


@cache
def shown(labels: LabelSet, palette: str = "display") -> LabelSet:
    """The label set with the colours that are shown.

    Args:
        labels: a label set with the data set's colours.
        palette: "dataset" leaves these; "display" takes the set's own display colours, those of the
            shipped set with the same classes, or else computes some.
    """
    if palette == "dataset":
        return labels
    return replace(labels, colors=labels.display or labels.shipped_display() or choose(labels))


def choose(labels: LabelSet, seed: int = 0) -> tuple[tuple[int, int, int], ...]:
    """Colours whose smallest distance is as large as a search of about one second finds.

    People are bright, strong and far from all others, sky and road are nearly grey. The colours of
    the other classes are dealt so that they resemble the data set's. benchmark/palette.py searches
    for longer.

    Args:
        labels: names and the data set's colours.
        seed: seed of the search; the same gives the same colours.
    """
    search, share = _Search(labels, seed), min(1.0, 24 / len(labels))
    found = search.run(max(1, round(8 * share)), max(4, round(64 * share)))
    return deal(found, labels)


def deal(colors: _Floats, labels: LabelSet) -> tuple[tuple[int, int, int], ...]:
    """(K, 3) colours, those of classes without limits of their own dealt anew.

    They are exchanged while that brings them nearer to the data set's.
    """
    special = {*people(labels), *_quiet(labels)}
    classes = [i for i in range(len(labels)) if i not in special]
    lab, own = _cielab(_linear(colors)), _cielab(_linear(labels.palette.astype(float)))
    cost = ciede2000(lab[None, :], own[:, None])  # [class, colour]
    holds = list(range(len(labels)))
    better = True
    while better:
        better = False
        for n, i in enumerate(classes):
            for j in classes[:n]:
                now = cost[i, holds[i]] + cost[j, holds[j]]
                if cost[i, holds[j]] + cost[j, holds[i]] < now - 1e-9:
                    holds[i], holds[j], better = holds[j], holds[i], True
    return tuple((int(r), int(g), int(b)) for r, g, b in colors[holds].round())


# Each row times (red, green, blue) is at most a class's limit: differences of two channels, and
# the brightness, for black is unlabelled.
SIDES = np.array([
    [1, -1, 0], [-1, 1, 0], [0, 1, -1], [0, -1, 1], [1, 0, -1], [-1, 0, 1], [-1, -1, -1],
], float)  # fmt: skip


def limits(labels: LabelSet) -> tuple[_Floats, _Floats, _Floats]:
    """The colours that a class may have.

    Returns:
        lowest and highest (K, 3) value of the channels, and (K, 7) of `SIDES`: people are yellow,
        orange or red and bright, sky and road nearly grey, and no other class is as warm as people.
    """
    count = len(labels)
    lowest, highest = np.zeros((count, 3)), np.full((count, 3), 255.0)
    sides = np.tile([130.0, 255, 255, 255, 130, 255, -80], (count, 1))
    for i in people(labels):
        lowest[i], highest[i], sides[i, :6] = (200, 90, 0), (255, 255, 90), 255
    for i in _quiet(labels):
        lowest[i], highest[i], sides[i, :6] = 50, 190, 30
    return lowest, highest, sides


def wanted(labels: LabelSet, people_apart: float = PEOPLE_APART) -> _Floats:
    """(K, K) distances that are wanted: `APART`, and `people_apart` between people and others."""
    person = np.isin(np.arange(len(labels)), people(labels))
    return np.where(person[:, None] != person, people_apart, APART)


def distances(colors: NDArray[np.uint8] | _Floats, alpha: float = 0.5) -> _Floats:
    """(K, K) smallest CIEDE2000 difference of (K, 3) RGB colours over all scenes and sights."""
    seen = seen_colors(np.asarray(colors, float), alpha)
    return np.asarray(ciede2000(seen[:, :, None], seen[:, None]).min(0))


def ciede2000(a: _Floats, b: _Floats) -> _Floats:
    """Colour difference of (..., 3) CIELAB colours.

    Source: Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula", 2005.
    """
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25.0**7))
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1, h2 = np.arctan2(b1, a1 * stretch) % (2 * np.pi), np.arctan2(b2, a2 * stretch) % (2 * np.pi)
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + np.pi) % (2 * np.pi) - np.pi)
    middle = np.where(grey, h1 + h2, (h1 + turn / 2) % (2 * np.pi))
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2)
    tone = (
        1
        - 0.17 * np.cos(middle - np.radians(30))
        + 0.24 * np.cos(2 * middle)
        + 0.32 * np.cos(3 * middle + np.radians(6))
        - 0.20 * np.cos(4 * middle - np.radians(63))
    )
    lightness = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    saturation = (c2 - c1) / (1 + 0.045 * chroma)
    hue = d_hue / (1 + 0.015 * chroma * tone)
    blue = np.radians(60) * np.exp(-(((np.degrees(middle) - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(blue)
    square = lightness**2 + saturation**2 + hue**2 + rotation * saturation * hue
    return np.asarray(np.sqrt(np.maximum(square, 0)))


def _quiet(labels: LabelSet) -> tuple[int, ...]:
    return tuple(i for i, name in enumerate(labels.names) if name.lower() in _MUTED)


def _words(name: str) -> set[str]:
    return set(name.lower().replace("-", " ").replace("_", " ").split())


def _cielab(linear: _Floats) -> _Floats:
    ratio = linear @ _XYZ.T
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), -1)


def _linear(rgb: _Floats) -> _Floats:
    value = rgb / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def seen_colors(rgb: _Floats, alpha: float = 0.5) -> _Floats:
    """(scenes * sights, N, 3) CIELAB of (N, 3) colours, blended over every scene."""
    blended = np.stack([alpha * rgb + (1 - alpha) * scene for scene in SCENES])
    sights = np.einsum("vij,snj->svni", _SIGHTS, _linear(blended))
    return _cielab(np.clip(sights, 0, 1)).reshape(-1, len(rgb), 3)


class _Search:
    """Coordinate search: one class after the other takes the candidate farthest from the others."""

    def __init__(self, labels: LabelSet, seed: int) -> None:
        self._rng, self._count = np.random.default_rng(seed), len(labels)
        self._wanted, self._limits = wanted(labels), limits(labels)

    def run(self, rounds: int, candidates: int) -> _Floats:
        """(K, 3) colours after so many rounds of so many candidates a class."""
        colors = np.concatenate([self._draw(i, None, 0, 1) for i in range(self._count)])
        for step in range(rounds if self._count > 1 else 0):
            reach = 255 * 0.5 ** (6 * step / rounds)  # from the whole cube to a few steps
            for i in self._rng.permutation(self._count):
                others = [j for j in range(self._count) if j != i]
                drawn = self._draw(i, colors[i], reach, candidates)
                tried = np.concatenate((colors[i : i + 1], drawn))
                seen, rest = seen_colors(tried), seen_colors(colors[others])
                found = ciede2000(seen[:, :, None], rest[:, None]).min(0) / self._wanted[i, others]
                colors[i] = tried[np.exp(-25 * found).sum(1).argmin()]
        return colors

    def _draw(self, class_id: int, around: _Floats | None, reach: float, count: int) -> _Floats:
        """Random colours that a class may have, near a colour or anywhere."""
        lowest, highest, sides = (limit[class_id] for limit in self._limits)
        shape = (64 * count if around is None else count, 3)
        drawn: _Floats = (
            self._rng.uniform(lowest, highest, shape)
            if around is None
            else np.clip(around + self._rng.normal(0, reach, shape), lowest, highest)
        )
        return drawn.round()[(drawn.round() @ SIDES.T <= sides).all(1)][:count]
