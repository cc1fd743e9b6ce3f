# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shared parts of the tests of exported graphs."""

from __future__ import annotations

import numpy as np


def images(*shape: int) -> np.ndarray:
    """(N, H, W, 3) or (H, W, 3) uint8 noise, the same for the same shape."""
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), np.uint8)


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Of the scores, as a share of those expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
