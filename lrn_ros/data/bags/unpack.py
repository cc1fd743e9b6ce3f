# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Prepares storage files for the library rosbags: unpacked, and under a name that it can open."""

from __future__ import annotations

import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Plain:
    """A storage file that is not compressed; an unpacked file is removed with the last reference.

    Args:
        path: a storage file; a damaged .zstd file is unpacked up to the damage.

    Attributes:
        path: path of the plain file.

    Raises:
        OSError: the folder for temporary files has no room, or `path` cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix != ".zstd":
            return
        folder = tempfile.mkdtemp(prefix="lrn_bag_")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder, path.stem)
        try:
            # If the file is damaged, the plain file is cut short, and its reader will notice.
            with (
                path.open("rb") as packed,
                self.path.open("wb") as out,
                suppress(EOFError, zstd.ZstdError),
            ):
                shutil.copyfileobj(zstd.ZstdFile(packed), out)
        except OSError as error:
            raise OSError(
                f"{path}: cannot be unpacked into {tempfile.gettempdir()}: {error.strerror};"
                " TMPDIR=FOLDER names a folder with more room"
            ) from error


class Unpacked:
    """Plain files for all readers of a bag; each file is unpacked once.

    A file is kept while somebody reads it. The file that was unpacked last is kept as long as this
    object. So there are one or two unpacked files at a time, however many files a bag has.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._files: weakref.WeakValueDictionary[Path, Plain] = weakref.WeakValueDictionary()
        self._last: Plain | None = None

    def get(self, path: Path) -> Plain:
        """The plain file of a storage file; it exists as long as the result is referenced."""
        with self._lock:
            plain = self._files.get(path)
            if plain is None:
                plain = self._files[path] = self._last = Plain(path)
            return plain


@contextmanager
def plain_name(path: Path) -> Iterator[Path]:
    """The file under a name that needs no escapes in a URI.

    The library makes URIs of the paths of databases without escapes (https://sqlite.org/uri.html,
    section 3.1).
    """
    if path.suffix != ".db3" or not set("?#%") & set(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="lrn_bag_") as folder:
        link = Path(folder, "bag.db3")
        link.symlink_to(path.absolute())
        yield link
