# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera health: on the rendered street, on CamVid if it is there, and on ruined pictures."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lrn_ros.ros.health import HealthLimits, HealthMonitor, measure
from lrn_ros.scene import StreetScene

CAMVID = Path(os.environ.get("LRN_CAMVID", "data/camvid"))
LIMITS = HealthLimits()
Picture = np.ndarray[Any, np.dtype[np.uint8]]


@functools.cache
def street(frame: int = 0, seed: int = 1) -> Picture:
    return StreetScene(seed=seed, height=360, width=480).frame(frame)[0]


def clip(values: Any) -> Picture:
    return np.clip(values, 0, 255).astype(np.uint8)


RANDOM = np.random.default_rng(0)


def noise(shape: tuple[int, ...], sigma: float) -> Any:
    return RANDOM.normal(0, sigma, shape)


class Clock:
    """Seconds that pass at 30 Hz, one step for every picture."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def looks(pictures: list[Picture]) -> list[tuple[str, ...]]:
    """Warnings after every picture of a camera of 30 Hz."""
    clock = Clock()
    monitor, warnings = HealthMonitor(clock), []
    for rgb in pictures:
        clock.now += 1 / 30
        warnings.append(monitor.look(memoryview(rgb.tobytes()), rgb, LIMITS).warnings)
    return warnings


def warned(pictures: list[Picture]) -> set[str]:
    return {text.split(":")[0] for warnings in looks(pictures) for text in warnings}


RUINED = {
    "black": ("dark", lambda rgb: clip(rgb * 0.0 + noise(rgb.shape, 2))),
    "a cap on the lens": ("dark", lambda rgb: clip(12 + noise(rgb.shape, 3))),
    "far too short an exposure": ("dark", lambda rgb: clip(rgb * 0.08 + noise(rgb.shape, 1))),
    "white": ("saturated", lambda rgb: clip(rgb * 0.0 + 255 - abs(noise(rgb.shape, 1)))),
    "far too long an exposure": ("saturated", lambda rgb: clip(rgb * 8.0 + noise(rgb.shape, 2))),
    "a veil of stray light": ("saturated", lambda rgb: clip(rgb * 0.25 + 185)),
    "out of focus": ("blurred", lambda rgb: cv2.GaussianBlur(rgb, (0, 0), 4)),
    "out of focus, with noise": (
        "blurred", lambda rgb: clip(cv2.GaussianBlur(rgb, (0, 0), 5) + noise(rgb.shape, 3)),
    ),
    "a hand before the lens": (
        "blurred",
        lambda rgb: clip(70 + np.linspace(0, 60, rgb.shape[1])[None, :, None]
                         + noise(rgb.shape, 3)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", RUINED)
def test_a_ruined_picture_is_told_with_its_figure(what: str) -> None:
    expected, ruin = RUINED[what]
    pictures = [ruin(street(i)) for i in range(2)]
    assert warned(pictures * 16) == {expected}


def test_a_single_bad_picture_is_no_alarm() -> None:
    """A flash, a tunnel's end, an image that did not come through well."""
    pictures = [street(i) for i in range(2)] * 16
    pictures[10] = np.full_like(pictures[0], 255)
    assert warned(pictures) == set()


def test_the_street_gives_no_alarm() -> None:
    for seed in range(3):
        assert warned([street(i, seed) for i in (0, 1)] * 16) == set()


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not there")
def test_camvid_gives_no_alarm() -> None:
    files = [f for part in ("train", "val") for f in sorted((CAMVID / part).glob("*.png"))]
    assert len(files) > 400
    bars = np.array([LIMITS.dark, LIMITS.saturated, LIMITS.blurred])
    figures = np.array([measure(cv2.imread(str(f))[..., ::-1].copy()) for f in files])
    assert (figures < bars).all(), [files[i] for i in np.nonzero((figures >= bars).any(1))[0]]


def test_blur_grows_with_the_defocus_and_not_with_the_exposure() -> None:
    rgb = street()
    figures = [measure(cv2.GaussianBlur(rgb, (0, 0), s))[2] for s in (0.5, 1, 2, 3, 4)]
    assert figures == sorted(figures) and figures[0] < 0.6 and figures[-1] > 0.9
    assert measure(clip(rgb * 0.5))[2] == pytest.approx(measure(rgb)[2], abs=0.05)


def test_closed_forms() -> None:
    board = np.zeros((100, 100, 3), np.uint8)
    board[:, 50:] = 255
    dark, saturated, blurred = measure(board)
    assert (dark, saturated) == (0.5, 0.5)
    assert blurred == pytest.approx(1 / 3, abs=0.01), "a step over three pixels instead of one"
    assert measure(np.full((90, 90, 3), 100, np.uint8)) == (0.0, pytest.approx(100 / 255), 1.0)
    assert measure(np.full((2, 2, 3), 100, np.uint8))[2] == 0.0, "too small to tell"
    for shape in ((1, 4000, 3), (4000, 1, 3), (1, 1, 3)):
        measure(np.zeros(shape, np.uint8))


def test_a_frozen_camera() -> None:
    """The same bytes again and again; a single grey level of one pixel is another image."""
    rgb = street()
    other = rgb.copy()
    other[-1, -1, -1] ^= 1
    warnings = looks([rgb] * 10 + [other] + [rgb] * 12)
    assert [len(w) for w in warnings] == [0] * 10 + [0] + [0] * 10 + [1] * 2
    assert warnings[-1] == ("frozen: the last 12 images are identical",)
    assert warned([rgb, other] * 20) == set()


def test_a_limit_of_zero_never_warns() -> None:
    rgb = np.zeros((360, 480, 3), np.uint8)
    monitor = HealthMonitor(Clock())
    off = HealthLimits(0, 0.0, 0.0, 0.0)
    for _ in range(30):
        health = monitor.look(memoryview(rgb.tobytes()), rgb, off)
    assert health.warnings == () and health.frozen == 29 and health.dark == 1.0


def test_values_are_figures() -> None:
    rgb = street()
    values = HealthMonitor(Clock()).look(memoryview(rgb.tobytes()), rgb, LIMITS).values()
    assert list(values) == ["frozen", "dark", "saturated", "blurred"]
    assert all(0 <= float(v) <= 1 for v in values.values())
