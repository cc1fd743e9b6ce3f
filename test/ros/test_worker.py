# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Latency figures of a frame, in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrn_ros.images.cdr import CompressedImageMessage, Header, Stamp
from lrn_ros.inference.result import STAGES, Result, Timings
from lrn_ros.ros.camera import ReceivedFrame
from lrn_ros.ros.worker import _Answer, latency_ms, stage_times

S = 10**9


@pytest.mark.parametrize(
    ("stamp", "now", "milliseconds"),
    [
        (10 * S, 10 * S + 12_500_000, 12.5),
        (10 * S, 10 * S, 0.0),
        (10 * S, 70 * S, 60_000.0),
        (10 * S, 70 * S + 1, math.nan),  # of another clock
        (10 * S + 1, 10 * S, math.nan),  # in the future
        (0, 10 * S, math.nan),
        (-1, 10 * S, math.nan),
    ],
)
def test_latency(stamp: int, now: int, milliseconds: float) -> None:
    np.testing.assert_equal(latency_ms(stamp, now), milliseconds)


def test_the_stages_of_a_frame() -> None:
    header = Header(Stamp(10, 0), "camera")
    message = CompressedImageMessage(header, "jpeg", memoryview(b""))
    frame = ReceivedFrame(message, received_ns=10 * S + 5_000_000, received_at=100.0)
    result = Result(np.zeros((1, 1), np.uint8), None, Timings(1.0, 20.0, 3.0))
    answer = _Answer(result, result.mask, 100.030, 100.032, 10 * S + 37_000_000)
    stages = stage_times(frame, 100.002, 100.006, answer, 4.0)
    assert tuple(stages) == STAGES
    assert list(stages.values()) == pytest.approx([5, 2, 4, 1, 20, 3, 4, 32, 37])
    assert stages["queue_ms"] + stages["decode_ms"] <= stages["processing_ms"]
