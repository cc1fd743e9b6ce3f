# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the messages of one storage file of a bag with the library rosbags, up to any damage.

A file that the library cannot open, because its index or pages are missing, is read from its
beginning: mcap record by record, sqlite3 row by row.
"""

from __future__ import annotations

import shlex
import struct
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
from rosbags.rosbag2 import Reader

from lrn_ros.data.bags import mcap
from lrn_ros.data.bags.unpack import Unpacked, plain_name
from lrn_ros.errors import one_line

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


_MISSING = "the file is missing"


class Damaged(Exception):
    """The rest of a storage file cannot be read; the text says why in a few words."""


@dataclass(frozen=True)
class Record:
    """One recorded message: its topic, type, time of recording in nanoseconds, serialized bytes."""

    topic: str
    type: str
    recorded_ns: int
    data: bytes


@dataclass(frozen=True)
class Unindexed:
    """The reason why a file is read from its beginning, and whether it is complete."""

    reason: str
    whole: bool


@dataclass(frozen=True)
class Contents:
    """The content of a storage file.

    Attributes:
        topics: type and number of messages by topic.
        start_ns, end_ns: times of the first and the last message, nanoseconds.
        damage: why a part of the file cannot be read; None: all can, as far as its index says.
        note: why a complete file is read from its beginning; None: it is not read in this way.
    """

    topics: dict[str, tuple[str, int]]
    start_ns: int
    end_ns: int
    damage: str | None = None
    note: str | None = None


def read_storage(
    path: Path, topic: str, unpacked: Unpacked, start_ns: int | None = None
) -> Iterator[Record]:
    """The messages of a topic of a storage file, recorded at `start_ns` or later, in that order.

    Compressed messages are decompressed, and so is a compressed file, see `unpacked`.

    Raises:
        Damaged: after the last message that can be read, if not all can be read.
        OSError: see Plain.
    """
    if not path.is_file():
        raise Damaged(_MISSING)
    plain = unpacked.get(path)  # keeps the file
    with library(plain.path) as opened:
        if isinstance(opened, Unindexed):
            yield from _from_beginning(plain.path, topic, opened.whole)
            if opened.whole:
                return
            raise Damaged(opened.reason)
        if chosen := [c for c in opened.connections if c.topic == topic]:
            try:
                for connection, recorded_ns, data in opened.messages(chosen, start_ns):
                    yield Record(topic, connection.msgtype, recorded_ns, _decompressed(data))
            except Exception as error:  # damaged bytes make the library raise anything
                raise Damaged(_reason(error)) from error
    if unfinished := _unfinished(path):
        raise Damaged(unfinished)


def survey(path: Path, unpacked: Unpacked) -> Contents:
    """The content of a storage file; a damaged file is read through up to the damage.

    Raises:
        OSError: see Plain.
    """
    if not path.is_file():
        return Contents({}, 0, 0, _MISSING)
    plain = unpacked.get(path)  # keeps the file
    with library(plain.path) as opened:
        if not isinstance(opened, Unindexed):
            known = {n: (t.msgtype or "", t.msgcount) for n, t in opened.topics.items()}
            start, end = opened.start_time, opened.end_time - 1
            return Contents(known, start, end, _unfinished(path))
        topics: dict[str, tuple[str, int]] = {}
        times: list[int] = []
        damage, note = (None, opened.reason) if opened.whole else (opened.reason, None)
        try:
            for record in _from_beginning(plain.path, None, opened.whole):
                topics[record.topic] = (record.type, topics.get(record.topic, ("", 0))[1] + 1)
                times = [*times[:1], record.recorded_ns]
        except Damaged as error:
            damage = str(error)
        first, last = (times[0], times[-1]) if times else (0, 0)
        return Contents(topics, first, last, damage, note)


@contextmanager
def library(path: Path) -> Iterator[Reader | Unindexed]:
    """The library's reader of a file, or the reason why the library cannot read it."""
    with plain_name(path) as named:
        try:
            _check_pages(path)
            reader = Reader(named)
            reader.open()
        except Exception as error:  # damaged bytes make the library raise anything
            reason = _unfinished(path) or _reason(error).replace(str(named), str(path))
            yield Unindexed(reason, _is_whole_mcap(path))
            return
        try:
            missing = _missing_index(reader, path) if path.suffix == ".mcap" else None
            yield Unindexed(missing, _is_whole_mcap(path)) if missing else reader
        finally:
            reader.close()


def _is_whole_mcap(path: Path) -> bool:
    try:
        return path.suffix == ".mcap" and mcap.layout(path).whole
    except struct.error:
        return False


def _missing_index(reader: Reader, path: Path) -> str | None:
    """Why the library would not find every message of a file; None: it finds all.

    The library believes that a chunk without a message index has no messages, and that the messages
    of a channel are missing if the summary does not repeat the channel.
    """
    try:
        found = mcap.layout(path)
    except struct.error:
        return "damaged inside"
    indexed, listed = sum(found.indexed.values()), sum(c.msgcount for c in reader.connections)
    complete = reader.message_count == indexed == listed and (indexed or not found.starts)
    if not complete or found.loose:
        return "without a complete index of its messages"
    if not found.has_chunk_indexes:
        return "without an index of its chunks"
    types = {c.msgtype for c in reader.connections}
    return "without the types of its messages" if types & {"", "__schemaless__"} else None


def _unfinished(path: Path) -> str | None:
    """A text about a log beside a database, which the library does not read; None: no log."""
    log = path.with_name(f"{path.name}-wal")
    if not log.is_file() or not log.stat().st_size:
        return None
    return (
        f"its recorder did not finish, messages in {log.name} are not read; first run:"
        f" sqlite3 {shlex.quote(str(path))} 'PRAGMA journal_mode = delete'"
    )


def _check_pages(path: Path) -> None:
    """Refuse a database whose last page is cut: its missing bytes would be read as zeros."""
    if path.suffix == ".db3" and path.stat().st_size % _page_size(path):
        raise Damaged("cut short")


def _page_size(path: Path) -> int:
    """Bytes of a page (https://sqlite.org/fileformat.html, section 1.3); 1: no database."""
    with path.open("rb") as file:
        head = file.read(18)
    if not head.startswith(b"SQLite format 3\0") or len(head) < 18:
        return 1
    size = int.from_bytes(head[16:18], "big")
    return 65536 if size == 1 else max(size, 1)


def _reason(error: Exception) -> str:
    return one_line(error).rstrip(".") or type(error).__name__


def _decompressed(data: bytes) -> bytes:
    """A message as it was serialized; a compressed message begins with zstd's magic number."""
    return zstd.decompress(data) if data[:4] == b"\x28\xb5\x2f\xfd" else data


# Exceptions while damaged bytes are read: lz4 raises RuntimeError, unknown numbers raise KeyError.
_DAMAGE = (
    apsw.Error, struct.error, zstd.ZstdError, RuntimeError, KeyError, TypeError, ValueError,
)  # fmt: skip


def _from_beginning(path: Path, topic: str | None, whole: bool) -> Iterator[Record]:
    """All messages of a file that is read from its beginning, up to any damage.

    The messages of a complete mcap file come in the order of their times. The damage of an
    incomplete file ends the messages without an error.
    """
    try:
        if path.suffix == ".db3":
            yield from _salvage_sqlite(path, topic)
        else:
            for name, kind, recorded_ns, data in mcap.scan(path, topic, in_order=whole):
                yield Record(name, kind, recorded_ns, _decompressed(data))
    except _DAMAGE:
        if whole:  # the end of the file is intact, so the damage is inside
            raise Damaged("damaged inside") from None


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
    """Shows SQLite a file up to its last complete page; SQLite would fill a cut page with zeros."""

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
