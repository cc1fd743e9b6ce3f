# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Findings about the times of a recording: one for each loop, clock that was set, and pause."""

from __future__ import annotations

import numpy as np
import pytest

from lrn_ros.replay.clocks import of_stream

STEP = 100_000_000
S = 10**9
START = 1_700_000_000 * S
EVEN = START + STEP * np.arange(1000)


def test_images_that_come_late_are_not_missing() -> None:
    rng, step = np.random.default_rng(0), 33_333_333
    stamps = [10**18 + i * step for i in range(3000)]
    late = [s + int(rng.random() < 0.01) * 50_000_000 for s in stamps]
    assert of_stream(stamps, late) == []
    (said,) = of_stream(stamps[:1000] + stamps[1002:], late[:1000] + late[1002:])
    assert said.startswith("about 2 images are missing in 1 gaps, the first after image 999")
    unset = of_stream([0] * 2998, stamps[:1000] + stamps[1002:])
    assert [u[:15] for u in unset] == ["stamps are not ", "about 2 images "]


def test_a_simulation_that_begins_at_zero() -> None:
    times = STEP * np.arange(100)
    assert of_stream(times, times) == []
    assert of_stream(times, EVEN[:100]) == []
    late = times.copy()
    late[50] = 0  # one in the middle is not set
    assert "those of 1 of 100" in of_stream(late, EVEN[:100])[0]


@pytest.mark.parametrize("begins", [0, START])
def test_equal_receive_times(begins: int) -> None:
    stamps = begins + STEP * np.delete(np.arange(100), (40, 41))
    found = of_stream(stamps, [START] * 98)
    assert [f[:23] for f in found] == ["about 2 images are miss"]


def test_a_loop_is_one_finding() -> None:
    """`ros2 bag play --loop`, recorded again: the stamps start again, the recorder's clock not."""
    stamps = np.concatenate([EVEN[:300]] * 3)
    (said,) = of_stream(stamps, EVEN[:900])
    assert said.startswith("stamps start again 2 times, first at image 300 (-29.9 s)")


@pytest.mark.parametrize("by", [3600, 2, -3600])
def test_a_recorders_clock_that_was_set_is_one_finding(by: int) -> None:
    recorded = EVEN.copy()
    recorded[400:] += by * S
    (said,) = of_stream(EVEN, recorded)
    assert (
        f"a clock was set once: the recorder's times jump by {by + 0.1:+.1f} s at image 400" in said
    )


@pytest.mark.parametrize("by", [3600, 2])
def test_a_cameras_clock_that_was_set_is_one_finding(by: int) -> None:
    stamps = EVEN.copy()
    stamps[400:] += by * S
    (said,) = of_stream(stamps, EVEN)
    assert f"a clock was set once: stamps jump by {by + 0.1:+.1f} s at image 400" in said


def test_a_pause_is_one_finding() -> None:
    times = EVEN.copy()
    times[400:] += 600 * S
    (said,) = of_stream(times, times + 5_000_000)
    assert said == "the recording pauses once, first after image 399, for 600.1 s in all"


def test_images_that_were_held_up_are_no_clock_that_was_set() -> None:
    recorded = EVEN.copy()
    recorded[400:430] = recorded[430]  # three seconds' images arrive at once
    assert of_stream(EVEN, recorded) == []


def test_a_single_wrong_stamp() -> None:
    stamps = EVEN.copy()
    stamps[400] += 40 * S
    found = of_stream(stamps, EVEN)
    assert [f[:24] for f in found] == ["stamps go back once, fir", "1 images have wrong stam"]
    assert "off by +40.0 s, first at image 400" in found[1]
