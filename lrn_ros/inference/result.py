# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the Segmenter returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Durations that the node measures of every frame, in the order of the frame's path.
STAGES = (
    "transport_ms", "queue_ms", "decode_ms", "preprocess_ms", "inference_ms", "postprocess_ms",
    "publish_ms", "processing_ms", "end_to_end_ms",
)  # fmt: skip


@dataclass(frozen=True)
class Timings:
    """Duration of every stage in milliseconds; stages fused into inference are 0 and named.

    With a `batch` of several frames each has the durations of all together.
    """

    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float
    fused: tuple[str, ...] = ()
    batch: int = 1

    @property
    def total_ms(self) -> float:
        """All stages together."""
        return self.preprocess_ms + self.inference_ms + self.postprocess_ms


@dataclass(frozen=True)
class Result:
    """One segmented frame.

    Attributes:
        mask: (H, W) uint8 class ids.
        confidence: (H, W) uint8, softmax probability of the chosen class times 255, rounded;
            None when it was not asked for.
        timings: duration of the stages.
    """

    mask: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
    timings: Timings
