# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A part of a bag, by the recorder's clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar


@dataclass(frozen=True)
class Extent:
    """Which part of a bag is replayed, in seconds of its recording; duration None: to its end."""

    start_s: float = 0.0
    duration_s: float | None = None


class _Recorded(Protocol):
    @property
    def recorded_ns(self) -> int: ...


T = TypeVar("T", bound=_Recorded)


def within(
    items: Iterable[tuple[int, T]], extent: Extent, first_ns: int | None = None
) -> Iterator[tuple[int, T]]:
    """The messages of a topic, in recorded order, that are in the extent.

    Seconds count from the topic's first message.

    Args:
        items: the messages with their indices.
        extent: the part.
        first_ns: when the topic's first message was recorded; None: it is the first of `items`.
    """
    for index, item in items:
        first_ns = item.recorded_ns if first_ns is None else first_ns
        at = (item.recorded_ns - first_ns) / 1e9
        if extent.duration_s is not None and at >= extent.start_s + extent.duration_s:
            return
        if at >= extent.start_s:
            yield index, item
