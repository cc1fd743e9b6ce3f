# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The things along the street, made block by block from a hash of (seed, block, side)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lrn_ros.scene.canvas import Sprite
from lrn_ros.scene.figures import sign, tree
from lrn_ros.scene.textures import facade, hedge, planks, railings
from lrn_ros.scene.vehicles import MODELS, PAINTS

BLOCK = 24.0  # metres along the street
BAY = 3.0  # metres, width of one window bay and height of a floor
ROOFS = ((96, 66, 56), (74, 72, 76), (88, 84, 84), (112, 80, 64), (66, 66, 70))
RNG_OFFSET = 1 << 32  # keeps negative block and slot numbers out of the seeds


@dataclass(frozen=True)
class Building:
    """A house from z0 to z1 (metres along the street); ridge is the roof's height, 0 when flat."""

    z0: float
    z1: float
    setback: float
    height: float
    ridge: float
    front: Sprite
    blank: Sprite
    wall: np.ndarray
    roof: tuple[int, int, int]
    chimney: float


@dataclass(frozen=True)
class Panel:
    """A fence or hedge from z0 to z1, offset metres from the road's middle, height metres."""

    z0: float
    z1: float
    offset: float
    height: float
    kind: str


@dataclass(frozen=True)
class Tree:
    """A tree, height metres, one of the sprites."""

    z: float
    offset: float
    height: float
    kind: int
    mirror: bool


@dataclass(frozen=True)
class Post:
    """A lamp post, a sign on its pole, a traffic light, or a bollard."""

    z: float
    offset: float
    kind: str
    face: int


@dataclass(frozen=True)
class Parked:
    """A parked car, offset metres from the road's middle."""

    z: float
    offset: float
    model: str
    paint: tuple[int, int, int]
    back: bool


@dataclass(frozen=True)
class Block:
    """One side of one block; crossing: a zebra at its middle."""

    buildings: tuple[Building, ...]
    behind: tuple[Tree | Panel, ...]
    along: tuple[Tree | Panel | Post | Parked, ...]
    crossing: bool


@dataclass(frozen=True)
class Kit:
    """The sprites that all blocks of a scene share."""

    trees: tuple[Sprite, ...]
    signs: tuple[Sprite, ...]
    panels: dict[str, Sprite]


def make_kit(rng: np.random.Generator) -> Kit:
    """Draw the shared sprites."""
    panels = {"hedge": hedge(rng), "planks": planks(rng), "railings": railings(rng)}
    return Kit(tuple(tree(rng) for _ in range(4)), tuple(sign(k) for k in range(6)), panels)


def hashed(*key: int) -> np.random.Generator:
    """A generator that depends on the key alone."""
    return np.random.default_rng([k + RNG_OFFSET for k in key])


def make_block(seed: int, block: int, side: int, half_road: float, pavement: float) -> Block:
    """Fill one side (-1 left, 1 right) of a block; half_road and pavement are widths in metres."""
    rng = hashed(seed, 11, block, side)
    start, edge = block * BLOCK, half_road + pavement
    crossing = bool(hashed(seed, 12, block).random() < 0.3)
    buildings: list[Building] = []
    behind: list[Tree | Panel] = []
    park = rng.random() < 0.16
    plans = ((8,), (4, 4), (3, 5), (2, 3, 3), (5, 3), (2, 2, 4), (3, 2, 3))
    bay = 0
    for bays in plans[rng.integers(len(plans))]:
        z0, z1 = start + bay * BAY, start + (bay + bays) * BAY
        bay += bays
        if park or (bays <= 3 and rng.random() < 0.45):
            kind = ("planks", "hedge", "railings")[rng.integers(3)]
            tall = {"planks": 1.8, "hedge": 1.6, "railings": 1.2}[kind]
            behind.append(Panel(z0, z1, side * (edge + 0.1), tall, kind))
            if kind == "railings":
                behind.append(Panel(z0, z1, side * (edge + 0.9), 1.4, "hedge"))
            for _ in range(bays - 1):
                z = rng.uniform(z0 + 1, z1 - 1)
                behind.append(_tree(rng, z, side * (edge + rng.uniform(2.5, 6)), 6.0, 10.0))
            behind.append(Panel(z0, z1, side * (edge + 8), rng.uniform(3.0, 5.0), "hedge"))
        else:
            buildings.append(_building(rng, z0, z1, bays))
            if buildings[-1].setback > 1:
                kind = ("hedge", "planks", "railings")[rng.integers(3)]
                behind.append(Panel(z0, z1, side * (edge + 0.1), 1.0, kind))
    along = _street_side(rng, start, side, half_road, crossing)
    return Block(tuple(buildings), tuple(behind), tuple(along), crossing)


def _tree(rng: np.random.Generator, z: float, offset: float, low: float, high: float) -> Tree:
    return Tree(z, offset, rng.uniform(low, high), int(rng.integers(4)), rng.random() < 0.5)


def _building(rng: np.random.Generator, z0: float, z1: float, bays: int) -> Building:
    floors = int(rng.choice([2, 2, 3, 3, 3, 4, 5]))
    front, blank, wall = facade(rng, bays, floors)
    high = floors * BAY
    ridge = high + rng.uniform(3.0, 4.4) if floors <= 3 and rng.random() < 0.75 else 0.0
    setback = (0.0, 0.0, 0.4, 2.2)[rng.integers(4)]
    roof = ROOFS[rng.integers(len(ROOFS))]
    return Building(z0, z1, setback, high, ridge, front, blank, wall, roof, rng.uniform(0.1, 0.9))


def _street_side(
    rng: np.random.Generator, start: float, side: int, half_road: float, crossing: bool
) -> list[Tree | Panel | Post | Parked]:
    kerb, middle = side * half_road, start + BLOCK / 2
    found: list[Tree | Panel | Post | Parked] = []
    if rng.random() < 0.75:
        found.append(Post(start, kerb + side * 0.75, "lamp", 0))
    for z in (6.0, 18.0):
        if rng.random() < 0.45:
            found.append(Post(start + z, kerb + side * 0.7, "sign", int(rng.integers(5))))
    if crossing:
        for z in (-2.6, 2.6):
            found.append(Post(middle + z, kerb + side * 0.45, "light", 5))
        for z in (-9.0, 3.0):
            found.append(Panel(middle + z, middle + z + 6, kerb + side * 0.25, 1.05, "railings"))
        return found
    leafy, parking = rng.random() < 0.4, rng.random() < 0.6
    for z in (9.0, 15.0, 21.0):
        if leafy and rng.random() < 0.6:
            found.append(_tree(rng, start + z, kerb + side * 0.9, 5.0, 7.5))
        elif rng.random() < 0.3:
            found.append(Post(start + z - 3, kerb + side * 0.4, "bollard", 0))
    for z in (3.0, 9.0, 15.0, 21.0):
        if parking and rng.random() < 0.65:
            model = MODELS[rng.integers(len(MODELS) - 1)]
            paint = PAINTS[rng.integers(len(PAINTS))]
            back = bool(rng.random() < (0.15 if side < 0 else 0.85))
            place = start + z + rng.uniform(-0.4, 0.4)
            found.append(Parked(place, kerb - side * 0.35, model, paint, back))
    return found
