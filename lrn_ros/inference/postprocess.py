# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Postprocessing on the CPU with NumPy: from coarse scores to the output's pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.geometry import Geometry


def upsample(coarse: NDArray[np.float32], geometry: Geometry, stride: int) -> NDArray[np.float32]:
    """Interpolate coarse scores bilinearly, with half-pixel centres, at the output's pixels.

    Args:
        coarse: (K, h, w) float32 at `stride` of the network's input.
        geometry: its content and output sizes give the map; the border is left out.
        stride: pixels of the network's input per score.

    Returns:
        (K, H, W) float32, H and W as `geometry.output`.
    """
    rows, columns = (
        _weights(coarse.shape[axis + 1], geometry.content[axis] / stride, geometry.output[axis])
        for axis in (0, 1)
    )
    return rows @ (coarse @ columns.T)


def _weights(cells: int, content: float, pixels: int) -> NDArray[np.float32]:
    """(pixels, cells) weights of linear interpolation; the first `content` cells are shown."""
    position = (np.arange(pixels) + 0.5) * content / pixels - 0.5
    distance = position.clip(0, cells - 1)[:, None] - np.arange(cells)
    return np.maximum(1 - np.abs(distance), 0).astype(np.float32)
