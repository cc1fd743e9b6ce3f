# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Finds what house fronts hide, by the highest covered row of each column of the image."""

from __future__ import annotations

import math

import numpy as np

from lrn_ros.scene.camera import NEAR, Camera

Point = tuple[float, float, float]


class Skyline:
    """The covered part of the image. House fronts are added from near to far."""

    def __init__(self, camera: Camera) -> None:
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
