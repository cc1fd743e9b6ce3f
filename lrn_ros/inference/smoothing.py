# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Causal smoothing of a video's coarse scores: averaged over time, along the motion in the images.

At every cell of the coarse grid, s_t = x_t + w (m(s_t-1) - x_t). Here x_t are the network's scores
and m moves the last result along the optical flow. The weight w is smaller if more time has passed
since the last frame, and smaller where the two images differ after the motion. No frame waits for
another. The flow is dense and found by inverse search (Kroeger et al., ECCV 2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_MIN_SIDE = 16  # OpenCV's search refuses smaller pictures
_MAX_ASPECT = 2  # OpenCV's search may crash if a picture is over about four times as wide as high


def find_flow(
    search: cv2.DISOpticalFlow, present: NDArray[np.uint8], other: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Find where every pixel of one grey picture is in another picture.

    Args:
        search: the search of OpenCV; not thread-safe.
        present: (h, w) uint8, the picture whose pixels are looked for.
        other: (h, w) uint8, the picture in which they are looked for.

    Returns:
        (h, w, 2) float32: how many pixels to the right, and down.
    """
    height, width = present.shape
    below = max(height, -(-width // _MAX_ASPECT), _MIN_SIDE) - height
    right = max(width, _MIN_SIDE) - width
    one, two = (
        cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
        for picture in (present, other)
    )
    flow = search.calc(one, two, None)  # type: ignore[call-overload]
    return np.asarray(flow[:height, :width], np.float32)


GAP_S = 0.5  # the past is forgotten after a longer gap, and after a step back in time
_MEMORY_S = 0.1  # the weight of the past falls to 1 / e in this time
# The largest weight of the past. Cubic interpolation may enlarge scores by a factor of 1.375^2, the
# sum of the absolute values of its weights. With a weight below 0.52 the past fades all the same.
_MAX_WEIGHT = 0.5
_NOISE = 8.0  # the mean of a cell differs by about so many grey levels between like images
_CUT = 0.4  # the scene has changed if the mean likeness is lower; within a drive it is above 0.6

Smooth = Callable[[NDArray[np.float32], NDArray[np.uint8]], NDArray[np.float32]]
_LIKENESS = np.exp(-np.square(np.arange(256) / _NOISE)).astype(np.float32)  # by difference


@dataclass(frozen=True)
class _Past:
    """The last frame: its time, (h, w) uint8 grey picture and (K, h, w) float32 smoothed scores."""

    seconds: float
    grey: NDArray[np.uint8]
    scores: NDArray[np.float32]


class Smoother:
    """Smooths one stream of frames. Not thread-safe.

    It starts anew at scene cuts, after gaps of more than GAP_S, where time steps back, and where
    the size changes.
    """

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._past: _Past | None = None

    def reset(self) -> None:
        """Forget the past."""
        self._past = None

    def at(self, seconds: float) -> Smooth:
        """Give the function that smooths the frame of a time; frames must come in order.

        Args:
            seconds: time of the frame, on any clock.

        Returns:
            A function to call once. Its arguments are the frame's (K, h, w) float32 scores and its
            (H, W, 3) uint8 RGB image. It returns the smoothed scores, which this object keeps, so
            do not change them.
        """
        return lambda scores, image: self._smooth(scores, image, seconds)

    def _smooth(
        self, scores: NDArray[np.float32], image: NDArray[np.uint8], seconds: float
    ) -> NDArray[np.float32]:
        if not np.isfinite(scores).all():  # NaN would never leave the average
            self._past = None
            return scores.copy()
        small = cv2.resize(image, scores.shape[:0:-1], interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        past, now = self._past, scores.copy()
        if past is not None and past.scores.shape == now.shape:
            elapsed = seconds - past.seconds
            if 0 <= elapsed <= GAP_S:
                now = self._average(
                    past, grey, now, min(_MAX_WEIGHT, math.exp(-elapsed / _MEMORY_S))
                )
        self._past = _Past(seconds, grey, now)
        return now

    def _average(
        self, past: _Past, grey: NDArray[np.uint8], scores: NDArray[np.float32], weight: float
    ) -> NDArray[np.float32]:
        """Average scores (K, h, w) with the past ones; after a scene cut return them unchanged."""
        height, width = grey.shape
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        flow = find_flow(self._search, grey, past.grey)
        x, y = x + flow[..., 0], y + flow[..., 1]
        moved = cv2.remap(past.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        likeness = _LIKENESS[cv2.absdiff(grey, moved)]
        if likeness.mean() < _CUT:
            return scores
        inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
        # Bilinear interpolation would blur thin objects, such as poles, anew with every frame.
        before = np.stack(
            [
                cv2.remap(s, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
                for s in past.scores
            ]
        )
        averaged: NDArray[np.float32] = scores + np.float32(weight) * likeness * inside * (
            before - scores
        )
        return averaged
