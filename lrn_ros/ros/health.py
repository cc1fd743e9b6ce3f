# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera health: finds frozen, dark, overexposed and blurred pictures.

A camera with such a fault still publishes at its full rate, and the network still answers with a
mask. The figure of blur follows Crete et al., "The Blur Effect: Perception and Estimation with a
New No-Reference Perceptual Blur Metric" (2007): a blurred picture hardly changes when it is blurred
once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

_ROWS = 180  # rows of the small picture that is measured
_PERIOD_S = 0.25  # between two measurements, each of which takes a millisecond or two
_BAD_IN_A_ROW = 3  # so many measurements in a row must be bad before there is a warning
_BLACK, _WHITE = 24, 250  # a pixel below the first or from the second grey level shows nothing
_NO_DETAIL = 8  # grey levels between neighbours that noise alone can make
_MIN_SIDE = 16  # pixels
_SAMPLE_STEP = 4099  # bytes; a prime, so that the sample does not follow the columns


@dataclass(frozen=True)
class HealthLimits:
    """The figures from which a picture is bad; with 0 it is never bad.

    Attributes:
        frozen: number of images in a row that equal the image before them.
        dark, saturated, blurred: see Health.
    """

    frozen: int = 10
    dark: float = 0.95
    saturated: float = 0.6
    blurred: float = 0.75


@dataclass(frozen=True)
class Health:
    """How a camera's latest picture looks.

    Attributes:
        frozen: number of images in a row, up to the latest, that equal the image before them byte
            by byte.
        dark: share of the pixels that are nearly black, 0 to 1.
        saturated: share of the pixels that are nearly white; or, if that is larger, the brightness
            of the darkest hundredth of the picture, which stray light raises.
        blurred: share of the steepness of the sharpest edges that is left after the picture is
            blurred once more, 0 to 1; 1 if the picture shows no edge at all.
        warnings: one text with its figure for each fault.
    """

    frozen: int
    dark: float
    saturated: float
    blurred: float
    warnings: tuple[str, ...]

    def values(self) -> dict[str, str]:
        """The figures as text, by name."""
        figures = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "warnings"}
        return {k: str(v) if isinstance(v, int) else f"{v:.3f}" for k, v in figures.items()}


class HealthMonitor:
    """Checks the pictures of one camera.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._data: NDArray[np.uint8] | None = None
        self._frozen = 0
        self._looked = -_PERIOD_S
        self._figures = (0.0, 0.0, 0.0)
        self._bad = [0, 0, 0]  # bad measurements in a row, per figure

    def look(self, data: memoryview, rgb: NDArray[np.uint8], limits: HealthLimits) -> Health:
        """Check one image.

        Args:
            data: the message's bytes, which are kept until the next image.
            rgb: (H, W, 3) uint8, the pixels.
            limits: the figures from which to warn.
        """
        self._compare(data)
        if self._clock() - self._looked >= _PERIOD_S:
            self._looked = self._clock()
            self._figures = measure(rgb)
            bars = (limits.dark, limits.saturated, limits.blurred)
            bad = [bool(bar) and figure >= bar for figure, bar in zip(self._figures, bars)]
            if bad[0] or bad[1]:
                bad[2] = False  # such a picture shows nothing that could be sharp
            self._bad = [n + 1 if b else 0 for n, b in zip(self._bad, bad)]
        return Health(self._frozen, *self._figures, self._warnings(limits))

    def _compare(self, data: memoryview) -> None:
        now, before = np.frombuffer(data, np.uint8), self._data
        self._data = now
        same = (
            before is not None
            and before.size == now.size
            # Noise makes even a few bytes differ, so the whole image is hardly ever compared.
            and np.array_equal(before[::_SAMPLE_STEP], now[::_SAMPLE_STEP])
            and np.array_equal(before, now)
        )
        self._frozen = self._frozen + 1 if same else 0

    def _warnings(self, limits: HealthLimits) -> tuple[str, ...]:
        dark, saturated, blurred = self._figures
        texts = (
            f"dark: {dark:.0%} of the picture is nearly black; is the lens covered?",
            f"saturated: the picture is washed out ({saturated:.2f} of 1); exposure, or glare?",
            f"blurred: the picture has no sharp edge ({blurred:.2f} of 1); is the lens out of focus"
            " or dirty?",
        )
        said = [text for text, bad in zip(texts, self._bad) if bad >= _BAD_IN_A_ROW]
        if limits.frozen and self._frozen >= limits.frozen:
            said.insert(0, f"frozen: the last {self._frozen + 1} images are identical")
        return tuple(said)


def measure(rgb: NDArray[np.uint8]) -> tuple[float, float, float]:
    """The figures `dark`, `saturated` and `blurred` of Health for one (H, W, 3) uint8 picture."""
    height, width = rgb.shape[:2]
    if height > _ROWS:
        size = max(1, round(width * _ROWS / height)), _ROWS
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    counts = np.bincount(grey.reshape(-1), minlength=256) / grey.size
    darkest = int(np.searchsorted(np.cumsum(counts), 0.01)) / 255
    saturated = max(float(counts[_WHITE:].sum()), darkest)
    blurred = 0.0  # also if the picture is too small to tell
    if min(grey.shape) >= _MIN_SIDE:
        again = np.asarray(cv2.blur(grey, (3, 3)), np.uint8)
        sharpest, left = _steepest(grey), _steepest(again)
        blurred = 1.0 if sharpest < _NO_DETAIL else min(1.0, left / sharpest)
    return float(counts[:_BLACK].sum()), saturated, blurred


def _steepest(grey: NDArray[np.uint8]) -> float:
    """The difference in grey levels that one hundredth of all neighbours in a picture exceeds."""
    beside = cv2.absdiff(grey[:-1, 1:], grey[:-1, :-1])
    below = cv2.absdiff(grey[1:, :-1], grey[:-1, :-1])
    counts = np.bincount(np.maximum(beside, below).reshape(-1), minlength=256)
    return float(np.searchsorted(np.cumsum(counts), 0.99 * counts.sum()))
