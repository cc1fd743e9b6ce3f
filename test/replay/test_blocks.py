# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Block bootstrap against scipy, a closed form and sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrn_ros.metrics.confusion import scores
from lrn_ros.replay.blocks import Blocks, block_length, interval, miou_interval


def test_blocks_of_one_frame_are_scipys_bootstrap() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(1).gamma(2.0, 1.0, 200)
    blocks = Blocks([200], [1], resamples=20_000)
    low, high = interval(blocks.sums([values[:, None]])[:, 0] / 200)
    found = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2)
    width = found.confidence_interval.high - found.confidence_interval.low
    assert low == pytest.approx(found.confidence_interval.low, abs=0.03 * width)
    assert high == pytest.approx(found.confidence_interval.high, abs=0.03 * width)


def test_blocks_see_that_neighbours_are_correlated() -> None:
    """The mean of an AR(1) series has the variance s2 / n / (1 - rho)^2, s2 of its noise."""
    rho, count = 0.8, 20_000
    noise = np.random.default_rng(0).normal(0, 1, count)
    values = np.zeros(count)
    for i in range(1, count):
        values[i] = rho * values[i - 1] + noise[i]
    expected = 2 * 1.96 / math.sqrt(count) / (1 - rho)
    widths = {}
    for length in (1, 100):
        low, high = interval(Blocks([count], [length]).sums([values[:, None]])[:, 0] / count)
        widths[length] = high - low
    assert widths[100] == pytest.approx(expected, rel=0.1)
    assert widths[1] == pytest.approx(expected * math.sqrt((1 - rho) / (1 + rho)), rel=0.1)


def test_sums_and_draws_are_of_the_same_frames() -> None:
    rng = np.random.default_rng(3)
    bags = [rng.integers(0, 1000, (n, 2)) for n in (7, 25, 1)]
    blocks = Blocks([7, 25, 1], [3, 4, 1], resamples=50)
    assert blocks.count == 3 + 7  # the bag of one frame is the same in every draw
    sums = blocks.sums(bags)
    for column in range(2):
        draws = list(blocks.draws([bag[:, column] for bag in bags]))
        assert [len(d) for d in draws] == [9 + 28 + 1] * 50
        np.testing.assert_array_equal(sums[:, column], [d.sum() for d in draws])
    first = next(iter(blocks.draws([np.arange(7), 100 + np.arange(25), np.array([1000])])))
    steps = np.diff(first[:9].reshape(3, 3))
    assert set(steps.ravel()) <= {1, -6} and (first[9:37] >= 100).all() and first[37] == 1000


def test_every_frame_is_drawn_equally_often() -> None:
    drawn = np.concatenate(list(Blocks([10], [4], resamples=5000).draws([np.arange(10)])))
    shares = np.bincount(drawn, minlength=10) / len(drawn)
    assert np.abs(shares - 0.1).max() < 0.004


def test_short_bags_are_drawn_whole() -> None:
    """The mean of bags whose frames are all alike varies as that of as many values."""
    values = np.random.default_rng(5).normal(0, 1, 50)
    bags = [np.full((10, 1), value) for value in values]
    blocks = Blocks([10] * 50, [10] * 50)
    assert blocks.count == 50
    low, high = interval(blocks.sums(bags)[:, 0] / 500)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(50), rel=0.06)
    means = np.array([draw.mean() for draw in blocks.draws([bag[:, 0] for bag in bags])])
    assert interval(means) == pytest.approx((low, high))


def test_a_short_bag_alone_has_no_interval() -> None:
    blocks = Blocks([15], [10])
    assert blocks.count == 0 and list(blocks.draws([np.arange(15)])) == []
    assert all(math.isnan(v) for v in interval(blocks.sums([np.ones((15, 1))])[:, 0]))


def test_lengths_and_intervals() -> None:
    ms = 1_000_000
    assert block_length([0]) == 1
    assert block_length([i * 33 * ms for i in range(1000)]) == 30
    assert block_length([i * 2000 * ms for i in range(1000)]) == 10  # the cube root
    assert block_length([i * 33 * ms for i in range(12)]) == 12
    low, high = interval(np.array([np.nan, *range(101)]))
    assert (low, high) == pytest.approx((2.5, 97.5))
    assert all(math.isnan(v) for v in interval(np.array([np.nan])))


def test_the_interval_of_a_miou() -> None:
    rng = np.random.default_rng(3)
    same = [np.array([[8, 1, 1], [2, 6, 0]])] * 30
    assert miou_interval([same]) == pytest.approx((2 / 3,) * 2)
    assert all(math.isnan(end) for end in miou_interval([same[:1]]))

    def width(count: int) -> float:
        """Of images whose hits vary independently, in sequences of five."""
        images = [np.array([[h, 100 - h, 0], [0, 100, 0]]) for h in rng.integers(0, 101, count)]
        low, high = miou_interval([images[i : i + 5] for i in range(0, count, 5)])
        assert low < scores(np.sum(images, axis=0)).miou < high
        return high - low

    assert width(100) / width(1600) == pytest.approx(4, rel=0.35)
    # A class that never occurs does not count, as in the mIoU itself.
    third = [np.insert(np.insert(m, 2, 0, 0), 2, 0, 1) for m in same]
    assert miou_interval([third]) == miou_interval([same])
