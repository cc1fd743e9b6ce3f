# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Draws the things that stand along the street: houses, gardens, trees, fences and posts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lrn_ros.scene.canvas import NEAR, Canvas, Colour, PinholeCamera
from lrn_ros.scene.ground import Street
from lrn_ros.scene.layout import Block, Building, Kit, Panel, Post, Tree
from lrn_ros.scene.sky import Weather

Point = tuple[float, float, float]


class Skyline:
    """The covered part of the image. House fronts are added from near to far."""

    def __init__(self, camera: PinholeCamera) -> None:
        self.camera = camera
        self.top = np.full(camera.width, np.inf, np.float32)

    def add(self, a: Point, b: Point) -> None:
        """Add a front: it hides everything behind it below the line between its top corners."""
        (u0, v0, d0), (u1, v1, d1) = sorted((self.camera.point(*a), self.camera.point(*b)))
        first, last = max(math.ceil(u0), 0), min(math.floor(u1) + 1, self.camera.width)
        if min(d0, d1) < 2 * NEAR or first >= last:
            return
        part = self.top[first:last]
        line = v0 + (v1 - v0) / (u1 - u0) * (np.arange(first, last, dtype=np.float32) - u0)
        np.minimum(part, line, out=part)

    def hides(self, corners: list[Point]) -> bool:
        """Whether the box around these corners is covered, to a pixel, or outside the image."""
        seen = [self.camera.point(*p) for p in corners]
        depths = [s[2] for s in seen]
        if min(depths) < 2 * NEAR:
            return max(depths) < 2 * NEAR
        us = [s[0] for s in seen]
        first, last = max(math.ceil(min(us)), 0), min(math.floor(max(us)) + 1, self.camera.width)
        if first >= last:
            return max(us) < 0 or min(us) > self.camera.width - 1
        return bool(self.top[first:last].max() <= min(s[1] for s in seen) + 1)


BUILDING, POLE, TREE, SIGN, FENCE = 1, 2, 5, 6, 7
PLAIN = 35.0  # metres; blank walls further away have no texture
GARDENS = 100.0  # metres; what stands between houses further away is left out
DEEP = 8.0  # metres from the front of a house to its back
SIGN_SIZE = ((0.75, 0.75), (0.85, 0.85), (0.75, 0.75), (1.3, 1.3), (0.7, 0.95), (0.36, 1.08))
POSTS = {  # height and half the width in metres, colour
    "lamp": (7.5, 0.09, (104, 108, 108)),
    "sign": (2.9, 0.045, (126, 128, 126)),
    "light": (3.3, 0.06, (60, 62, 62)),
    "bollard": (1.0, 0.09, (48, 48, 50)),
}


@dataclass(frozen=True)
class StreetView:
    """The canvas, the camera and the light, which every drawing function of a frame needs."""

    canvas: Canvas
    street: Street
    kit: Kit
    weather: Weather


def draw_back(stage: StreetView, blocks: dict[tuple[int, int], Block]) -> None:
    """Houses and the gardens between them, far to near, without those hidden by nearer fronts."""
    things = [(side, thing) for (_, side), block in blocks.items()
              for thing in (*block.buildings, *block.behind)]  # fmt: skip
    things.sort(key=lambda pair: _order(pair[1]))
    skyline, shown = Skyline(stage.canvas.camera), []
    for side, thing in things:
        if not isinstance(thing, Building) and _order(thing) > stage.canvas.camera.z + GARDENS:
            continue
        if skyline.hides(_extent(stage.street, side, thing)):
            continue
        bare = False  # whether the end wall shows
        if isinstance(thing, Building):
            x, z, deep = *_front(stage.street, side, thing)[::2], side * DEEP
            high = thing.height
            bare = z > stage.canvas.camera.z and not skyline.hides(
                [(x, 0, z), (x, high, z), (x + deep, 0, z), (x + deep, high, z)])  # fmt: skip
            z = max(z, stage.canvas.camera.z + 1.0)
            if z < thing.z1:
                offset = side * (stage.street.edge + thing.setback)
                near, _, _ = stage.street.spot(z, offset)
                far, _, _ = stage.street.spot(thing.z1, offset)
                skyline.add((near, high, z), (far, high, thing.z1))
        shown.append((side, thing, bare))
    for side, thing, bare in reversed(shown):
        if isinstance(thing, Tree):
            draw_tree(stage, thing)
        elif isinstance(thing, Panel):
            draw_panel(stage, thing)
        else:
            _draw_building(stage, thing, side, bare)


def _order(thing: Building | Panel | Tree) -> float:
    if isinstance(thing, Tree):
        return thing.z - 0.1
    return thing.z0 + 0.01 * (abs(thing.offset) if isinstance(thing, Panel) else 9)


def _front(street: Street, side: int, house: Building) -> Point:
    return street.spot(house.z0, side * (street.edge + house.setback))


def _extent(street: Street, side: int, thing: Building | Panel | Tree) -> list[Point]:
    """The corners of a box around a thing, world metres."""
    if isinstance(thing, Tree):
        x, _, z = street.spot(thing.z, thing.offset)
        wide = 0.375 * thing.height
        return [(x - wide, 0, z), (x + wide, thing.height, z)]
    if isinstance(thing, Panel):
        ends, deep, high = (thing.z0, thing.z1), 0.0, thing.height
        offset = thing.offset
    else:
        ends, deep, high = (thing.z0, thing.z1), side * DEEP, max(thing.height, thing.ridge + 1.2)
        offset = side * (street.edge + thing.setback)
    spots = [street.spot(z, o) for z in ends for o in (offset, offset + deep)]
    return [(x, y, z) for x, _, z in spots for y in (0.0, high)]


def _upright(street: Street, z0: float, z1: float, offset: float, high: float) -> np.ndarray:
    """A wall along the street (4, 3), bottom left first as seen from the road."""
    near, far = (street.spot(z, offset)[0] for z in (z0, z1))
    (xa, za), (xb, zb) = ((near, z0), (far, z1)) if offset < 0 else ((far, z1), (near, z0))
    return np.array([(xa, 0, za), (xb, 0, zb), (xb, high, zb), (xa, high, za)])


def _draw_building(stage: StreetView, house: Building, side: int, bare: bool) -> None:
    """Draw a house: end wall, roof, chimney and front."""
    canvas, street, weather = stage.canvas, stage.street, stage.weather
    x, _, z = _front(street, side, house)
    back, ridge_x = x + side * DEEP, x + side * DEEP / 2
    high, eye = house.height, canvas.camera
    shade = weather.light((0.0, 0.0, -1.0))
    if bare:
        a, b = min(x, back), max(x, back)
        end = np.array([(a, 0, z), (b, 0, z), (b, high, z), (a, high, z)])
        if z < eye.z + PLAIN:
            canvas.panel(house.blank, end, BUILDING, 0.92 * shade)
        else:
            canvas.polygon(end, [0.9 * shade * c for c in house.wall], BUILDING)
    if house.ridge:
        far_x, _, _ = street.spot(house.z1, side * (street.edge + house.setback))
        if z > eye.z:
            gable = np.array([(x, high, z), (ridge_x, house.ridge, z), (back, high, z)])
            canvas.polygon(gable, [0.9 * shade * c for c in house.wall], BUILDING)
        at, top = z + house.chimney * (house.z1 - z), house.ridge + 1.2
        if at > eye.z:
            left, right, low = ridge_x - 0.5, ridge_x + 0.5, house.ridge - 1
            stack = np.array([(left, low, at), (right, low, at), (right, top, at), (left, top, at)])
            canvas.polygon(stack, [0.75 * shade * c for c in house.wall], BUILDING)
        rise = (house.ridge - high) / (DEEP / 2)
        if eye.y > high - abs(x - eye.x) * rise:
            slope = np.array([(x, high, z), (far_x, high, house.z1),
                              (far_x + side * DEEP / 2, house.ridge, house.z1),
                              (ridge_x, house.ridge, z)])  # fmt: skip
            light = weather.light((-side * 0.7, 0.7, 0.0))
            canvas.polygon(slope, [light * c for c in house.roof], BUILDING)
    quad = _upright(street, z, house.z1, side * (street.edge + house.setback), high)
    canvas.panel(house.front, quad, BUILDING, weather.light((-side, 0.0, 0.0)))


def draw_tree(stage: StreetView, thing: Tree) -> None:
    """Draw a tree: trunk and crown."""
    size = (0.75 * thing.height, thing.height)
    foot = stage.street.spot(thing.z, thing.offset)
    light = stage.weather.light((0.0, 1.0, 0.0))
    stage.canvas.board(stage.kit.trees[thing.kind], foot, size, TREE, light, thing.mirror)


def draw_panel(stage: StreetView, panel: Panel) -> None:
    """Draw a hedge, whose class is tree, or a fence."""
    quad = _upright(stage.street, panel.z0, panel.z1, panel.offset, panel.height)
    light = stage.weather.light((-math.copysign(0.7, panel.offset), 0.7, 0.0))
    label = TREE if panel.kind == "hedge" else FENCE
    stage.canvas.panel(stage.kit.panels[panel.kind], quad, label, light)


def draw_post(stage: StreetView, post: Post) -> None:
    """Draw a pole with its lamp, its sign or its traffic light."""
    foot = stage.street.spot(post.z, post.offset)
    tall, r, paint = POSTS[post.kind]
    light = stage.weather.light((0.0, 0.5, -0.85))
    grey: Colour = [light * c for c in paint]
    bright: Colour = [1.2 * c for c in grey]
    shapes = [([(-r, 0.0), (r, 0.0), (0.7 * r, tall), (-0.7 * r, tall)], grey)]
    if post.z - stage.canvas.camera.z < 40:
        shine = [(-0.4 * r, 0.0), (0.3 * r, 0.0), (0.2 * r, tall), (-0.3 * r, tall)]
        shapes.append((shine, bright))
    if post.kind == "lamp":
        s = -math.copysign(1.0, post.offset)
        shapes.append(([(0.0, tall - 0.1), (s * 1.5, tall + 0.25), (s * 1.5, tall + 0.33),
                        (0.0, tall)], grey))  # fmt: skip
        shapes.append(([(s * 1.3, tall + 0.18), (s * 2, tall + 0.3), (s * 2, tall + 0.42),
                        (s * 1.3, tall + 0.36)], bright))  # fmt: skip
    stage.canvas.cutout(foot, shapes, POLE)
    if post.kind in ("sign", "light"):
        size = SIGN_SIZE[post.face]
        at = (foot[0], tall - size[1] + 0.05, post.z - 0.05)
        stage.canvas.board(stage.kit.signs[post.face], at, size, SIGN, light)
