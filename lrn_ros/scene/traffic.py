# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that moves: cars, cyclists and walkers in lanes, people at zebra crossings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from lrn_ros.scene.figures import PHASES
from lrn_ros.scene.layout import hashed
from lrn_ros.scene.vehicles import MODELS, PAINTS

AHEAD = {"car": 120.0, "cyclist": 90.0, "walker": 70.0}  # metres; further away is left out
PACE = {"walker": 1.4, "cyclist": 2.8}  # metres per second across the road


@dataclass(frozen=True)
class Mover:
    """One moving thing: offset metres from the road's middle; view and phase for people."""

    kind: str  # "car", "walker" or "cyclist"
    z: float
    offset: float
    view: str
    phase: int
    mirror: bool
    still: bool
    look: int  # picks the person's sprite or the car's model and paint


@dataclass(frozen=True)
class Lane:
    """Slots `spacing` metres apart that move at `speed` metres per second; some are taken."""

    number: int
    kind: str
    offset: float
    speed: float
    spacing: float
    chance: float


def make_lanes(drive: int, half: float, pavement: float) -> tuple[Lane, ...]:
    """The lanes of a street; drive is the side driven on, -1 left or 1 right."""
    lanes = [
        Lane(1, "car", -drive * 1.45, -8.0, 32.0, 0.6),
        Lane(2, "cyclist", drive * (half - 1.75), 4.2, 24.0, 0.75),
        Lane(3, "cyclist", -drive * (half - 1.75), -4.8, 24.0, 0.6),
    ]
    for s in (-1, 1):
        for k, share in enumerate((0.45, 0.64, 0.85)):
            speed = (1.3, -1.15, 1.0)[k] * s
            number, offset = 5 + k + 3 * (s > 0), s * (half + share * pavement)
            lanes.append(Lane(number, "walker", offset, speed, 9.0, 0.5))
    return tuple(lanes)


def lane_positions(seed: int, lane: Lane, t: float, near: float, far: float
                   ) -> Iterator[tuple[float, int]]:  # fmt: skip
    """The taken slots between near and far metres as (z, hash)."""
    start = lane.speed * t
    first, last = (math.floor((z - start) / lane.spacing) for z in (near, far))
    for slot in range(first, last + 1):
        chance, shift, look = _slot(seed, lane.number, slot)
        if chance < lane.chance:
            yield start + (slot + shift) * lane.spacing, look


@lru_cache(maxsize=8192)
def _slot(seed: int, lane: int, slot: int) -> tuple[float, float, int]:
    rng = hashed(seed, 30 + lane, slot)
    return rng.random(), rng.uniform(0.1, 0.75), int(rng.integers(1 << 30))


def in_lanes(seed: int, lanes: tuple[Lane, ...], t: float, z: float) -> Iterator[Mover]:
    """Everything in the lanes near a camera at z metres, at t seconds."""
    for lane in lanes:
        for at, look in lane_positions(seed, lane, t, z - 6, z + AHEAD[lane.kind]):
            cycle = 1.5 if lane.kind == "walker" else 4.0  # metres
            phase = math.floor(PHASES * (at if lane.speed > 0 else -at) / cycle) % PHASES
            wobble = 0.12 * math.sin(0.7 * t + look % 7)
            view = "back" if lane.speed > 0 else "front"
            yield Mover(lane.kind, at, lane.offset + wobble * (lane.kind != "car"), view, phase,
                        False, False, look)  # fmt: skip


def car_ahead(seed: int, drive: int, t: float, z: float) -> Iterator[Mover]:
    """The cars in front in the camera's own lane."""
    rng = hashed(seed, 41)
    beat, first = rng.uniform(0, 6), rng.random() < 0.75
    gaps = (20.0, 64.0, 92.0) if first else (70.0, 98.0)
    for k, gap in enumerate(gaps):
        at = z + gap + 6 * math.sin(0.23 * t + beat + k)
        yield Mover("car", at, drive * 1.4, "back", 0, False, False, int(rng.integers(1 << 30)))


def at_crossing(
    seed: int, number: int, place: float, z: float, t: float, speed: float, drive: int,
    half: float, oncoming: Lane,
) -> Iterator[Mover]:  # fmt: skip
    """People who cross while the camera comes nearer, unless a car comes the other way."""
    rng = hashed(seed, 51, number)
    away, width = place - z, 2 * half + 1.4
    for k in range(int(rng.integers(1, 5))):
        kind = "cyclist" if k == 3 else "walker"
        start, look = 52 + 5 * rng.random(), int(rng.integers(1 << 30))
        shift = rng.uniform(-1.3, 1.3)
        pace = PACE[kind] * rng.uniform(0.95, 1.1)
        inside = [start - speed * (half + 0.7 + x) / pace for x in (0.2, 2.8)]
        clear = _clear(seed, oncoming, place, t + (away - inside[0]) / speed,
                       t + (away - inside[1]) / speed)  # fmt: skip
        walked = (start - away) / speed * pace if clear else 0.0
        done = min(max(walked, 0.0), width)
        still = not 0.0 < walked < width
        if kind == "cyclist" and not clear:
            continue
        phase = 0 if still else math.floor(PHASES * walked / 1.5) % PHASES
        offset = drive * (half + 0.7 - done)
        yield Mover(kind, place + shift, offset, "side", phase, drive > 0, still, look)


def _clear(seed: int, lane: Lane, place: float, begin: float, end: float) -> bool:
    """Whether no car of the lane is at the place between two times."""
    steps = [begin + (end - begin) * k / 6 for k in range(7)]
    return not any(True for t in steps for _ in lane_positions(seed, lane, t, place - 6, place + 6))


def car_choice(look: int) -> tuple[str, tuple[int, int, int]]:
    """Model and paint that a hash stands for."""
    return MODELS[look % len(MODELS)], PAINTS[(look // 16) % len(PAINTS)]
