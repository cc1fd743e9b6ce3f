# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Storage files as the rosbags library can open them: unpacked, and under a name it can take."""

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
    """A storage file that is not compressed; what was unpacked for it goes with the last reference.

    Args:
        path: a storage file; of a damaged one (.zstd) what can be had is unpacked.

    Attributes:
        path: of the plain file.

    Raises:
        OSError: no room for it in the folder for temporary files, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix != ".zstd":
            return
        folder = tempfile.mkdtemp(prefix="lrn_bag_")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder, path.stem)
        try:
            # Where the file is damaged, the plain one is cut short, which its reader finds.
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
    """Plain files for all who read a bag, each unpacked once.

    A file is kept while somebody reads it, and the last one that was unpacked while this lives: of
    a bag in many files there are one or two at a time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._files: weakref.WeakValueDictionary[Path, Plain] = weakref.WeakValueDictionary()
        self._last: Plain | None = None

    def get(self, path: Path) -> Plain:
        """The plain file of a storage file, for as long as it is referred to; see Plain."""
        with self._lock:
            plain = self._files.get(path)
            if plain is None:
                plain = self._files[path] = self._last = Plain(path)
            return plain


@contextmanager
def plain_name(path: Path) -> Iterator[Path]:
    """The file under a name of which a URI can be made as it is: the library does so of databases.

    (https://sqlite.org/uri.html, section 3.1)
    """
    if path.suffix != ".db3" or not set("?#%") & set(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="lrn_bag_") as folder:
        link = Path(folder, "bag.db3")
        link.symlink_to(path.absolute())
        yield link
