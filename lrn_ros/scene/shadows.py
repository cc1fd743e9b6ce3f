# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The shadows on the ground: those of houses and trees, and the dark under cars."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lrn_ros.scene.camera import Camera
from lrn_ros.scene.ground import Street
from lrn_ros.scene.layout import BLOCK, Block, Parked, Tree
from lrn_ros.scene.sky import Weather
from lrn_ros.scene.traffic import Mover, car_choice
from lrn_ros.scene.vehicles import MESHES

Shadow = tuple[np.ndarray, float]  # a convex polygon (N, 3) in metres, and its strength 0 to 1
FAR, FAR_SMALL = 70.0, 30.0  # metres; beyond, shadows are left out


def find_shadows(
    camera: Camera, street: Street, weather: Weather, blocks: dict[tuple[int, int], Block],
    movers: list[Mover],
) -> Iterator[Shadow]:  # fmt: skip
    """All shadows near the camera, the large ones first."""
    near = {k: b for k, b in blocks.items() if k[0] * BLOCK < camera.z + FAR}
    cast = -weather.sun / weather.sun[1] * (1, 0, 1)  # of something 1 m high
    if weather.shadow:
        yield from _cast(street, near, cast, weather.shadow)
    for mover in movers:
        at, away = np.array(street.spot(mover.z, mover.offset)), mover.z - camera.z
        if mover.kind == "car" and away < FAR:
            yield _under(at, car_choice(mover.look)[0])
        elif mover.kind != "car" and away < FAR_SMALL:
            long = 0.8 if mover.kind == "cyclist" and mover.view != "side" else 0.3
            yield _ellipse(at + cast * 0.1, 0.3, long), 0.4
    for block in near.values():
        for thing in block.along:
            if isinstance(thing, Parked):
                yield _under(np.array(street.spot(thing.z, thing.offset)), thing.model)


def _cast(
    street: Street, blocks: dict[tuple[int, int], Block], cast: np.ndarray, strength: float
) -> Iterator[Shadow]:
    for (_, side), block in blocks.items():
        for house in block.buildings:
            top = cast * max(house.height, house.ridge)
            offset = side * (street.edge + house.setback)
            a, b = (np.array(street.spot(z, offset)) for z in (house.z0, house.z1))
            yield np.array([a, b, b + top, a + top]), strength
        for thing in (*block.behind, *block.along):
            if isinstance(thing, Tree):
                at = np.array(street.spot(thing.z, thing.offset)) + cast * 0.65 * thing.height
                yield _ellipse(at, 0.33 * thing.height, 0.33 * thing.height), strength


def _under(at: np.ndarray, model: str) -> Shadow:
    z, x = MESHES[model].half
    x, z = x + 0.12, z + 0.2
    return at + np.array([(-x, 0, -z), (x, 0, -z), (x, 0, z), (-x, 0, z)]), 0.62


def _ellipse(at: np.ndarray, rx: float, rz: float) -> np.ndarray:
    turn = np.linspace(0, 2 * math.pi, 10, endpoint=False)
    return at + np.stack([rx * np.cos(turn), 0 * turn, rz * np.sin(turn)], axis=1)
