# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Temporal consistency: how steady masks are from frame to frame, measured without labels.

Consistency is the mIoU between a mask and the one before it, warped by optical flow, after Liu et
al., "Efficient semantic video segmentation with per-frame inference", ECCV 2020. Flicker is the
share of pixels of another class than before where nothing moved and nothing changed.

Large pictures are made smaller first: one whose longer side has 1280 pixels or more is divided
by 2, 3, ... so that its longer side has 640 to 1279 pixels. Optical flow then takes less time, and
half a pixel of motion means about the same for all cameras.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.smoothing import find_flow
from lrn_ros.metrics.confusion import confusion_matrix, scores
from lrn_ros.model.labels import UNLABELLED

_SIDE = 640  # pixels that the longer side of a picture made smaller has at least
_STILL = 0.5  # pixels of flow below which nothing moved
_ALIKE = 8  # grey levels up to which nothing changed: sensor noise and JPEG


@dataclass(frozen=True)
class Motion:
    """Where the pixels of a frame were in the frame before. (H, W) is the size after division.

    Attributes:
        x, y: (H, W) float32, position in the frame before, in pixels.
        visible: (H, W) bool, whether the pixel could be seen there in the frame before.
        still: (H, W) bool, whether the pixel has neither moved nor changed.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    visible: NDArray[np.bool_]
    still: NDArray[np.bool_]


def find_motion(previous: NDArray[np.uint8], present: NDArray[np.uint8]) -> Motion:
    """Estimate the motion by dense inverse search (Kroeger et al., ECCV 2016) on grey pictures.

    A pixel was visible if its position lies in the frame and the flow back and the flow forth
    cancel out: |b + f|^2 < 0.01 (|b|^2 + |f|^2) + 0.5 (Sundaram et al., ECCV 2010, equation 5).

    Args:
        previous: (H, W, 3) uint8 RGB, the frame before.
        present: (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the frames differ in size.
    """
    if previous.shape != present.shape:
        raise ValueError(f"frames of shapes {previous.shape} and {present.shape}")
    before, now = (
        _smaller(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8), cv2.INTER_AREA)
        for rgb in (previous, present)
    )
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    back, forth = find_flow(search, now, before), find_flow(search, before, now)
    height, width = now.shape
    x = np.arange(width, dtype=np.float32) + back[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + back[..., 1]
    forth = np.asarray(
        cv2.remap(forth, x, y, cv2.INTER_LINEAR), np.float32
    )  # at the positions that `back` points to
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    length, mismatch = _squared(back), _squared(back + forth)
    return Motion(
        x,
        y,
        visible=inside & (mismatch < 0.01 * (length + _squared(forth)) + 0.5),
        still=(length < _STILL**2) & (cv2.absdiff(before, now) <= _ALIKE),
    )


def warp(mask: NDArray[np.uint8], motion: Motion) -> NDArray[np.uint8]:
    """The mask of the frame before, moved to the present frame; 255 where a pixel is new."""
    moved = cv2.remap(mask, motion.x, motion.y, cv2.INTER_NEAREST)
    return np.where(motion.visible, moved, UNLABELLED).astype(np.uint8)


@dataclass(frozen=True)
class Steadiness:
    """Counts over pairs of consecutive frames. The counts of several videos can be added.

    Attributes:
        matrix: (K, K + 1) int64 confusion matrix, row = class before, column = class now.
        still: number of pixels where nothing moved and nothing changed.
        flickered: number of still pixels whose class has changed; 255 counts as a class here.
    """

    matrix: NDArray[np.int64]
    still: int
    flickered: int

    def __add__(self, other: Steadiness) -> Steadiness:
        return Steadiness(
            self.matrix + other.matrix,
            self.still + other.still,
            self.flickered + other.flickered,
        )

    @property
    def consistency(self) -> float:
        """Mean IoU of every mask and the warped mask before it; NaN where nothing was compared."""
        return scores(self.matrix).miou

    @property
    def flicker(self) -> float:
        """Share of the still pixels whose class has changed; NaN without still pixels."""
        return self.flickered / self.still if self.still else float("nan")


def no_frames(classes: int) -> Steadiness:
    """Nothing counted yet."""
    return Steadiness(np.zeros((classes, classes + 1), np.int64), 0, 0)


def steadiness(
    previous: NDArray[np.uint8], present: NDArray[np.uint8], motion: Motion, classes: int
) -> Steadiness:
    """Compare the masks of two consecutive frames.

    Args:
        previous: (H, W) class ids of the frame before; 255 is left out of the consistency.
        present: (H, W) class ids; 255 is inconsistent with every class.
        motion: between the frames, which have the masks' size.
        classes: K.

    Raises:
        ValueError: the sizes differ.
    """
    if previous.shape == present.shape:
        previous, present = (_smaller(m, cv2.INTER_NEAREST) for m in (previous, present))
    if not previous.shape == present.shape == motion.still.shape:
        raise ValueError(
            f"masks of shapes {previous.shape} and {present.shape}, motion of {motion.still.shape}"
        )
    return Steadiness(
        confusion_matrix(warp(previous, motion), present, classes),
        int(np.count_nonzero(motion.still)),
        int(np.count_nonzero(motion.still & (previous != present))),
    )


def _smaller(plane: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
    """The plane made smaller as the module says; a small plane is returned as it is."""
    height, width = plane.shape
    by = max(height, width) // _SIDE
    if by < 2:
        return plane
    size = max(1, width // by), max(1, height // by)
    return np.asarray(cv2.resize(plane, size, interpolation=interpolation), np.uint8)


def _squared(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(flow[..., 0] ** 2 + flow[..., 1] ** 2, np.float32)
