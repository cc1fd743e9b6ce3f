# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera over a flat world: x right, y up, z forward along the street, metres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEAR = 0.4  # metres; nothing closer than this is drawn


@dataclass(frozen=True)
class Camera:
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
