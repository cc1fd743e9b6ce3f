# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compiled engines on disk: in a folder private to the user, checked before use, never trusted."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from lrn_ros.model.artifact import write_atomically

MAX_ENTRIES = 64  # entries; of more, those go that were not used for longest
_LOG = logging.getLogger("lrn_ros")


def default_folder() -> Path:
    """lrn_ros/ in the user's cache directory: $XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "lrn_ros"


class EngineCache:
    """Bytes under a key that names everything they depend on.

    An entry holds a digest of its key and its bytes: what was cut short, changed or put under
    another name is not found. A folder that cannot be written, or that others can write, is said
    once in the log, and nothing is kept then.

    Args:
        folder: made for the user alone where it does not exist; None: `default_folder`.

    Attributes:
        folder: the one in use; None where nothing is kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder: Path | None = None
        try:
            folder = default_folder() if folder is None else folder
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
            self._give_up(str(error))
            return
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            self._give_up(f"others can write {folder}; chmod go-w it")
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
        """Keep bytes under `key`; readers see the old ones or the new ones."""
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
