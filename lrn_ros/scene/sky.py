# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weather: the light of a scene, its haze, and a panorama of sky and far skyline."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from lrn_ros.scene.canvas import Air, PinholeCamera
from lrn_ros.scene.textures import cloudy

BUILDING, TREE = 1, 5  # class ids
SWING = 0.34  # how far the view may turn either way, in units of the focal length


@dataclass(frozen=True)
class Weather:
    """Sun direction (3,), ambient light 0 to 1, strength of hard shadows 0 to 1, and the air."""

    sun: np.ndarray
    ambient: float
    shadow: float
    air: Air
    zenith: tuple[float, float, float]
    clouds: float

    def light(self, normal: tuple[float, float, float]) -> float:
        """Brightness of a surface with this unit normal."""
        return self.ambient + (1.15 - self.ambient) * max(0.0, float(self.sun @ normal))


def make_weather(rng: np.random.Generator) -> Weather:
    """The weather of a seed: overcast, hazy or clear."""
    kind = int(rng.integers(3))
    azimuth, height = rng.uniform(0, 2 * math.pi), rng.uniform(0.45, 1.0)
    sun = np.array([math.cos(height) * math.sin(azimuth), math.sin(height),
                    math.cos(height) * math.cos(azimuth)])  # fmt: skip
    ambient, shadow, clouds = ((0.86, 0.0, 1.0), (0.7, 0.3, 0.7), (0.56, 0.5, 0.4))[kind]
    grey = rng.uniform(188, 226)
    haze = ((grey, grey + 2, grey + 4), (214, 218, 222), (206, 216, 228))[kind]
    zenith = ((grey - 34, grey - 30, grey - 24), (150, 172, 200), (104, 148, 204))[kind]
    return Weather(sun, ambient, shadow, Air(haze, rng.uniform(230, 420)), zenith, clouds)


class Panorama:
    """Sky and skyline: (h, w, 3) uint8 RGB and labels (h, w); the lowest row is the horizon."""

    def __init__(self, rng: np.random.Generator, weather: Weather, camera: PinholeCamera) -> None:
        self.camera = camera
        focal = camera.focal
        h, w = camera.height + 2, math.ceil(camera.width + 2 * SWING * focal)
        far = max(h / focal, w / focal, 1.0)
        n = 512  # the clouds are drawn on a square of far x far focal lengths
        cloud = cloudy(rng, n // 2, n, 5)
        rise = np.linspace(1, 0, n // 2, dtype=np.float32)[:, None, None] ** 0.7
        haze, zenith = np.array(weather.air.colour), np.array(weather.zenith)
        sky = haze + (zenith - haze) * np.clip(rise * 1.5, 0, 1)
        cover = np.clip((cloud - 0.62 + 0.35 * weather.clouds) * 3, 0, 1)[..., None]
        white = 236 - 44 * cloudy(rng, n // 2, n, 8)[..., None] * (0.4 + weather.clouds)
        sky = sky + (white - sky) * cover * 0.75 * np.clip(rise * 5, 0, 1)
        scale = n / (far * focal)
        fit = np.array([[1 / scale, 0, w / 2 - n / 2 / scale], [0, 1 / scale, h - n / 2 / scale]])
        self.image = cv2.warpAffine(np.clip(sky, 0, 255).astype(np.uint8), fit, (w, h),
                                    borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        self.labels = np.zeros((h, w), np.uint8)
        self._skyline(rng, weather)

    def _skyline(self, rng: np.random.Generator, weather: Weather) -> None:
        focal, (h, w) = self.camera.focal, self.labels.shape
        at = -1.9
        while at < 1.9:
            tree = rng.random() < 0.55
            wide, tall = rng.uniform(0.02, 0.07), rng.uniform(0.012, 0.034)
            base = np.array([92, 104, 80] if tree else [150, 142, 134]) * rng.uniform(0.8, 1.1)
            colour = weather.air.through(base.tolist(), 0.62 * weather.air.distance)
            if tree:
                steps = np.linspace(0, math.pi, 9)
                across, up = 0.5 - 0.75 * np.cos(steps), 0.35 + 0.65 * np.sin(steps)
                outline = list(zip(at + wide * across, tall * up, strict=True))
                outline = [(outline[0][0], 0.0), *outline, (outline[-1][0], 0.0)]
            else:
                outline = [(at, 0), (at, tall), (at + wide / 2, tall * 1.25), (at + wide, tall),
                           (at + wide, 0)]  # fmt: skip
            corners = np.array([(w / 2 + x * focal, h - y * focal) for x, y in outline])
            corners = (corners * 16).round().astype(np.int32)
            cv2.fillConvexPoly(self.image, corners, colour, cv2.LINE_AA, 4)
            cv2.fillConvexPoly(self.labels, corners, TREE if tree else BUILDING, cv2.LINE_8, 4)
            at += wide * 0.7

    def paint(self, camera: PinholeCamera, image: np.ndarray, labels: np.ndarray) -> None:
        """Copy the part that the camera sees into the rows above its horizon, in place."""
        h, w = self.labels.shape
        rows = min(max(math.ceil(camera.horizon) + 2, 0), camera.height)
        x = (w - camera.width) / 2 + camera.focal * math.tan(camera.yaw)
        y = h - 1 - camera.horizon
        shift = np.array([[1, 0, -x], [0, 1, -y]])
        size = (camera.width, rows)
        cv2.warpAffine(self.image, shift, size, image[:rows])
        cv2.warpAffine(self.labels, shift, size, labels[:rows], cv2.INTER_NEAREST)
