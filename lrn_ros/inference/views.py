# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Averages over several views of an image, scaled and mirrored; used in evaluation only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.segmenter import Segmenter


def mean_probability(
    segmenter: Segmenter, rgb: NDArray[np.uint8], scales: Sequence[float], flip: bool
) -> NDArray[np.float32]:
    """Class probabilities of an image, averaged over its views with equal weights.

    Args:
        segmenter: gives the class scores of every view.
        rgb: (H, W, 3) uint8, RGB.
        scales: sizes of the network's input relative to the segmenter's own; at least one.
        flip: also use the mirror image at every scale.

    Returns:
        (K, H, W) float32, summing to 1 over the classes; its argmax is the mask.

    Raises:
        UserError: `rgb` has another shape or dtype.
    """
    total = np.zeros((len(segmenter.labels), *rgb.shape[:2]), np.float32)
    for scale in scales:
        total += _softmax(segmenter.scores(rgb, scale))
        if flip:
            mirrored = np.ascontiguousarray(rgb[:, ::-1])
            total += _softmax(segmenter.scores(mirrored, scale))[..., ::-1]
    total /= len(scales) * (2 if flip else 1)
    return total


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities over the first axis, in place."""
    scores -= scores.max(0)
    np.exp(scores, out=scores)
    scores /= scores.sum(0)
    return scores
