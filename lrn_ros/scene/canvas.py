# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera over a flat world, and a canvas that draws an image and its label map at once.

World coordinates are in metres: x to the right, y up, z forward along the street.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

NEAR = 0.4  # metres; nothing closer than this is drawn


@dataclass(frozen=True)
class PinholeCamera:
    """Position in metres; yaw (right) and pitch (up) in radians; focal, height, width in pixels."""

    x: float
    y: float
    z: float
    yaw: float
    pitch: float
    focal: float
    height: int
    width: int

    @cached_property
    def centre(self) -> tuple[float, float]:
        """Principal point (u, v); integer coordinates are pixel centres."""
        return self.width / 2 - 0.5, self.height / 2 - 0.5

    @cached_property
    def horizon(self) -> float:
        """The image row of the horizon."""
        return self.centre[1] + self.focal * math.tan(self.pitch)

    @cached_property
    def rotation(self) -> np.ndarray:
        """(3, 3) world to camera axes (right, up, forward)."""
        cy, sy, cp, sp = (f(a) for a in (self.yaw, self.pitch) for f in (math.cos, math.sin))
        return np.array([[cy, 0, -sy], [-sp * sy, cp, -sp * cy], [cp * sy, sp, cp * cy]])

    @cached_property
    def _rows(self) -> list[list[float]]:
        rows: list[list[float]] = self.rotation.tolist()
        return rows

    def view(self, points: np.ndarray) -> np.ndarray:
        """World points (N, 3) in metres to camera axes (N, 3): right, up, depth."""
        return (points - (self.x, self.y, self.z)) @ self.rotation.T

    def pixels(self, view: np.ndarray) -> np.ndarray:
        """Camera-axis points (N, 3) with depth >= NEAR to image coordinates (N, 2) u, v."""
        spread = view[:, :2] * (self.focal / view[:, 2:])
        spread[:, 1] *= -1.0
        spread += self.centre
        return spread

    def point(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """One world point in metres to (u, v, depth); u and v mean nothing when depth <= 0."""
        dx, dy, dz = x - self.x, y - self.y, z - self.z
        right, up, depth = (a * dx + b * dy + c * dz for a, b, c in self._rows)
        scale = self.focal / max(depth, 1e-6)
        return self.centre[0] + right * scale, self.centre[1] - up * scale, depth


def clip_near(view: np.ndarray) -> np.ndarray:
    """Cut a convex polygon (N, 3) in camera axes at the near plane; nothing may be left of it."""
    depth = view[:, 2]
    if depth.min() >= NEAR:
        return view
    kept: list[np.ndarray] = []
    for here, after in zip(view, np.roll(view, -1, axis=0), strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (after[2] >= NEAR):
            kept.append(here + (after - here) * ((NEAR - here[2]) / (after[2] - here[2])))
    return np.array(kept).reshape(-1, 3)


SHIFT = 4  # fractional bits of the polygon corners
THIN = 12  # pixels; a panel this narrow gets one colour
Colour = Sequence[float]


@dataclass(frozen=True)
class Sprite:
    """A picture with a cut-out shape, at full, half, quarter ... size.

    levels: (h, w, 4) uint8 RGB and coverage, or (h, w, 3) when opaque; each half the one before.
    """

    levels: tuple[np.ndarray, ...]
    opaque: bool
    mean: tuple[float, float, float]


def make_sprite(rgb: np.ndarray, cover: np.ndarray | None = None) -> Sprite:
    """Build the levels from (h, w, 3) uint8 RGB and (h, w) uint8 coverage (None: opaque)."""
    levels = [rgb if cover is None else cv2.merge([*cv2.split(rgb), cover])]
    while min(levels[-1].shape[:2]) >= 16:
        h, w = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA))
    r, g, b = (float(c) for c in rgb.mean(axis=(0, 1)))
    return Sprite(tuple(levels), cover is None, (r, g, b))


@dataclass(frozen=True)
class Air:
    """Haze colour (RGB, 0 to 255) and the distance in metres at which 63 % of light is haze."""

    colour: tuple[float, float, float]
    distance: float

    @property
    def grey(self) -> float:
        """Mean of the haze colour."""
        return sum(self.colour) / 3

    def amount(self, depth: float) -> float:
        """Share of haze at a depth in metres."""
        return 1.0 - math.exp(-max(depth, 0.0) / self.distance)

    def through(self, colour: Colour, depth: float) -> tuple[float, float, float]:
        """How a colour looks through the haze from a depth in metres."""
        a = self.amount(depth)
        b, (red, green, blue) = 1.0 - a, self.colour
        return b * colour[0] + a * red, b * colour[1] + a * green, b * colour[2] + a * blue


def _split(patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cv2.cvtColor(patch, cv2.COLOR_RGBA2RGB), cv2.extractChannel(patch, 3)


class Canvas:
    """image: (H, W, 3) uint8 RGB; labels: (H, W) uint8; far things are drawn before near ones."""

    def __init__(self, camera: PinholeCamera, air: Air) -> None:
        self.camera = camera
        self.air = air
        self.image = np.empty((camera.height, camera.width, 3), np.uint8)
        self.labels = np.empty((camera.height, camera.width), np.uint8)

    def fill(self, pixels: np.ndarray, colour: Colour, label: int | None) -> None:
        """Fill a convex polygon given in pixels (N, 2); label None leaves the labels alone."""
        corners = (pixels * (1 << SHIFT)).round().astype(np.int32)
        cv2.fillConvexPoly(self.image, corners, colour, cv2.LINE_AA, SHIFT)
        if label is not None:
            cv2.fillConvexPoly(self.labels, corners, label, cv2.LINE_8, SHIFT)

    def polygon(self, points: np.ndarray, colour: Colour, label: int | None) -> None:
        """Fill a convex polygon given in world metres (N, 3), seen through the haze."""
        view = clip_near(self.camera.view(points))
        if len(view) >= 3:
            colour = self.air.through(colour, float(view[:, 2].mean()))
            self.fill(self.camera.pixels(view), colour, label)

    def panel(self, sprite: Sprite, quad: np.ndarray, label: int, light: float = 1.0) -> None:
        """Stretch a sprite over a standing rectangle.

        quad: (4, 3) metres, bottom left first, anticlockwise as seen. The label covers the whole
        rectangle: what shows dimly through the gaps of a fence counts as fence.
        """
        view = self.camera.view(quad)
        a, b = (float(d) for d in np.minimum(view[:2, 2], view[:1:-1, 2]))  # depth of either end
        limit = 2 * NEAR
        if max(a, b) <= limit:
            return
        left, right = 0.0, 1.0  # the part of the panel in front of the near plane
        if min(a, b) < limit:
            cut = (limit - a) / (b - a)
            left, right = (cut, 1.0) if a < b else (0.0, cut)
            bottom, top = view[1] - view[0], view[2] - view[3]
            view = np.stack([view[0] + left * bottom, view[0] + right * bottom,
                             view[3] + right * top, view[3] + left * top])  # fmt: skip
        if view[:, 2].min() < NEAR:
            return
        pixels = self.camera.pixels(view)
        box = self._box(*pixels.min(axis=0), *pixels.max(axis=0))
        if box is None:
            return
        x0, y0, x1, y1 = box
        if min(x1 - x0, y1 - y0) <= THIN:
            colour = self.air.through([light * c for c in sprite.mean], 0.5 * (a + b))
            self.fill(pixels, colour, label)
            return
        texture = self._level(sprite, float(pixels[:, 1].max() - pixels[:, 1].min()))
        h, w = texture.shape[:2]
        source = np.array([[left * w, h], [right * w, h], [right * w, 0], [left * w, 0]]) - 0.5
        target = pixels - (x0, y0)
        warp = cv2.getPerspectiveTransform(source.astype(np.float32), target.astype(np.float32))
        size = (x1 - x0, y1 - y0)
        if sprite.opaque:
            patch = cv2.warpPerspective(texture, warp, size, borderMode=cv2.BORDER_REPLICATE)
        else:
            patch, alpha = _split(cv2.warpPerspective(texture, warp, size))
        patch = self._lit(patch, light, 0.5 * (a + b))
        corners = (target * (1 << SHIFT)).round().astype(np.int32)
        mask = cv2.fillConvexPoly(np.zeros((size[1], size[0]), np.uint8), corners, 1,
                                  cv2.LINE_8, SHIFT)  # fmt: skip
        image = self.image[y0:y1, x0:x1]
        if not sprite.opaque:
            alpha = cv2.merge([alpha, alpha, alpha])
            patch = cv2.add(cv2.multiply(patch, alpha, scale=1 / 255),
                            cv2.multiply(image, cv2.bitwise_not(alpha), scale=1 / 255))  # fmt: skip
        cv2.copyTo(patch, mask, image)
        cv2.fillConvexPoly(self.labels[y0:y1, x0:x1], corners, label, cv2.LINE_8, SHIFT)

    def board(
        self, sprite: Sprite, foot: tuple[float, float, float], size: tuple[float, float],
        label: int, light: float = 1.0, mirror: bool = False,
    ) -> None:  # fmt: skip
        """Stand a sprite of size (width, height) metres, facing the camera, on a point."""
        u, v, depth = self.camera.point(*foot)
        if depth < 2 * NEAR:
            return
        scale = self.camera.focal / depth
        wide, tall = size[0] * scale, size[1] * scale
        box = self._box(u - wide / 2, v - tall, u + wide / 2, v)
        if box is None or tall < 1.5:
            return
        x0, y0, x1, y1 = box
        texture = self._level(sprite, tall)
        h, w = texture.shape[:2]
        ax, ay = wide / w, tall / h
        sign = -1 if mirror else 1
        warp = np.array([[sign * ax, 0, u - sign * (wide - ax) / 2 - x0],
                         [0, ay, v - tall - y0 + ay / 2]])  # fmt: skip
        area = (x1 - x0, y1 - y0)
        patch, cover = _split(cv2.warpAffine(texture, warp, area))
        patch = self._lit(patch, light, depth)
        mask = cv2.threshold(cover, 120, 1, cv2.THRESH_BINARY)[1]
        cv2.copyTo(patch, mask, self.image[y0:y1, x0:x1])
        np.copyto(self.labels[y0:y1, x0:x1], np.uint8(label), where=mask.view(bool))

    def cutout(
        self, foot: tuple[float, float, float],
        shapes: Sequence[tuple[Sequence[tuple[float, float]], Colour]], label: int,
    ) -> None:  # fmt: skip
        """Stand flat convex shapes, facing the camera, on a point: corners (right, up) metres."""
        u, v, depth = self.camera.point(*foot)
        if depth < 2 * NEAR:
            return
        scale = self.camera.focal / depth
        for corners, colour in shapes:
            pixels = np.array([(u + x * scale, v - y * scale) for x, y in corners])
            self.fill(pixels, self.air.through(colour, depth), label)

    def _box(
        self, left: float, top: float, right: float, bottom: float
    ) -> tuple[int, int, int, int] | None:
        """The part of the image that a shape may touch: x0, y0, x1, y1; None if it is outside."""
        x0, y0 = max(math.floor(left), 0), max(math.floor(top), 0)
        x1 = min(math.ceil(right) + 1, self.camera.width)
        y1 = min(math.ceil(bottom) + 1, self.camera.height)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    @staticmethod
    def _level(sprite: Sprite, tall: float) -> np.ndarray:
        """The smallest level of the sprite that is about as tall as the sprite will be drawn."""
        ratio = len(sprite.levels[0]) / max(tall, 1.0)
        return sprite.levels[min(max(round(math.log2(max(ratio, 1.0))), 0), len(sprite.levels) - 1)]

    def _lit(self, patch: np.ndarray, light: float, depth: float) -> np.ndarray:
        a = self.air.amount(depth)
        return cv2.convertScaleAbs(patch, alpha=(1 - a) * light, beta=a * self.air.grey)
