# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Surfaces drawn once: noise, asphalt, facades, hedges, fences and the sky panorama."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from lrn_ros.scene.canvas import Sprite, make_sprite

CELL = 80  # pixels of one window bay (3 m) or one floor (3 m) of a facade
WALLS = (
    (150, 92, 72), (128, 78, 62), (186, 168, 128), (170, 150, 112), (206, 198, 182),
    (224, 220, 212), (160, 152, 144), (118, 108, 100), (176, 128, 96), (196, 186, 160),
)  # fmt: skip
SHOPS = ((30, 60, 110), (120, 24, 30), (24, 80, 52), (40, 40, 44), (200, 160, 40), (90, 40, 90))


def cloudy(rng: np.random.Generator, height: int, width: int, coarse: int) -> np.ndarray:
    """(height, width) float32 noise in 0 to 1, its largest blobs about 1 / coarse of the width."""
    total, weight = np.zeros((height, width), np.float32), 1.0
    cells = coarse
    while cells < width:
        rows = max(2, cells * height // width)
        grid = rng.random((rows, cells), dtype=np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight, cells = weight * 0.55, cells * 2
    low, high = float(total.min()), float(total.max())
    return (total - low) / (high - low)


def asphalt(rng: np.random.Generator, length: int, width: int, period: int) -> np.ndarray:
    """(length + period, width) uint8 grain around 128 that repeats every period rows."""
    grain = rng.normal(0, 12, (period, width)) + 20 * (cloudy(rng, period, width, 9) - 0.5)
    streaks = cv2.GaussianBlur(rng.normal(0, 30, (1, width)).astype(np.float32), (61, 1), 12)
    spots = (rng.random((period, width)) > 0.996) * rng.uniform(-40, 40, (period, width))
    blend = np.clip(128 + grain + streaks + spots, 60, 196).astype(np.uint8)
    return np.tile(blend, (length // period + 2, 1))[: length + period]


@lru_cache(maxsize=1)
def _brick() -> np.ndarray:
    """The weathering of which every facade takes a piece."""
    rng = np.random.default_rng(3)
    size = (1100, 1100)
    return 0.84 + 0.3 * cloudy(rng, *size, 7) + 0.05 * rng.standard_normal(size, dtype=np.float32)


def facade(rng: np.random.Generator, bays: int, floors: int) -> tuple[Sprite, Sprite, np.ndarray]:
    """A street front of bays x floors windows, its blank end wall, and the wall colour (3,)."""
    wall = np.array(WALLS[rng.integers(len(WALLS))], float) * rng.uniform(0.8, 1.1)
    h, w = floors * CELL, bays * CELL
    left, top = (int(n) for n in rng.integers(0, 400, 2))
    tone = _brick()[top : top + h, left : left + w].copy()
    tone[::5] *= 0.9  # courses of brick
    tone *= np.linspace(1.05, 0.9, h, dtype=np.float32)[:, None]
    image = np.clip(wall.astype(np.float32) * tone[..., None], 0, 255).astype(np.uint8)
    blank = make_sprite(image[::2, : 2 * CELL : 2].copy())
    frame = (225, 222, 215) if rng.random() < 0.7 else (70, 66, 62)
    wide, tall, bars = rng.uniform(0.32, 0.62), rng.uniform(0.48, 0.66), int(rng.integers(0, 3))
    sill = np.clip(wall * 1.25 + 12, 0, 255)
    for floor in range(floors):
        for bay in range(bays):
            x, y = bay * CELL + CELL / 2, floor * CELL + CELL * 0.5
            if floor < floors - 1:
                _window(image, rng, (x, y), (wide * CELL, tall * CELL), frame, sill, bars)
    if rng.random() < 0.5:
        _shops(image, rng, bays, h)
    else:
        door = int(rng.integers(bays))
        for bay in range(bays):
            x, y = bay * CELL + CELL / 2, h - CELL * 0.52
            if bay % 3 == door % 3:
                leaf = tuple(int(c) for c in rng.integers(20, 130, 3))
                cv2.rectangle(image, (int(x - 17), h - 62), (int(x + 17), h), frame, -1)
                cv2.rectangle(image, (int(x - 13), h - 56), (int(x + 13), h), leaf, -1)
            else:
                _window(image, rng, (x, y), (wide * CELL, tall * CELL), frame, sill, bars)
    cv2.rectangle(image, (0, 0), (w, 5), tuple(float(c) for c in sill), -1)
    cv2.rectangle(image, (0, 6), (w, 8), tuple(float(c) for c in wall * 0.55), -1)
    image[:, :2] = image[:, :2] // 2
    return make_sprite(image), blank, wall


def _window(
    image: np.ndarray, rng: np.random.Generator, centre: tuple[float, float],
    size: tuple[float, float], frame: tuple[int, int, int], sill: np.ndarray, bars: int,
) -> None:  # fmt: skip
    x0, y0 = int(centre[0] - size[0] / 2), int(centre[1] - size[1] / 2)
    x1, y1 = int(centre[0] + size[0] / 2), int(centre[1] + size[1] / 2)
    cv2.rectangle(image, (x0 - 3, y0 - 4), (x1 + 3, y1 + 2), frame, -1)
    glass = np.array([52, 60, 68]) * rng.uniform(0.5, 1.5)
    ramp = np.linspace(1.5, 0.7, y1 - y0)[:, None, None]
    image[y0:y1, x0:x1] = np.clip(glass * ramp, 0, 255)
    if rng.random() < 0.4:  # a blind or curtain
        drop = int((y1 - y0) * rng.uniform(0.2, 0.8))
        image[y0 : y0 + drop, x0:x1] = np.array([190, 184, 170]) * rng.uniform(0.6, 1)
    for k in range(bars):
        x = x0 + (x1 - x0) * (k + 1) // (bars + 1)
        image[y0:y1, x - 1 : x + 1] = frame
    image[(y0 + y1) // 2 - 1 : (y0 + y1) // 2 + 1, x0:x1] = frame
    cv2.rectangle(image, (x0 - 5, y1 + 2), (x1 + 5, y1 + 5), tuple(float(c) for c in sill), -1)
    image[y1 + 6 : y1 + 8, x0 - 5 : x1 + 5] = image[y1 + 6 : y1 + 8, x0 - 5 : x1 + 5] * 0.6
    image[y0 : y0 + 3, x0:x1] = image[y0 : y0 + 3, x0:x1] // 2


def _shops(image: np.ndarray, rng: np.random.Generator, bays: int, h: int) -> None:
    """Glass fronts with a painted board and squiggles for lettering along the ground floor."""
    bay = 0
    while bay < bays:
        span = min(int(rng.integers(2, 4)), bays - bay)
        x0, x1 = bay * CELL, (bay + span) * CELL
        paint = np.array(SHOPS[rng.integers(len(SHOPS))], float)
        cv2.rectangle(image, (x0, h - CELL + 4), (x1 - 3, h), (0.8 * paint).tolist(), -1)
        cv2.rectangle(image, (x0, h - CELL + 4), (x1 - 3, h - CELL + 20), paint.tolist(), -1)
        for x in range(x0 + 24, x1 - 24, 7):
            if rng.random() < 0.8:
                top = h - CELL + int(rng.integers(7, 11))
                cv2.rectangle(image, (x, top), (x + 4, h - CELL + 16), (225, 220, 205), -1)
        for x in range(x0 + 6, x1 - 30, 36):
            glass = np.array([58, 62, 66]) * rng.uniform(0.5, 1.7)
            pane = image[h - CELL + 24 : h - 10, x : x + 32]
            pane[:] = np.clip(glass * np.linspace(1.3, 0.7, len(pane))[:, None, None], 0, 255)
            for _ in range(3):  # goods on display
                gx, gy = int(rng.integers(0, 24)), int(rng.integers(12, 36))
                pane[gy : gy + 9, gx : gx + 8] = rng.integers(40, 200, 3)
        bay += span


def hedge(rng: np.random.Generator) -> Sprite:
    """Clipped leaves, for hedges and undergrowth."""
    light = 0.35 + 0.6 * cloudy(rng, 96, 256, 12) + rng.normal(0, 0.16, (96, 256))
    light *= np.linspace(1.25, 0.6, 96)[:, None]
    green = np.array([rng.uniform(62, 90), rng.uniform(84, 104), rng.uniform(36, 52)])
    cover = np.full((96, 256), 255, np.uint8)
    edge = (8 * cloudy(rng, 2, 256, 24)[0]).astype(int)
    cover[np.arange(96)[:, None] < edge] = 0
    return make_sprite(np.clip(green * light[..., None], 0, 255).astype(np.uint8), cover)


def planks(rng: np.random.Generator) -> Sprite:
    """A wooden garden fence: upright boards between posts, 6 m long."""
    wood = np.array([134, 104, 76]) * rng.uniform(0.7, 1.15)
    board = np.repeat(rng.uniform(0.75, 1.1, 32), 8)[None] + rng.normal(0, 0.05, (96, 256))
    board[:, ::8] *= 0.55
    board[:, :10] *= 0.75
    board[:5] *= 1.2
    return make_sprite(np.clip(wood * board[..., None], 0, 255).astype(np.uint8))


def railings(rng: np.random.Generator) -> Sprite:
    """Metal bars between two rails, 6 m long, with gaps to see through."""
    paint = np.array([(38, 40, 42), (70, 74, 78), (150, 152, 150)][rng.integers(3)])
    cover = np.zeros((64, 384), np.uint8)
    for k in range(4):
        cover[:, k::10] = 255
    cover[4:9] = cover[54:59] = 255
    cover[:4] = 0
    for k in range(8):
        cover[:, k::120] = 255
    cover[4:] = np.maximum(cover[4:], 70)  # what is behind shows through, dimmed
    tone = rng.normal(1, 0.08, (64, 384, 1))
    return make_sprite(np.clip(paint * tone, 0, 255).astype(np.uint8), cover)
