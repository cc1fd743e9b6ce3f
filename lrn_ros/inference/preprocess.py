# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Preprocessing on the CPU with OpenCV, for backends whose input lives in host memory."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.geometry import Geometry


def resize(rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    """Scale a frame to the network's input: area averaging down, bilinear up, border repeated.

    Args:
        rgb: (H, W, 3) uint8, H and W as `geometry.frame`.
        geometry: the sizes, see lrn_ros.inference.geometry.

    Returns:
        (h, w, 3) uint8, h and w as `geometry.network`; `rgb` itself where nothing is to do.
    """
    image = rgb
    if geometry.content != geometry.frame:
        shrinks = geometry.content[0] < geometry.frame[0]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = cv2.resize(rgb, geometry.content[::-1], interpolation=method)  # type: ignore[assignment]
    if geometry.network != geometry.content:
        below = geometry.network[0] - geometry.content[0]
        right = geometry.network[1] - geometry.content[1]
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    return image
