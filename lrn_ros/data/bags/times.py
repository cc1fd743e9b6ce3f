# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When messages were recorded, without reading them: a bag may be long and its messages large."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

import apsw
import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.bags.mcap import index_times
from lrn_ros.data.bags.storage import Unindexed, library
from lrn_ros.data.bags.unpack import Unpacked


def same_receipt(recorded_ns: Sequence[int] | NDArray[np.int64]) -> bool:
    """Whether receive times tell nothing: most of them are those of the message before."""
    steps = np.diff(np.asarray(recorded_ns, np.int64))
    return len(steps) > 0 and int((steps == 0).sum()) > len(steps) / 2


def recorded_times(path: Path, topic: str, unpacked: Unpacked) -> NDArray[np.int64] | None:
    """(N,) int64: when the messages of a topic in a storage file were recorded, ns, in order.

    None where the file does not tell all of them: it is missing, damaged, or mcap without an index
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
