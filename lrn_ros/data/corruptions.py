# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Corruptions of images by weather, light, lens and transmission, in five strengths.

After Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019: the kinds that a camera in a car meets. The libraries that implement the
benchmark are no longer kept up, so the kinds are drawn here with OpenCV.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

STRENGTHS = (1, 2, 3, 4, 5)

Image = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]


def corrupt(rgb: Image, kind: str, strength: int, index: int) -> Image:
    """A corrupted copy of an image, the same for the same arguments.

    Args:
        rgb: (H, W, 3) uint8 RGB.
        kind: a key of CORRUPTIONS.
        strength: 1 to 5.
        index: number of the image in its set, so that no two have the same noise.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    generator = np.random.default_rng([zlib.crc32(kind.encode()), strength, index])
    changed = CORRUPTIONS[kind](rgb.astype(np.float32) / 255, strength - 1, generator)
    return np.rint(changed.clip(0, 1) * 255).astype(np.uint8)


def _fog(image: Floats, level: int, generator: np.random.Generator) -> Floats:
    """Haze that is denser towards the horizon, in clouds."""
    height, width = image.shape[:2]
    clouds = np.zeros((height, width), np.float32)
    for octave in range(1, 5):
        cells = generator.random((2**octave + 1, 2**octave + 1), np.float32)
        clouds += cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    distance = np.exp(-(((rows - 0.4) / 0.35) ** 2))  # the horizon is a little above the middle
    amount = (0.25, 0.4, 0.55, 0.7, 0.82)[level]
    density = (amount * (0.45 + 0.35 * distance + 0.2 * clouds)).clip(0, 0.97)[..., None]
    return image * (1 - density) + np.float32(0.82) * density


def _rain(image: Floats, level: int, generator: np.random.Generator) -> Floats:
    """Streaks, and a wet lens that blurs."""
    height, width = image.shape[:2]
    share = (0.004, 0.007, 0.01, 0.014, 0.019)[level]
    drops = (generator.random((height, width)) < share).astype(np.float32)
    length = max(3, height // 16)
    slant = np.zeros((length, length), np.float32)
    cv2.line(slant, (length // 3, 0), (2 * length // 3, length - 1), 1.0)
    streaks = cv2.filter2D(drops, -1, slant).clip(0, 1)[..., None]
    sigma = (0.6, 0.9, 1.2, 1.6, 2.1)[level] * height / 360
    soft = cv2.GaussianBlur(image, (0, 0), sigma)
    return soft * (1 - 0.4 * streaks) + np.float32(0.4 * 0.8) * streaks


def _noise(image: Floats, level: int, generator: np.random.Generator) -> Floats:
    """Gaussian noise of the sensor."""
    sigma = (0.03, 0.06, 0.1, 0.15, 0.22)[level]
    return image + sigma * generator.standard_normal(image.shape, np.float32)


def _darkness(image: Floats, level: int, generator: np.random.Generator) -> Floats:
    """Little light, and the noise of the gain that makes up for a part of it."""
    light, sigma = (
        (0.6, 0.4, 0.27, 0.17, 0.1)[level],
        (0.01, 0.015, 0.02, 0.025, 0.03)[level],
    )
    dark = (image**2.2 * light) ** np.float32(1 / 2.2)
    return dark + sigma * generator.standard_normal(image.shape, np.float32)


def _over_exposure(image: Floats, level: int, generator: np.random.Generator) -> Floats:
    """Too much light: what is bright becomes white."""
    return (image**2.2 * (1.6, 2.4, 3.6, 5.5, 8.5)[level]).clip(0, 1) ** np.float32(1 / 2.2)


def _jpeg(image: Floats, level: int, generator: np.random.Generator) -> Floats:
    """Compression."""
    quality = (35, 22, 14, 9, 5)[level]
    picture = np.rint(image[..., ::-1] * 255).astype(np.uint8)
    data: NDArray[np.uint8] = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.asarray(decoded[..., ::-1], np.float32) / 255


def _motion_blur(image: Floats, level: int, generator: np.random.Generator) -> Floats:
    """The camera turns while the shutter is open, mostly sideways."""
    length = max(2, round((0.012, 0.02, 0.03, 0.042, 0.056)[level] * image.shape[1]))
    kernel = np.zeros((length, length), np.float32)
    rise = int(generator.integers(0, max(1, length // 4) + 1))
    middle = length // 2
    cv2.line(kernel, (0, middle - rise // 2), (length - 1, middle + (rise + 1) // 2), 1.0)
    kernel /= kernel.sum()
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE))


CORRUPTIONS: dict[str, Callable[[Floats, int, np.random.Generator], Floats]] = {
    "fog": _fog,
    "rain": _rain,
    "noise": _noise,
    "darkness": _darkness,
    "over-exposure": _over_exposure,
    "jpeg": _jpeg,
    "motion-blur": _motion_blur,
}
