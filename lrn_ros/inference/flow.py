# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Dense optical flow of pictures of any size, by inverse search (Kroeger et al., ECCV 2016)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LEAST_SIDE = 16  # OpenCV's search refuses smaller pictures,
_WIDEST = 2  # and it may crash on those that are more than about four times as wide as high


def find_flow(
    search: cv2.DISOpticalFlow, present: NDArray[np.uint8], other: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Where every pixel of one grey picture is in another.

    Args:
        search: what finds it; not thread-safe.
        present: (h, w) uint8.
        other: (h, w) uint8.

    Returns:
        (h, w, 2) float32: pixels to the right, and down.
    """
    height, width = present.shape
    below = max(height, -(-width // _WIDEST), _LEAST_SIDE) - height
    right = max(width, _LEAST_SIDE) - width
    one, two = (
        cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
        for picture in (present, other)
    )
    flow = search.calc(one, two, None)  # type: ignore[call-overload]
    return np.asarray(flow[:height, :width], np.float32)
