# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MCAP files by their records alone (https://mcap.dev/spec), for what their index does not tell.

rosbag2 can leave out the message index, the statistics and the repeated channels, and a recorder
that was killed leaves no index at all.
"""

from __future__ import annotations

import heapq
import os
import struct
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import lz4.frame  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _MESSAGE_INDEX, _CHUNK_INDEX, _DATA_END = 3, 4, 5, 6, 7, 8, 15
_UNPACK = {"": bytes, "lz4": lz4.frame.decompress, "zstd": zstd.decompress}
_LATEST = 2**63 - 1

Found = tuple[str, str, int, bytes]
"""A message: topic, type, time of recording in nanoseconds, bytes as they were recorded."""


@dataclass(frozen=True)
class Layout:
    """The records of a file, without a look into its chunks.

    Attributes:
        whole: the file has its end, so that none of it is missing.
        starts: time of the first message of every chunk, and of every message outside of chunks, in
            the order of the file, nanoseconds.
        indexed: messages that message indexes list, by channel.
        loose: messages outside of chunks.
        has_chunk_indexes: the summary lists every chunk.
    """

    whole: bool
    starts: tuple[int, ...]
    indexed: Counter[int]
    loose: int
    has_chunk_indexes: bool


def layout(path: Path) -> Layout:
    """The layout of a file; it is walked through once, past its chunks, while it does not change.

    Raises:
        struct.error, OSError: damaged, or it cannot be read.
    """
    about = path.stat()
    return _layout(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=64)
def _layout(path: Path, size: int, changed_ns: int) -> Layout:
    starts: list[int] = []
    indexed: Counter[int] = Counter()
    loose = chunks = chunk_indexes = 0
    ended = False
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return Layout(False, (), indexed, 0, False)
        for kind, _ in _heads(file, size):
            if kind == _MESSAGE_INDEX:
                channel, octets = struct.unpack_from("<HI", file.read(6))
                indexed[channel] += octets // 16
            elif kind == _CHUNK:
                starts.append(struct.unpack_from("<Q", file.read(8))[0])
                chunks += 1
            elif kind == _MESSAGE:
                starts.append(struct.unpack_from("<HIQ", file.read(14))[2])
                loose += 1
            chunk_indexes += kind == _CHUNK_INDEX
            ended |= kind == _DATA_END
        file.seek(-min(size, len(_MAGIC)), os.SEEK_END)
        whole = ended and file.read() == _MAGIC
    return Layout(whole, tuple(starts), indexed, loose, chunk_indexes == chunks)


def _heads(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Kind and length of the records from the file's position on; the file stands at each body."""
    while len(head := file.read(9)) == 9:
        kind, length = struct.unpack("<BQ", head)
        body = file.tell()
        if length > size - body:
            return
        yield kind, length
        file.seek(body + length)


def index_times(path: Path, channels: Collection[int]) -> NDArray[np.int64]:
    """(N,) int64: times of the messages of channels by the message indexes, nanoseconds.

    Raises:
        struct.error, ValueError, OSError: damaged, or it cannot be read.
    """
    times: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    with path.open("rb") as file:
        file.seek(len(_MAGIC))
        for kind, length in _heads(file, path.stat().st_size):
            if kind == _DATA_END:
                break
            if kind == _MESSAGE_INDEX:
                body = file.read(length)
                if struct.unpack_from("<H", body)[0] in channels:
                    times.append(np.frombuffer(body, "<i8", offset=6)[::2])
    return np.concatenate(times)


def scan(path: Path, topic: str | None, in_order: bool) -> Iterator[Found]:
    """The messages of a topic (None: of all), read from the beginning of the file.

    Args:
        path: path of the file.
        topic: name of the topic.
        in_order: whether the messages come in the order of their times, which takes a whole file;
            otherwise they come in the order of the file.

    Raises:
        Exception: of whatever type the damaged bytes cause, after the last message before them.
    """
    groups = _Groups(topic).of_file(path)
    if not in_order:
        for group in groups:
            yield from group
        return
    # A message may go out when no chunk that follows has an older one.
    starts = layout(path).starts[1:]
    oldest = list(accumulate(reversed((*starts, _LATEST)), min))[::-1]
    held: list[tuple[int, int, Found]] = []
    count = 0
    for group, oldest_later in zip(groups, oldest):
        for found in group:
            heapq.heappush(held, (found[2], count, found))
            count += 1
        while held and held[0][0] <= oldest_later:
            yield heapq.heappop(held)[2]


class _Groups:
    """Messages by chunks; one outside of chunks is a group of its own."""

    def __init__(self, topic: str | None) -> None:
        self._topic = topic
        self._schemas: dict[int, str] = {0: ""}
        self._channels: dict[int, tuple[str, str]] = {}

    def of_file(self, path: Path) -> Iterator[Iterator[Found]]:
        """The groups; each is to be walked through before the next is asked for."""
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return
            for kind, length in _heads(file, path.stat().st_size):
                if kind == _DATA_END:
                    return
                if kind == _CHUNK:
                    yield self._of_chunk(_chunk(file.read(length)))
                elif kind in (_SCHEMA, _CHANNEL):
                    self._declare(kind, file.read(length))
                elif kind == _MESSAGE:
                    yield self._message(file.read(length))

    def _of_chunk(self, records: bytes) -> Iterator[Found]:
        with BytesIO(records) as file:
            for kind, length in _heads(file, len(records)):
                if kind in (_SCHEMA, _CHANNEL):
                    self._declare(kind, file.read(length))
                elif kind == _MESSAGE:
                    yield from self._message(file.read(length))

    def _message(self, body: bytes) -> Iterator[Found]:
        channel, _, recorded_ns = struct.unpack_from("<HIQ", body)
        topic, kind = self._channels[channel]
        if self._topic in (None, topic):
            yield topic, kind, recorded_ns, body[22:]

    def _declare(self, kind: int, body: bytes) -> None:
        if kind == _SCHEMA:
            (number,) = struct.unpack_from("<H", body)
            self._schemas[number] = _text(body, 2)
        else:
            number, schema = struct.unpack_from("<HH", body)
            self._channels[number] = (_text(body, 4), self._schemas[schema])


def _chunk(body: bytes) -> bytes:
    """The records of a chunk: after times, size and checksum come the compression and the data."""
    compression = _text(body, 28)
    at = 32 + len(compression)
    (length,) = struct.unpack_from("<Q", body, at)
    return _UNPACK[compression](body[at + 8 : at + 8 + length])


def _text(body: bytes, at: int) -> str:
    (length,) = struct.unpack_from("<I", body, at)
    return body[at + 4 : at + 4 + length].decode()
