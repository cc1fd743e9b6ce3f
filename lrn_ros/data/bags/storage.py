# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of one storage file of a bag, with the rosbags library; damaged files up to the damage.

What the library cannot open, for want of an index or of pages, is read here from its beginning:
mcap record by record (https://mcap.dev/spec), sqlite3 row by row.
"""

from __future__ import annotations

import os
import shlex
import struct
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import apsw
import lz4.frame  # type: ignore[import-untyped]
from rosbags.rosbag2 import Reader

from lrn_ros.data.bags.unpack import Unpacked, plain_name

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


_MISSING = "the file is missing"


class Damaged(Exception):
    """The rest of a storage file cannot be read; the text says why, in a few words."""


@dataclass(frozen=True)
class Record:
    """One recorded message: its topic, type, time of recording in nanoseconds, serialized bytes."""

    topic: str
    type: str
    recorded_ns: int
    data: bytes


@dataclass(frozen=True)
class Contents:
    """What a storage file has.

    Attributes:
        topics: type and number of messages by name.
        start_ns, end_ns: times of the first and the last message, nanoseconds.
        damage: why not all of it can be read; None: it can, as far as its index says.
    """

    topics: dict[str, tuple[str, int]]
    start_ns: int
    end_ns: int
    damage: str | None = None


def read_storage(
    path: Path, topic: str, unpacked: Unpacked, start_ns: int | None = None
) -> Iterator[Record]:
    """The messages of a topic of a storage file, recorded at `start_ns` or later, in that order.

    Compressed messages are decompressed, and a compressed file is, see `unpacked`.

    Raises:
        Damaged: after the last message that can be read, where not all can.
        OSError: see Plain.
    """
    if not path.is_file():
        raise Damaged(_MISSING)
    plain = unpacked.get(path)  # keeps the file
    with library(plain.path) as opened:
        if isinstance(opened, str):
            yield from _salvage(plain.path, topic)
            raise Damaged(opened)
        if chosen := [c for c in opened.connections if c.topic == topic]:
            try:
                for connection, recorded_ns, data in opened.messages(chosen, start_ns):
                    yield Record(topic, connection.msgtype, recorded_ns, _decompressed(data))
            except Exception as error:  # damaged bytes make the library raise anything
                raise Damaged(_reason(error)) from error
    if unfinished := _unfinished(path):
        raise Damaged(unfinished)


def survey(path: Path, unpacked: Unpacked) -> Contents:
    """What a storage file has; a damaged one is read through for it, up to the damage.

    Raises:
        OSError: see Plain.
    """
    if not path.is_file():
        return Contents({}, 0, 0, _MISSING)
    plain = unpacked.get(path)  # keeps the file
    with library(plain.path) as opened:
        if not isinstance(opened, str):
            known = {n: (t.msgtype or "", t.msgcount) for n, t in opened.topics.items()}
            start, end = opened.start_time, opened.end_time - 1
            return Contents(known, start, end, _unfinished(path))
        topics: dict[str, tuple[str, int]] = {}
        times: list[int] = []
        for record in _salvage(plain.path, None):
            topics[record.topic] = (record.type, topics.get(record.topic, ("", 0))[1] + 1)
            times = [*times[:1], record.recorded_ns]
        first, last = (times[0], times[-1]) if times else (0, 0)
        return Contents(topics, first, last, opened)


@contextmanager
def library(path: Path) -> Iterator[Reader | str]:
    """The library's reader of a file, or why there is none."""
    with plain_name(path) as named:
        try:
            _check_pages(path)
            reader = Reader(named)
            reader.open()
        except Exception as error:  # damaged bytes make the library raise anything
            yield _unfinished(path) or _reason(error).replace(str(named), str(path))
            return
        try:
            yield reader
        finally:
            reader.close()


def _unfinished(path: Path) -> str | None:
    """What is to be done about a log beside a database, which the library does not read."""
    log = path.with_name(f"{path.name}-wal")
    if not log.is_file() or not log.stat().st_size:
        return None
    return (
        f"its recorder did not finish, messages in {log.name} are not read; first do:"
        f" sqlite3 {shlex.quote(str(path))} 'PRAGMA journal_mode = delete'"
    )


def _check_pages(path: Path) -> None:
    """A cut page of a database would be read with zeros instead of what is missing."""
    if path.suffix == ".db3" and path.stat().st_size % _page_size(path):
        raise Damaged("cut short")


def _page_size(path: Path) -> int:
    """Of a database, in bytes (https://sqlite.org/fileformat.html, section 1.3); 1: it is none."""
    with path.open("rb") as file:
        head = file.read(18)
    if not head.startswith(b"SQLite format 3\0") or len(head) < 18:
        return 1
    size = int.from_bytes(head[16:18], "big")
    return 65536 if size == 1 else max(size, 1)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _decompressed(data: bytes) -> bytes:
    """A message as it was serialized; that begins with a zero, compressed ones with the magic."""
    return zstd.decompress(data) if data[:4] == b"\x28\xb5\x2f\xfd" else data


# What reading on into damaged bytes raises: lz4 raises RuntimeError, unknown numbers KeyError.
_DAMAGE = (
    apsw.Error, struct.error, zstd.ZstdError, RuntimeError, KeyError, TypeError, ValueError,
)  # fmt: skip


def _salvage(path: Path, topic: str | None) -> Iterator[Record]:
    """The messages before the damage, in the order of the file; ends there without an error."""
    try:
        if path.suffix == ".db3":
            yield from _salvage_sqlite(path, topic)
        else:
            with path.open("rb") as file:
                if file.read(len(_MAGIC)) == _MAGIC:
                    yield from _Scan(topic).records(file)
    except _DAMAGE:
        return


def _salvage_sqlite(path: Path, topic: str | None) -> Iterator[Record]:
    """Rows in the order of writing, without the index."""
    pages = _WholePages(path.stat().st_size, _page_size(path))
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    uri = f"{path.absolute().as_uri()}?immutable=1"
    with closing(apsw.Connection(uri, flags=flags, vfs=pages.vfs_name)) as database:
        # Without it SQLite refuses a file with fewer pages than its header counts.
        database.execute("PRAGMA writable_schema = ON")
        topics = {i: (n, t) for i, n, t in database.execute("SELECT id, name, type FROM topics")}
        wanted = [i for i, (name, _) in topics.items() if topic in (None, name)]
        chosen = f"topic_id IN ({','.join(map(str, wanted)) or 'NULL'})"
        query = f"SELECT topic_id, timestamp, data FROM messages WHERE {chosen} ORDER BY id"
        for i, recorded_ns, data in database.execute(query):
            yield Record(*topics[i], recorded_ns, _decompressed(data))


class _WholePages(apsw.VFS):
    """Shows SQLite a file up to its last whole page; it would fill a cut one with zeros."""

    def __init__(self, size: int, page: int) -> None:
        self.vfs_name = f"lrn_ros {id(self)}"
        self._size = size - size % page
        super().__init__(self.vfs_name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        size = self._size

        class File(apsw.VFSFile):
            def xFileSize(self) -> int:
                return size

        return File("", name, flags)


_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 3, 4, 5, 6, 15
_UNPACK = {"": bytes, "lz4": lz4.frame.decompress, "zstd": zstd.decompress}


class _Scan:
    """Messages of an mcap file by its records alone, until one is incomplete."""

    def __init__(self, topic: str | None) -> None:
        self._topic = topic
        self._schemas: dict[int, str] = {0: ""}
        self._channels: dict[int, tuple[str, str]] = {}

    def records(self, file: BinaryIO) -> Iterator[Record]:
        """The messages from the file's position on; chunks are entered."""
        start = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(start)
        while head := file.read(9):
            kind, length = struct.unpack("<BQ", head)
            if kind == _DATA_END or length > size - file.tell():
                return
            if kind == _CHUNK:
                yield from self.records(BytesIO(_chunk(file.read(length))))
            elif kind == _MESSAGE:
                yield from self._message(file.read(length))
            elif kind in (_SCHEMA, _CHANNEL):
                self._declare(kind, file.read(length))
            else:
                file.seek(length, os.SEEK_CUR)

    def _message(self, body: bytes) -> Iterator[Record]:
        channel, _, recorded_ns = struct.unpack_from("<HIQ", body)
        topic, kind = self._channels[channel]
        if self._topic in (None, topic):
            yield Record(topic, kind, recorded_ns, _decompressed(body[22:]))

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
