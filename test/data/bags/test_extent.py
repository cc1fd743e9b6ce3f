# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The part of a bag that an extent names."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from lrn_ros.data.bags.times import Extent, within


class Recorded(NamedTuple):
    recorded_ns: int


@pytest.mark.parametrize(
    "extent, indices",
    [
        (Extent(), range(10)),
        (Extent(0.3), range(3, 10)),
        (Extent(0.3, 0.2), (3, 4)),
        (Extent(0, 0.25), (0, 1, 2)),
        (Extent(0.85), (9,)),
        (Extent(5), ()),
        (Extent(0.3, 0), ()),
    ],
)
def test_seconds_count_from_the_first_message(extent, indices):
    items = [Recorded(7_000_000_000 + i * 100_000_000) for i in range(10)]
    assert list(within(enumerate(items), extent)) == [(i, items[i]) for i in indices]


def test_nothing_behind_the_end_is_read():
    def items():
        yield from (Recorded(i) for i in (0, 10**9, 2 * 10**9))
        raise AssertionError("read on")

    assert len(list(within(enumerate(items()), Extent(0, 1.5)))) == 2
