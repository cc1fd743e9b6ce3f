# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Colours for people: chosen by computation, so that all classes can be told apart in an overlay.

The distance of two classes is the smallest CIEDE2000 difference of their blended colours over dark,
grey and bright pictures, for normal sight and for three kinds of colour-blind sight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lrn_ros.model.labels import LabelSet

SCENES = (30.0, 90.0, 170.0)  # grey values of the pictures under the colours
APART, PEOPLE_APART = 12.0, 20.0  # CIEDE2000 between two classes; between people and others
_PEOPLE = {"person", "people", "pedestrian", "rider", "bicyclist", "cyclist", "motorcyclist"}
_QUIET = {"sky", "road"}  # they fill most of a picture

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
    return tuple(i for i, name in enumerate(labels.names) if _words(name) & _PEOPLE)


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


def choose(
    labels: LabelSet, starts: int = 1, rounds: int = 8, candidates: int = 64, seed: int = 0
) -> tuple[tuple[int, int, int], ...]:
    """Colours whose smallest distance is as large as the search finds.

    People are bright, strong and far from all others, sky and road are nearly grey. The colours of
    the other classes are dealt so that they resemble the data set's.

    Args:
        labels: names and the data set's colours.
        starts: how often the search begins anew; the best end is taken.
        rounds: how often every class may change its colour.
        candidates: colours that a class tries each time.
        seed: of the search; the same gives the same colours.
    """
    search = _Search(labels, np.random.default_rng(seed), candidates)
    ends = [search.run(rounds) for _ in range(starts)]
    best = max(ends, key=lambda colors: float(search.margins(colors).min()))
    dealt = _deal(best, labels, search.free)
    return tuple((int(r), int(g), int(b)) for r, g, b in dealt)


def distances(colors: NDArray[np.uint8] | _Floats, alpha: float = 0.5) -> _Floats:
    """(K, K) smallest CIEDE2000 difference of (K, 3) RGB colours over all scenes and sights."""
    seen = _seen(np.asarray(colors, float), alpha)
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


def _seen(rgb: _Floats, alpha: float = 0.5) -> _Floats:
    """(scenes * sights, N, 3) CIELAB of (N, 3) colours, blended over every scene."""
    blended = np.stack([alpha * rgb + (1 - alpha) * scene for scene in SCENES])
    sights = np.einsum("vij,snj->svni", _SIGHTS, _linear(blended))
    return _cielab(np.clip(sights, 0, 1)).reshape(-1, len(rgb), 3)


class _Search:
    """Coordinate search: one class after the other takes the candidate farthest from the others."""

    def __init__(self, labels: LabelSet, rng: np.random.Generator, candidates: int) -> None:
        self._rng, self._candidates, self._count = rng, candidates, len(labels)
        self._people = set(people(labels))
        quiet = {i for i, name in enumerate(labels.names) if name.lower() in _QUIET}
        self._quiet = quiet
        self.free = [i for i in range(self._count) if i not in self._people | quiet]
        self._wanted = np.full((self._count, self._count), APART)
        for person in self._people:
            others = [i for i in range(self._count) if i not in self._people]
            self._wanted[person, others] = self._wanted[others, person] = PEOPLE_APART

    def run(self, rounds: int) -> _Floats:
        """(K, 3) colours at the end of one search."""
        colors = np.concatenate([self._draw(i, None, 0)[:1] for i in range(self._count)])
        for step in range(rounds if self._count > 1 else 0):
            reach = 255 * 0.5 ** (6 * step / rounds)  # from the whole cube to a few steps
            for i in self._rng.permutation(self._count):
                others = [j for j in range(self._count) if j != i]
                tried = np.concatenate((colors[i : i + 1], self._draw(i, colors[i], reach)))
                seen, rest = _seen(tried), _seen(colors[others])
                found = ciede2000(seen[:, :, None], rest[:, None]).min(0) / self._wanted[i, others]
                colors[i] = tried[np.exp(-25 * found).sum(1).argmin()]
        return colors

    def margins(self, colors: _Floats) -> _Floats:
        """Distance of every pair, as a share of the one that is wanted."""
        upper = np.triu_indices(self._count, 1)
        return (
            np.asarray((distances(colors) / self._wanted)[upper]) if len(upper[0]) else np.ones(1)
        )

    def _draw(self, class_id: int, around: _Floats | None, reach: float) -> _Floats:
        """Candidates for a class, near a colour or anywhere; at least one."""
        found: _Floats = np.empty((0, 3))
        while not len(found):
            shape = (self._candidates, 3)
            drawn: _Floats
            if around is None:
                drawn = self._rng.integers(0, 256, shape).astype(float)
            else:
                drawn = np.clip(np.round(around + self._rng.normal(0, reach, shape)), 0, 255)
            found = drawn[self._allowed(class_id, drawn)]
        return found

    def _allowed(self, class_id: int, rgb: _Floats) -> NDArray[np.bool_]:
        lightness, *ab = np.moveaxis(_cielab(_linear(rgb)), -1, 0)
        chroma = np.hypot(*ab)
        if class_id in self._quiet:
            return np.asarray((chroma < 18) & (lightness > 20) & (lightness < 80))
        if class_id in self._people:  # yellow, orange, red, pink: warm and bright
            return np.asarray((chroma > 60) & (lightness > 50) & (rgb[:, 0] >= 200))
        return np.asarray((chroma < 80) & (lightness > 8))  # black is unlabelled


def _deal(colors: _Floats, labels: LabelSet, classes: Sequence[int]) -> _Floats:
    """Exchange the colours of these classes while that brings them nearer to the data set's."""
    dealt = colors.copy()
    lab, own = _cielab(_linear(colors)), _cielab(_linear(labels.palette.astype(float)))
    cost = ciede2000(lab[None, :], own[:, None])  # [class, colour]
    holds = list(range(len(labels)))
    better = True
    while better:
        better = False
        for i in classes:
            for j in classes:
                now, then = (
                    cost[i, holds[i]] + cost[j, holds[j]],
                    cost[i, holds[j]] + cost[j, holds[i]],
                )
                if then < now - 1e-9:
                    holds[i], holds[j], better = holds[j], holds[i], True
    dealt[:] = colors[holds]
    return dealt
