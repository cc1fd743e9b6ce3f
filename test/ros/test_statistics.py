# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Counts, rates and faults of one camera, with a clock that the test controls."""

from __future__ import annotations

import math

import pytest

from lrn_ros.inference.result import STAGES
from lrn_ros.ros.statistics import CAUSES, WINDOW_S, Statistics


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statistics(clock: Clock) -> Statistics:
    return Statistics(clock)


def times(milliseconds: float) -> dict[str, float]:
    return dict.fromkeys(STAGES, milliseconds)


def test_rates_and_percentiles_are_those_of_the_window(
    clock: Clock, statistics: Statistics
) -> None:
    for i in range(200):  # 20 seconds at 10 Hz, every second image published
        statistics.arrived()
        if i % 2:
            statistics.completed(times(float(i)))
        clock.now += 0.1
    seen = statistics.snapshot()
    assert (seen.received, seen.published) == (200, 100)
    assert seen.input_hz == pytest.approx(10, rel=0.02)
    assert seen.output_hz == pytest.approx(5, rel=0.03)
    p50, p95, p99 = seen.percentiles["inference_ms"]
    assert 145 <= p50 <= 155 and 190 <= p95 <= p99 <= 199
    clock.now += 2 * WINDOW_S
    later = statistics.snapshot()
    assert later.input_hz == later.output_hz == 0 and later.percentiles == {}
    assert later.received == 200 and later.age_s == pytest.approx(2 * WINDOW_S + 0.1)


def test_every_cause_is_counted_and_no_other(clock: Clock, statistics: Statistics) -> None:
    for count, cause in enumerate(CAUSES, 1):
        statistics.dropped(cause, count)
    seen = statistics.snapshot()
    assert (
        list(seen.drops.values()) == list(range(1, len(CAUSES) + 1)) == list(seen.recent.values())
    )
    assert statistics.total_dropped() == sum(seen.drops.values())
    with pytest.raises(ValueError, match="unknown drop cause 'lost'"):
        statistics.dropped("lost")
    clock.now += WINDOW_S + 1
    assert set(statistics.snapshot().recent.values()) == {0}
    assert statistics.snapshot().drops == seen.drops


def test_a_fault_is_news_once_until_it_is_over(clock: Clock, statistics: Statistics) -> None:
    assert statistics.fault("invalid", "wrong step", "step is 3")
    assert not statistics.fault("invalid", "wrong step", "step is 4"), "other numbers only"
    assert statistics.fault("invalid", "wrong step", "step is odd"), "another kind"
    both = {"wrong step": "step is 4", "wrong step (2)": "step is odd"}
    assert statistics.snapshot().faults == both
    clock.now += WINDOW_S - 1
    statistics.completed(times(1.0))
    assert statistics.snapshot().faults, "too short ago to be over"
    clock.now += 2
    assert statistics.snapshot().faults == {}
    assert statistics.fault("invalid", "wrong step", "step is 3"), "it is news again"


def test_a_fault_lasts_while_no_image_is_usable(clock: Clock, statistics: Statistics) -> None:
    statistics.idled()
    clock.now += 1
    statistics.arrived()
    statistics.fault("invalid", "unknown encoding", "32FC1 is not supported")
    clock.now += 100 * WINDOW_S
    seen = statistics.snapshot()
    assert seen.faults == {"unknown encoding": "32FC1 is not supported"} and seen.blocked
    statistics.idled()
    seen = statistics.snapshot()
    assert seen.faults == {} and not seen.blocked


def test_faults_do_not_pile_up(statistics: Statistics) -> None:
    news = [statistics.fault("invalid", f"kind {chr(97 + i)}", "text") for i in range(26)]
    assert news == [True] * 16 + [False] * 10 and len(statistics.snapshot().faults) == 16
    texts = [statistics.fault("invalid", "kind a", "x" * i) for i in range(1, 30)]
    assert not any(texts)
    assert statistics.snapshot().drops["invalid"] == 26 + 29, "all are counted"


def test_times_without_a_clock_in_common(statistics: Statistics) -> None:
    unknown = times(1.0) | {"transport_ms": math.nan, "end_to_end_ms": math.nan}
    statistics.completed(unknown)
    seen = statistics.snapshot()
    assert seen.timeless and "transport_ms" not in seen.percentiles
    statistics.completed(times(1.0))
    assert not statistics.snapshot().timeless


def test_peers_are_news_when_they_change(statistics: Statistics) -> None:
    assert not statistics.peer("incompatible publishers", "")
    assert statistics.peer("incompatible publishers", "/image: another type")
    assert not statistics.peer("incompatible publishers", "/image: another type")
    assert statistics.snapshot().peers == {"incompatible publishers": "/image: another type"}
    assert not statistics.peer("incompatible publishers", "")
    assert statistics.snapshot().peers == {}
