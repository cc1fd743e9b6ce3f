# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cut-out sprites of things that are no boxes: walkers, cyclists, trees and traffic signs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from lrn_ros.scene.canvas import Colour, Sprite, make_sprite
from lrn_ros.scene.textures import cloudy

PHASES = 12  # pictures in one walking or pedalling cycle
WALKER = (1.1, 1.9)  # metres, width and height of a walker's picture
CYCLIST_SIDE, CYCLIST_END = (2.0, 1.9), (1.0, 1.9)
CLOTHES = (
    (34, 36, 42), (52, 58, 84), (96, 30, 34), (84, 92, 60), (150, 146, 138), (70, 52, 44),
    (196, 190, 180), (44, 84, 110), (140, 104, 66), (88, 62, 92), (150, 54, 48), (40, 60, 48),
    (58, 58, 60), (24, 26, 34), (110, 112, 116), (176, 160, 80),
)  # fmt: skip
TROUSERS = ((36, 40, 56), (28, 28, 30), (64, 76, 104), (96, 88, 74), (60, 56, 52), (120, 112, 96))
SKINS = ((214, 170, 142), (190, 140, 110), (128, 88, 64), (226, 186, 160))
HAIRS = ((40, 30, 24), (90, 66, 42), (150, 120, 76), (60, 58, 56), (24, 22, 22))


@dataclass(frozen=True)
class Look:
    """Colours of one person, RGB 0 to 255."""

    coat: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    long_coat: bool
    bag: bool


def make_look(rng: np.random.Generator) -> Look:
    """The colours of a person's clothes, drawn at random."""
    coat, trousers, skin, hair = (
        tuple(float(c) for c in np.array(table[rng.integers(len(table))]) * rng.uniform(0.8, 1.15))
        for table in (CLOTHES, TROUSERS, SKINS, HAIRS)
    )
    return Look(coat, trousers, skin, hair, rng.random() < 0.35, rng.random() < 0.4)


class Sketch:
    """A picture in metres: origin at the foot in the middle, y up."""

    def __init__(self, size: tuple[float, float], scale: int = 128) -> None:
        self.size, self.scale = size, scale
        self.rgb = np.full((round(size[1] * scale), round(size[0] * scale), 3), 70, np.uint8)
        self.cover = np.zeros(self.rgb.shape[:2], np.uint8)

    def _spot(self, x: float, y: float) -> tuple[int, int]:
        return (
            round((x + self.size[0] / 2) * self.scale * 16),
            round((self.size[1] - y) * self.scale * 16),
        )

    def limb(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        """A bent tube, width in metres."""
        path = [np.array([self._spot(*p) for p in points], np.int32)]
        thick = max(round(width * self.scale), 1)
        cv2.polylines(self.rgb, path, False, colour, thick, cv2.LINE_AA, 4)
        cv2.polylines(self.cover, path, False, 255, thick, cv2.LINE_AA, 4)

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """A filled polygon."""
        path = [np.array([self._spot(*p) for p in points], np.int32)]
        cv2.fillPoly(self.rgb, path, colour, cv2.LINE_AA, 4)
        cv2.fillPoly(self.cover, path, 255, cv2.LINE_AA, 4)

    def oval(self, at: tuple[float, float], radii: tuple[float, float], colour: Colour,
             line: float = 0.0) -> None:  # fmt: skip
        """A filled ellipse, or its outline when line (metres) is given."""
        axes = (round(radii[0] * self.scale * 16), round(radii[1] * self.scale * 16))
        thick = max(round(line * self.scale), 2) if line else -1
        for target, value in ((self.rgb, colour), (self.cover, 255)):
            cv2.ellipse(target, self._spot(*at), axes, 0, 0, 360, value, thick, cv2.LINE_AA, 4)

    def sprite(self) -> Sprite:
        """Shade the picture from one side with a little cloth texture."""
        h, w = self.cover.shape
        tone = np.linspace(1.12, 0.85, w)[None] * (0.85 + 0.3 * _cloth(h, w))
        depth = cv2.distanceTransform(self.cover, cv2.DIST_L2, 3)
        tone = tone * (0.72 + 0.28 * np.clip(depth / 7, 0, 1))
        return make_sprite(np.clip(self.rgb * tone[..., None], 0, 255).astype(np.uint8), self.cover)


@lru_cache(maxsize=8)
def _cloth(height: int, width: int) -> np.ndarray:
    return cloudy(np.random.default_rng(7), height, width, 12)


def walker(look: Look, view: str, phase: int, still: bool = False) -> Sprite:
    """A person seen from "front", "back" or "side" (going right), phase of PHASES."""
    side = view == "side"
    s = Sketch(WALKER)
    swing = 0.0 if still else math.sin(2 * math.pi * phase / PHASES)
    lift = 0.0 if still else 0.02 * abs(math.cos(2 * math.pi * phase / PHASES))
    hip, shoulder, head = 0.9 + lift, 1.42 + lift, 1.62 + lift
    dark = tuple(0.8 * c for c in look.trousers)
    shoe = (30.0, 28.0, 28.0)
    sleeve = tuple(0.85 * c for c in look.coat)
    if side:
        for way, colour in ((-1, dark), (1, look.trousers)):
            a = 0.5 * way * swing
            bend = 0.1 + (0.5 * max(0.0, -way * math.cos(2 * math.pi * phase / PHASES)))
            bend = 0.02 if still else bend
            knee = (0.46 * math.sin(a), hip - 0.46 * math.cos(a))
            foot = (knee[0] + 0.44 * math.sin(a - bend), knee[1] - 0.42 * math.cos(a - bend))
            s.limb([(0, hip), knee, foot], 0.13, colour)
            s.limb([foot, (foot[0] + 0.13, foot[1] - 0.01)], 0.08, shoe)
        hand = (0.08 - 0.3 * swing, 0.9)
        s.limb([(0, shoulder - 0.04), (-0.2 * swing, 1.12), hand], 0.09, sleeve)
        body = [(-0.12, shoulder), (0.1, shoulder), (0.14, 1.15), (0.12, hip - 0.06),
                (-0.13, hip - 0.06)]  # fmt: skip
        if look.long_coat:
            body[3:] = [(0.18, 0.6), (-0.18, 0.6)]
        s.shape(body, look.coat)
        if look.bag:
            s.oval((-0.18, 1.2), (0.1, 0.2), sleeve)
        s.limb([(0, shoulder - 0.05), (0.22 * swing, 1.14), (0.3 * swing + 0.1, 0.92)], 0.1, sleeve)
    else:
        for way in (-1, 1):
            up = 0.08 * max(0.0, way * swing)
            s.limb([(0.09 * way, hip), (0.1 * way, 0.5 + up / 2), (0.09 * way, 0.07 + up)], 0.14,
                   look.trousers if way > 0 else dark)  # fmt: skip
            s.limb([(0.09 * way, 0.05 + up), (0.11 * way, 0.04 + up)], 0.1, shoe)
            s.limb([(0.2 * way, shoulder - 0.05), (0.27 * way, 1.13),
                    (0.25 * way, 0.9 + 0.06 * way * swing)], 0.1, sleeve)  # fmt: skip
            s.oval((0.25 * way, 0.86 + 0.06 * way * swing), (0.045, 0.05), look.skin)
        low = 0.62 if look.long_coat else hip - 0.08
        s.shape([(-0.23, shoulder - 0.03), (-0.1, shoulder + 0.04), (0.1, shoulder + 0.04),
                 (0.23, shoulder - 0.03), (0.17, 1.1), (0.2, low), (-0.2, low), (-0.17, 1.1)],
                look.coat)  # fmt: skip
    s.limb([(0.01, shoulder), (0.02, head - 0.05)], 0.1, look.skin)
    s.oval((0.02, head), (0.095, 0.125), look.skin)
    s.oval((0.0 if not side else -0.02, head + 0.03), (0.1, 0.11), look.hair)
    if view != "back":
        s.oval((0.055 if side else 0.02, head - 0.03), (0.06 if side else 0.075, 0.08), look.skin)
    return s.sprite()


def cyclist(look: Look, view: str, phase: int) -> Sprite:
    """A rider seen from "front", "back" or "side" (going right), phase of PHASES."""
    turn = 2 * math.pi * phase / PHASES
    iron, tyre = tuple(0.6 * c + 40 for c in look.hair), (26.0, 26.0, 28.0)
    sleeve = tuple(0.85 * c for c in look.coat)
    if view != "side":
        s = Sketch(CYCLIST_END)
        s.oval((0, 0.34), (0.035, 0.34), tyre)
        s.limb([(0, 0.5), (0, 0.95)], 0.05, iron)
        for way in (-1, 1):
            low = 0.3 + 0.16 * way * math.sin(turn)
            s.limb([(0.1 * way, 0.95), (0.17 * way, low + 0.42), (0.12 * way, low)], 0.13,
                   look.trousers)  # fmt: skip
            s.limb([(0.12 * way, low), (0.13 * way, low - 0.03)], 0.09, tyre)
            s.limb([(0.2 * way, 1.4), (0.31 * way, 1.2), (0.27 * way, 1.03)], 0.09, sleeve)
        s.limb([(-0.29, 1.02), (0.29, 1.02)], 0.03, iron)
        s.shape([(-0.22, 1.38), (0, 1.5), (0.22, 1.38), (0.18, 0.92), (-0.18, 0.92)], look.coat)
        s.oval((0, 1.62), (0.095, 0.13), look.skin)
        s.oval((0, 1.68), (0.115, 0.1), look.coat if look.bag else look.hair)
        if view == "front":
            s.oval((0, 1.59), (0.075, 0.08), look.skin)
        return s.sprite()
    s = Sketch(CYCLIST_SIDE)
    for x in (-0.52, 0.54):
        s.oval((x, 0.34), (0.32, 0.32), tyre, 0.045)
        for k in range(6):
            a = math.pi * k / 6 + turn
            dx, dy = 0.3 * math.cos(a), 0.3 * math.sin(a)
            s.limb([(x - dx, 0.34 - dy), (x + dx, 0.34 + dy)], 0.012, (110.0, 110.0, 112.0))
    for way in (-1, 1):
        pedal = (0.17 * way * math.cos(turn), 0.32 - 0.17 * way * math.sin(turn))
        if way > 0:
            s.limb([(-0.52, 0.34), (-0.22, 0.86), (0.4, 0.8), (0, 0.32), (-0.52, 0.34)], 0.04, iron)
            s.limb([(0, 0.32), (-0.24, 0.95)], 0.04, iron)
            s.limb([(0.54, 0.34), (0.4, 0.95), (0.5, 1.02)], 0.04, iron)
        knee = (0.16 + 0.5 * pedal[0], 0.8 + 0.45 * (pedal[1] - 0.3))
        shade = 1.0 if way > 0 else 0.75
        s.limb([(-0.22, 0.96), knee, pedal], 0.13, tuple(shade * c for c in look.trousers))
        s.limb([pedal, (pedal[0] + 0.14, pedal[1])], 0.08, tyre)
    s.limb([(-0.34, 0.96), (-0.12, 0.97)], 0.07, tyre)
    s.shape([(-0.34, 0.98), (-0.14, 0.9), (0.22, 1.36), (0.08, 1.5), (-0.12, 1.36)], look.coat)
    s.limb([(0.13, 1.38), (0.24, 1.14), (0.46, 1.04)], 0.09, sleeve)
    s.oval((0.24, 1.6), (0.1, 0.125), look.skin)
    s.oval((0.21, 1.66), (0.12, 0.1), look.coat if look.bag else look.hair)
    return s.sprite()


def tree(rng: np.random.Generator) -> Sprite:
    """A street tree, 3 : 4 as wide as high, with trunk, branches and speckled leaves."""
    h, w = 320, 240
    crown = np.zeros((h, w), np.float32)
    light = np.zeros((h, w), np.float32)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    for _ in range(46):
        a, r = rng.uniform(0, 2 * math.pi), math.sqrt(rng.random())
        cx, cy = w / 2 + 78 * r * math.cos(a), 108 + 76 * r * math.sin(a)
        size = rng.uniform(18, 34)
        blob = np.clip(1 - ((xx - cx) ** 2 + (yy - cy) ** 2) / size**2, 0, 1)
        top = np.clip(0.5 - 0.5 * ((yy - cy) + 0.4 * (xx - cx)) / size, 0, 1) * (blob > 0)
        fresh = blob > 0.02
        light[fresh] = 0.55 * light[fresh] + 0.45 * top[fresh] + rng.normal(0, 0.04)
        crown = np.maximum(crown, blob)
    leaves = cloudy(rng, h, w, 48)
    solid = crown + 0.8 * (leaves - 0.5) * (crown > 0.004) > 0.14
    speck = 0.42 + 0.75 * light + 0.5 * (leaves - 0.5) + rng.normal(0, 0.09, (h, w))
    speck *= np.linspace(1.12, 0.85, h)[:, None]
    green = np.array([rng.uniform(70, 108), rng.uniform(88, 112), rng.uniform(38, 56)])
    bark = np.array([74, 64, 54]) * rng.uniform(0.7, 1.1)
    rgb = np.zeros((h, w, 3), np.float32) + bark * (0.7 + 0.5 * cloudy(rng, h, w, 20)[..., None])
    cover = np.zeros((h, w), np.uint8)
    lean = rng.uniform(-8, 8)
    fork = int(w / 2 + lean)
    trunk = np.array([[w // 2 - 9, h], [w // 2 + 9, h], [fork + 6, 140], [fork - 6, 140]])
    cv2.fillConvexPoly(cover, trunk, 255)
    for _ in range(5):
        end = (int(w / 2 + rng.uniform(-60, 60)), int(rng.uniform(80, 150)))
        cv2.line(cover, (int(w / 2 + lean), int(rng.uniform(160, 200))), end, 255, 5)
    rgb[solid] = (green * speck[..., None])[solid]
    cover[solid] = 255
    return make_sprite(np.clip(rgb, 0, 255).astype(np.uint8), cover)


def sign(kind: int) -> Sprite:
    """A traffic sign of one of six kinds; kind 5 is a three-lamp traffic light, 1 : 3."""
    s = Sketch((0.5, 1.5), 96) if kind == 5 else Sketch((1.0, 1.0), 96)
    white, red, blue = (232.0, 232.0, 228.0), (196.0, 28.0, 34.0), (26.0, 78.0, 160.0)
    black = (24.0, 24.0, 26.0)
    if kind == 0:
        s.oval((0, 0.5), (0.48, 0.48), red)
        s.oval((0, 0.5), (0.36, 0.36), white)
        s.oval((-0.13, 0.5), (0.07, 0.17), black, 0.06)
        s.oval((0.13, 0.5), (0.08, 0.17), black, 0.06)
    elif kind == 1:
        s.shape([(-0.48, 0.06), (0.48, 0.06), (0, 0.94)], red)
        s.shape([(-0.32, 0.15), (0.32, 0.15), (0, 0.74)], white)
        s.limb([(0, 0.26), (0, 0.5)], 0.09, black)
    elif kind == 2:
        s.oval((0, 0.5), (0.48, 0.48), blue)
        s.limb([(-0.22, 0.7), (0.18, 0.3)], 0.1, white)
        s.shape([(0.28, 0.2), (0.24, 0.46), (0.02, 0.22)], white)
    elif kind == 3:
        colour = (18.0, 92.0, 62.0)
        s.shape([(-0.5, 0.15), (0.5, 0.15), (0.5, 0.85), (-0.5, 0.85)], white)
        s.shape([(-0.47, 0.19), (0.47, 0.19), (0.47, 0.81), (-0.47, 0.81)], colour)
        s.limb([(-0.36, 0.62), (0.3, 0.62)], 0.08, white)
        s.limb([(-0.36, 0.38), (0.14, 0.38)], 0.08, white)
    elif kind == 4:
        s.shape([(-0.36, 0.0), (0.36, 0.0), (0.36, 1.0), (-0.36, 1.0)], blue)
        s.limb([(-0.12, 0.2), (-0.12, 0.8)], 0.12, white)
        s.oval((0.02, 0.66), (0.16, 0.13), white, 0.1)
    else:
        s.shape([(-0.25, 0.0), (0.25, 0.0), (0.25, 1.5), (-0.25, 1.5)], black)
        s.oval((0, 1.22), (0.18, 0.18), (96.0, 22.0, 22.0))
        s.oval((0, 0.76), (0.18, 0.18), (80.0, 56.0, 20.0))
        s.oval((0, 0.3), (0.18, 0.18), (60.0, 220.0, 150.0))
    return s.sprite()
