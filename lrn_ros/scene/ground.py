# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The road surface: asphalt, markings, kerbs, pavement, and the shadows that lie on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from lrn_ros.scene.canvas import NEAR, SHIFT, Canvas, Colour, PinholeCamera, clip_near
from lrn_ros.scene.sky import Weather
from lrn_ros.scene.textures import asphalt

ROAD, PAVEMENT = 3, 4
REACH = 320.0  # metres of road drawn ahead
GRAIN = 26  # texture pixels a metre
GRAIN_AHEAD, GRAIN_PERIOD, GRAIN_WIDE = 40, 16, 48  # metres
DASH, GAP = 4.0, 5.0  # metres of centre line
KERB = 0.1  # metres
PRIMES = (3.1, 7.7, 5.3, 1.9)  # scatter the repairs of the road


@dataclass(frozen=True)
class Street:
    """The road in plan: half its width and the pavement's width in metres, and its bends."""

    half: float
    pavement: float
    bends: tuple[tuple[float, float, float], ...]  # (amplitude m, radians a metre, phase)

    @property
    def edge(self) -> float:
        """Distance of the pavement's back from the road's middle, metres."""
        return self.half + self.pavement

    def middle(self, z: np.ndarray) -> np.ndarray:
        """The road's middle, x in metres, at each z (N,)."""
        return sum((a * np.sin(k * z + p) for a, k, p in self.bends), start=np.zeros(len(z)))

    def spot(self, z: float, offset: float) -> tuple[float, float, float]:
        """The point on the ground at z, offset metres right of the road's middle."""
        return sum(a * math.sin(k * z + p) for a, k, p in self.bends) + offset, 0.0, z

    def heading(self, z: float) -> float:
        """Direction of the road at z in radians, right positive."""
        return math.atan(sum(a * k * math.cos(k * z + p) for a, k, p in self.bends))


class Ground:
    """Paints everything flat in front of the camera."""

    def __init__(self, rng: np.random.Generator, street: Street, weather: Weather) -> None:
        self.street, self.weather = street, weather
        light = weather.light((0, 1, 0))
        tar = rng.uniform(88, 116) * light
        self.tar = np.array([tar, tar * 0.99, tar * 0.98])
        stone = rng.uniform(122, 150) * light
        self.stone = np.array([stone * 1.03, stone, stone * 0.95])
        self.paint = np.array([212.0, 210, 204]) * light * rng.uniform(0.85, 1)
        self.yellow = np.array([196.0, 168, 74]) * light
        self.phase = rng.uniform(0, 6)
        self.double = rng.random() < 0.6
        self.grain = asphalt(rng, GRAIN_AHEAD * GRAIN, GRAIN_WIDE * GRAIN, GRAIN_PERIOD * GRAIN)

    def _strip(self, z: np.ndarray, left: float, right: float, y: float = 0.0) -> np.ndarray:
        """World corners (2 N, 3) of a strip between two offsets, out along one edge and back."""
        middle, flat = self.street.middle(z), np.full(len(z), y)
        there = np.stack([middle + left, flat, z], axis=1)
        back = np.stack([middle + right, flat, z], axis=1)
        return np.concatenate([there, back[::-1]])

    def paint_on(
        self, canvas: Canvas, crossings: list[float], shadows: list[tuple[np.ndarray, float]]
    ) -> None:
        """Draw the ground; crossings are zebra positions, shadows world polygons with strength."""
        camera = canvas.camera
        top = min(max(math.ceil(camera.horizon), 0), camera.height)
        if top >= camera.height:
            return
        corner, stone = (camera.width, camera.height), [min(float(c), 255.0) for c in self.stone]
        cv2.rectangle(canvas.image, (0, top), corner, stone, -1)
        canvas.labels[top:] = PAVEMENT
        half = self.street.half
        ahead = camera.z + np.geomspace(1.0, REACH, 44) - 0.4
        self._area(canvas, self._strip(ahead, -half, half), self.tar, ROAD)
        for s in (-1, 1):
            self._area(canvas, self._strip(ahead, s * half, s * (half + 0.16), KERB),
                       self.stone * 1.1, PAVEMENT)  # fmt: skip
            for at in (0.55, 0.35) if self.double else (0.4,):
                colour = self.yellow if self.double else self.paint
                near = ahead[ahead < camera.z + 90]
                self._area(canvas, self._strip(near, s * (half - at), s * (half - at + 0.1)),
                           colour, ROAD)  # fmt: skip
        self._repairs(canvas)
        self._marks(canvas, crossings)
        self._slabs(canvas, half)
        self._shade(canvas, top, shadows)

    def _area(self, canvas: Canvas, world: np.ndarray, colour: np.ndarray, label: int) -> None:
        view = canvas.camera.view(world)
        if view[:, 2].min() < NEAR:
            view = view[view[:, 2] >= NEAR]
        if len(view) < 3:
            return
        pixels = (canvas.camera.pixels(view) * (1 << SHIFT)).round().astype(np.int32)
        shade: Colour = [min(float(c), 255.0) for c in colour]
        cv2.fillPoly(canvas.image, [pixels], shade, cv2.LINE_AA, SHIFT)
        cv2.fillPoly(canvas.labels, [pixels], label, cv2.LINE_8, SHIFT)

    def _marks(self, canvas: Canvas, crossings: list[float]) -> None:
        z, half = canvas.camera.z, self.street.half
        step = DASH + GAP
        first = math.floor(z / step)
        white = [(k * step, DASH, -0.07, 0.07) for k in range(first, first + 12)
                 if all(abs(k * step + DASH / 2 - c) > 6 for c in crossings)]  # fmt: skip
        for c in crossings:
            if c < z + 80:
                white += [(c - 1.6, 3.2, 0.5 + 1.2 * k - half, 1.1 + 1.2 * k - half)
                          for k in range(int(2 * half / 1.2))]  # fmt: skip
                white += [(c - 4.2, 0.25, 0.7 - half, -0.1), (c + 4.2, 0.25, 0.1, half - 0.7)]
        self._quads(canvas, white, self.paint)

    def _repairs(self, canvas: Canvas) -> None:
        """Draw patches of newer tar, and iron covers, a few in every block."""
        z, half = canvas.camera.z, self.street.half
        patches, covers = [], []
        for k in range(math.floor(z / 14) - 1, math.floor(z / 14) + 5):
            a, b, c, d = (math.modf(9999 * math.sin(k * q + self.phase))[0] for q in PRIMES)
            x = a * (half - 1.6)
            patches.append((14 * (k + abs(b)), 1 + 5 * abs(c), x, x + 0.5 + 0.9 * abs(d)))
            covers.append((14 * (k + abs(d)), 0.6, b * (half - 1), b * (half - 1) + 0.6))
        self._quads(canvas, patches, self.tar * 0.86)
        self._quads(canvas, covers, self.tar * 0.6)

    def _quads(
        self, canvas: Canvas, boxes: list[tuple[float, float, float, float]], colour: np.ndarray
    ) -> None:
        """Road-class rectangles (z, length, left, right), metres, in one go."""
        camera = canvas.camera
        box = np.array([b for b in boxes if b[0] + b[1] > camera.z + 0.8]).reshape(-1, 4)
        if not len(box):
            return
        z0, z1 = np.maximum(box[:, 0], camera.z + 0.7), box[:, 0] + box[:, 1]
        m0, m1 = self.street.middle(z0), self.street.middle(z1)
        x = np.stack([m0 + box[:, 2], m0 + box[:, 3], m1 + box[:, 3], m1 + box[:, 2]], axis=1)
        world = np.stack([x, np.zeros_like(x), np.stack([z0, z0, z1, z1], axis=1)], axis=2)
        view = camera.view(world.reshape(-1, 3))
        keep = view[:, 2].reshape(-1, 4).min(axis=1) > NEAR
        view[:, 2] = np.maximum(view[:, 2], NEAR)
        pixels = (camera.pixels(view) * (1 << SHIFT)).round().astype(np.int32)
        quads = list(pixels.reshape(-1, 4, 2)[keep])
        shade = [min(float(c), 255.0) for c in colour]
        for quad in quads:
            cv2.fillConvexPoly(canvas.image, quad, shade, cv2.LINE_AA, SHIFT)
            cv2.fillConvexPoly(canvas.labels, quad, ROAD, cv2.LINE_8, SHIFT)

    def _slabs(self, canvas: Canvas, half: float) -> None:
        """Draw the joints between paving stones, only those near the camera."""
        camera = canvas.camera
        z = 0.75 * np.arange(math.ceil((camera.z + 1.5) / 0.75), math.floor((camera.z + 22) / 0.75))
        middle = self.street.middle(z)
        colour = tuple(float(c) * 0.86 for c in self.stone)
        for s in (-1, 1):
            ends = [np.stack([middle + s * (half + w), np.zeros(len(z)), z], axis=1)
                    for w in (0.16, self.street.pavement)]  # fmt: skip
            lines = np.concatenate(ends)
            view = camera.view(lines)
            keep = (view[: len(z), 2] > NEAR) & (view[len(z) :, 2] > NEAR)
            view[:, 2] = np.maximum(view[:, 2], NEAR)
            pixels = (camera.pixels(view) * (1 << SHIFT)).round().astype(np.int32)
            pairs = np.stack([pixels[: len(z)], pixels[len(z) :]], axis=1)[keep]
            cv2.polylines(canvas.image, list(pairs), False, colour, 1, cv2.LINE_AA, SHIFT)

    def _shade(self, canvas: Canvas, top: int, shadows: list[tuple[np.ndarray, float]]) -> None:
        """Multiply the ground by grain and shadow, then let the haze in."""
        camera, image = canvas.camera, canvas.image
        shade: np.ndarray
        shade = np.full((camera.height - top, camera.width), 255, np.uint8)
        views = camera.view(np.concatenate([np.zeros((0, 3)), *(s for s, _ in shadows)]))
        start = 0
        for world, strength in shadows:
            view = clip_near(views[start : start + len(world)])
            start += len(world)
            if len(view) >= 3:
                pixels = camera.pixels(view) - (0, top)
                corners = (pixels * (1 << SHIFT)).round().astype(np.int32)
                cv2.fillConvexPoly(shade, corners, 255 * (1 - strength), cv2.LINE_8, SHIFT)
        size = 2 * (camera.height // 128) + 1
        soft = np.asarray(cv2.blur(shade, (size, size)))
        shade = np.asarray(cv2.multiply(soft, self._grain(camera, top), scale=1 / 255))
        rows = np.arange(top, camera.height)
        depth = camera.y * camera.focal / np.maximum(rows - camera.horizon, 0.5)
        haze = 1 - np.exp(-depth / self.weather.air.distance)
        much = int((haze > 0.05).sum())
        wide = (1, camera.width)
        clear = np.tile((255 * (1 - haze[:much, None])).astype(np.uint8), wide)
        milk = (haze[:much, None, None] * self.weather.air.colour).astype(np.uint8)
        if much:
            shade[:much] = cv2.multiply(shade[:much], clear, scale=1 / 255)
        three = cv2.merge([shade, shade, shade])
        cv2.multiply(image[top:], three, image[top:], scale=1 / 128)
        if much:
            part = image[top : top + much]
            cv2.add(part, np.tile(milk, (*wide, 1)), part)

    def _grain(self, camera: PinholeCamera, top: int) -> np.ndarray:
        """(H - top, W) uint8: the grain texture laid on the ground as the camera sees it."""
        start = math.floor(camera.z / GRAIN_PERIOD) * GRAIN_PERIOD
        x0 = self.street.spot(camera.z, -GRAIN_WIDE / 2)[0]
        near, far = camera.z + 1.0, camera.z + GRAIN_AHEAD - GRAIN_PERIOD + 8
        tilt = math.tan(self.street.heading(camera.z))
        texture, world = [], []
        for z, x in ((near, -4), (near, 4), (far, 16), (far, -16)):
            texture.append(((x + GRAIN_WIDE / 2) * GRAIN, (z - start) * GRAIN))
            shift = x0 + GRAIN_WIDE / 2 + tilt * (z - camera.z)
            world.append((shift + x, 0.0, z))
        pixels = camera.pixels(camera.view(np.array(world))) - (0, top)
        warp = cv2.getPerspectiveTransform(np.array(texture, np.float32), pixels.astype(np.float32))
        return cv2.warpPerspective(self.grain, warp, (camera.width, camera.height - top),
                                   borderMode=cv2.BORDER_CONSTANT, borderValue=128)  # fmt: skip
