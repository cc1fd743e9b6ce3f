# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Causal smoothing of a video's coarse scores: averaged over time, along the motion in the images.

At every cell of the coarse grid, s_t = x_t + w (m(s_t-1) - x_t): x_t are the network's scores, m
moves the last result along the optical flow, and w is the less the longer ago that was, and the
less alike the two images are there after the motion. No frame waits for another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.flow import find_flow

GAP_S = 0.5  # longer without a frame, or a step back in time, and the past is forgotten
_MEMORY_S = 0.1  # after which the past weighs 1 / e
# Weight of the past however short ago it was. Cubic interpolation enlarges scores up to 1.375^2
# times, the sum of its weights without their signs: with less than 0.52 the past always fades.
_MOST = 0.5
_NOISE = 8.0  # grey levels, of the mean over a cell, by which like images differ
_CUT = 0.4  # mean likeness below which the scene is another; within a drive it is above 0.6

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
        """What smooths the frame of this time, a stamp on any clock; frames in order.

        Returns:
            a function to call once, of the frame's (K, h, w) float32 scores and of the (H, W, 3)
            uint8 RGB image that they are of; gives the smoothed scores, which are kept and not to
            be changed.
        """
        return lambda scores, image: self._smooth(scores, image, seconds)

    def _smooth(
        self, scores: NDArray[np.float32], image: NDArray[np.uint8], seconds: float
    ) -> NDArray[np.float32]:
        if not np.isfinite(scores).all():  # that would never leave the average
            self._past = None
            return scores.copy()
        small = cv2.resize(image, scores.shape[:0:-1], interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        past, now = self._past, scores.copy()
        if past is not None and past.scores.shape == now.shape:
            elapsed = seconds - past.seconds
            if 0 <= elapsed <= GAP_S:
                now = self._average(past, grey, now, min(_MOST, math.exp(-elapsed / _MEMORY_S)))
        self._past = _Past(seconds, grey, now)
        return now

    def _average(
        self, past: _Past, grey: NDArray[np.uint8], scores: NDArray[np.float32], weight: float
    ) -> NDArray[np.float32]:
        """(K, h, w): scores averaged with the past ones; as they are after a scene cut."""
        height, width = grey.shape
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        flow = find_flow(self._search, grey, past.grey)
        x, y = x + flow[..., 0], y + flow[..., 1]
        moved = cv2.remap(past.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        likeness = _LIKENESS[cv2.absdiff(grey, moved)]
        if likeness.mean() < _CUT:
            return scores
        inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
        # Cubic: bilinear would blur what is thin, such as poles, anew with every frame.
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
