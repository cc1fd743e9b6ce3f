# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compiled engines, on disk and in memory, and the frame sizes for which they are compiled.

The folder on disk is private to the user. Its entries are checked before use and never trusted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

from lrn_ros.model.artifact import write_atomically

MAX_ENTRIES = 64  # on disk; the entries that were not used for the longest time are removed
_LOG = logging.getLogger("lrn_ros")


def default_folder() -> Path:
    """lrn_ros/ in the user's cache directory: $XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "lrn_ros"


class EngineCache:
    """Keeps bytes on disk under a key that names everything on which they depend.

    An entry has a digest of its key and its bytes, so an entry that was cut short, changed or
    renamed is not found. If the folder cannot be written, or if other users can write to it,
    nothing is kept, and the log says so once.

    Args:
        folder: is made for the user alone if it does not exist; None: `default_folder`.

    Attributes:
        folder: the folder in use; None if nothing is kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder: Path | None = None
        try:
            folder = default_folder() if folder is None else folder
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
            self._give_up(str(error))
            return
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            self._give_up(f"other users can write to {folder}; chmod go-w {folder} prevents it")
        else:
            self.folder = folder

    def load(self, *key: str) -> bytes | None:
        """The bytes saved under `key`; None if there are none or they are damaged."""
        if self.folder is None:
            return None
        entry = _entry(self.folder, key)
        try:
            data = entry.read_bytes()
            os.utime(entry)
        except OSError:
            return None
        digest, data = data[:32], data[32:]
        return data if digest == _digest(data, key) else None

    def save(self, data: bytes, *key: str) -> None:
        """Keep bytes under `key`; a reader sees the old bytes or the new bytes, never a part."""
        if self.folder is None:
            return
        try:
            write_atomically(_entry(self.folder, key), _digest(data, key) + data)
            entries = sorted(self.folder.glob("*.engine"), key=lambda e: e.stat().st_mtime)
            for old in entries[:-MAX_ENTRIES]:
                old.unlink()
        except OSError as error:
            self._give_up(str(error))

    def _give_up(self, reason: str) -> None:
        _LOG.warning(
            "compiled engines are not kept, the next start compiles again: %s; engine_cache_dir"
            " (cache_dir in Python) names another folder",
            reason,
        )
        self.folder = None


def _entry(folder: Path, key: tuple[str, ...]) -> Path:
    return folder / f"{_digest(b'', key).hex()[:32]}.engine"


def _digest(data: bytes, key: tuple[str, ...]) -> bytes:
    return hashlib.sha256("\0".join(key).encode() + b"\0" + data).digest()


MAX_ENGINES = 16  # in memory: two sizes, each for 1, 2, 4 ... 64 frames

Key = TypeVar("Key", bound=Hashable)
Engine = TypeVar("Engine")


class EngineStore(Generic[Key, Engine]):
    """The engines of a backend that are in memory, at most MAX_ENGINES. Safe for several threads.

    An engine is made when it is first asked for. The engine that was not used for the longest time
    is dropped first.
    """

    def __init__(self) -> None:
        self._engines: OrderedDict[Key, Engine] = OrderedDict()  # by last use
        self._lock, self._compiling = threading.Lock(), threading.Lock()

    def __contains__(self, key: object) -> bool:
        """Whether there is an engine for this key."""
        return key in self._engines

    def __len__(self) -> int:
        """The number of engines."""
        return len(self._engines)

    def get(self, key: Key, compile: Callable[[Key], Engine]) -> Engine:
        """The engine for a key.

        Args:
            key: identifies the engine.
            compile: makes the engine if it does not exist. One engine is compiled at a time; other
                engines can be used meanwhile.

        Raises:
            Exception: any exception of `compile`; nothing is kept then.
        """
        with self._lock:
            if key in self._engines:
                self._engines.move_to_end(key)
                return self._engines[key]
        with self._compiling:
            if key in self._engines:  # another thread has made it meanwhile
                return self._engines[key]
            engine = compile(key)
            with self._lock:
                if len(self._engines) >= MAX_ENGINES:
                    self._engines.popitem(last=False)
                self._engines[key] = engine
        return engine


_MAX_SIZES = 8  # sizes that are kept
_MIN_FRAMES = 3  # a size is kept after so many frames
_MAX_COUNTED = 64  # sizes whose frames are counted
_MAX_SIDE = 16384  # pixels


class FrameSizes:
    """(height, width) of the frames that a node had, kept on disk until its next start.

    So the node can compile these sizes before the first frame comes.

    Args:
        cache: where they are kept.
        owner: name of the node.
    """

    def __init__(self, cache: EngineCache, owner: str) -> None:
        self._cache, self._key = cache, ("frame sizes", owner)
        self._kept: list[tuple[int, int]] = []
        self._frames: Counter[tuple[int, int]] = Counter()

    def remembered(self) -> list[tuple[int, int]]:
        """The sizes of the last run, the most recent size first; empty if there are none."""
        try:
            sizes = [(int(h), int(w)) for h, w in json.loads(self._cache.load(*self._key) or "[]")]
        except (ValueError, TypeError):
            return []
        return [s for s in sizes if min(s) >= 1 and max(s) <= _MAX_SIDE][:_MAX_SIZES]

    def remember(self, size: tuple[int, int]) -> None:
        """Count a frame of this size; a size with several frames is kept for the next run.

        A camera that crops or zooms may send a new size with every frame; such sizes are not kept.
        """
        if size in self._kept:
            return
        if len(self._frames) >= _MAX_COUNTED:
            self._frames.clear()
        self._frames[size] += 1
        if self._frames[size] >= _MIN_FRAMES:
            self._kept = [size, *self._kept][:_MAX_SIZES]
            self._cache.save(json.dumps(self._kept).encode(), *self._key)
