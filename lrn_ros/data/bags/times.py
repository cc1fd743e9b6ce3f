# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Times of recorded messages, without reading the messages: a bag may be very large."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import apsw
import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.bags.mcap import index_times
from lrn_ros.data.bags.storage import Unindexed, library
from lrn_ros.data.bags.unpack import Unpacked


@dataclass(frozen=True)
class Extent:
    """The part of a bag that is replayed, in seconds; duration None: up to the end."""

    start_s: float = 0.0
    duration_s: float | None = None


class _Recorded(Protocol):
    @property
    def recorded_ns(self) -> int: ...


T = TypeVar("T", bound=_Recorded)


def within(
    items: Iterable[tuple[int, T]], extent: Extent, first_ns: int | None = None
) -> Iterator[tuple[int, T]]:
    """The messages of a topic inside an extent, in recorded order.

    Seconds are counted from the topic's first message.

    Args:
        items: the messages with their indices.
        extent: the part of the bag.
        first_ns: time of the topic's first message; None: it is the first of `items`.
    """
    for index, item in items:
        first_ns = item.recorded_ns if first_ns is None else first_ns
        at = (item.recorded_ns - first_ns) / 1e9
        if extent.duration_s is not None and at >= extent.start_s + extent.duration_s:
            return
        if at >= extent.start_s:
            yield index, item


def same_receipt(recorded_ns: Sequence[int] | NDArray[np.int64]) -> bool:
    """Whether receive times are useless, because most equal that of the message before."""
    steps = np.diff(np.asarray(recorded_ns, np.int64))
    return len(steps) > 0 and int((steps == 0).sum()) > len(steps) / 2


def recorded_times(path: Path, topic: str, unpacked: Unpacked) -> NDArray[np.int64] | None:
    """(N,) int64: when the messages of a topic in a storage file were recorded, ns, in order.

    None if not all of them are known: the file is missing, damaged, or mcap without an index
    (https://mcap.dev/spec#message-index-op0x07).

    Raises:
        OSError: see Plain.
    """
    if not path.is_file():
        return None
    plain = unpacked.get(path)
    with library(plain.path) as opened:
        if isinstance(opened, Unindexed):
            return None
        counts = {c.id: c.msgcount for c in opened.connections if c.topic == topic}
    read = _of_database if plain.path.suffix == ".db3" else index_times
    try:
        times = read(plain.path, counts)
    except (apsw.Error, struct.error, ValueError):
        return None
    return np.sort(times) if len(times) == sum(counts.values()) else None


def _of_database(path: Path, topics: Collection[int]) -> NDArray[np.int64]:
    chosen = ",".join(map(str, topics)) or "NULL"
    query = f"SELECT timestamp FROM messages WHERE topic_id IN ({chosen})"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    uri = f"{path.absolute().as_uri()}?immutable=1"
    with closing(apsw.Connection(uri, flags=flags)) as database:
        return np.array([time for (time,) in database.execute(query)], np.int64)
