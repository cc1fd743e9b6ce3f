# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The result of a Segmenter: a mask, its confidence, and the duration of every stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The durations that the node measures for every frame, in the order of the frame's path.
STAGES = (
    "transport_ms", "queue_ms", "decode_ms", "preprocess_ms", "inference_ms", "postprocess_ms",
    "publish_ms", "processing_ms", "end_to_end_ms",
)  # fmt: skip


@dataclass(frozen=True)
class Timings:
    """The duration of every stage in milliseconds.

    Attributes:
        preprocess_ms, inference_ms, postprocess_ms: the durations. Every frame of a batch has the
            durations of the whole batch.
        fused: names of the stages that are part of `inference_ms`; their own duration is 0.
        batch: how many frames went through the network together.
    """

    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float
    fused: tuple[str, ...] = ()
    batch: int = 1

    @property
    def total_ms(self) -> float:
        """The sum of all stages."""
        return self.preprocess_ms + self.inference_ms + self.postprocess_ms


@dataclass(frozen=True)
class Result:
    """One segmented frame.

    Attributes:
        mask: (H, W) uint8 class ids.
        confidence: (H, W) uint8, the softmax probability of the chosen class times 255, rounded;
            None if the caller did not ask for it.
        timings: duration of the stages.
    """

    mask: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
    timings: Timings
