# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small drawn data sets: a sky, a field and a barn, with exact labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrn_ros.images.compressed import encode_jpeg, write_png
from lrn_ros.model.labels import LabelSet

FARM = LabelSet("farm", ("sky", "field", "barn"), ((70, 130, 180), (107, 142, 35), (200, 30, 30)))
Array = NDArray[np.uint8]


def scene(rng: np.random.Generator, size: tuple[int, int] = (64, 96)) -> tuple[Array, Array]:
    """An image of three regions with its label."""
    h, w = size
    rgb, label = np.full((h, w, 3), (40, 160, 60)), np.ones((h, w), np.uint8)
    horizon, x = int(h * rng.uniform(0.35, 0.6)), int(rng.uniform(0.1, 0.6) * w)
    rgb[:horizon], label[:horizon] = (135, 206, 235), 0
    barn = slice(horizon - h // 12, horizon + h // 5), slice(x, x + w // 4)
    rgb[barn], label[barn] = (200, 30, 30), 2
    return np.clip(rgb + rng.normal(0, 12, rgb.shape), 0, 255).astype(np.uint8), label


def farm(
    root: Path,
    train: int = 6,
    val: int = 3,
    seed: int = 0,
    change: Callable[[Array], Array] = lambda label: label,
) -> Path:
    """A data set images/ + labels/; `change` alters the labels."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            rgb, label = scene(rng)
            (root / "images" / split / f"a{i % 2}_{i:03}.jpg").write_bytes(encode_jpeg(rgb))
            write_png(root / "labels" / split / f"a{i % 2}_{i:03}.png", change(label))
    return root
