# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Dataclasses on disk as JSON: with a format version, sealed by digests, and read strictly.

A record holds the digest of its own content and the digests of the files that belong to it. Whoever
reads a record learns whether anything was cut, edited or exchanged since it was written.
"""

from __future__ import annotations

import hashlib
import json
import math
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from lrn_ros.errors import UserError
from lrn_ros.model.artifact import write_atomically

FORMAT = 1  # version of the results' format; raise it if a dataclass that is written changes
_AGAIN = "run its lrn replay again with this version"
_MAX_DIGESTED = 64 << 20  # bytes; of a larger file only samples are digested
_BLOCK, _BLOCKS = 1 << 16, 256  # bytes of a sample, and number of samples

T = TypeVar("T")


def to_data(value: Any) -> Any:
    """Dataclasses, tuples and arrays as plain data for JSON; NaN and infinities become None."""
    if hasattr(value, "to_dict"):
        return to_data(value.to_dict())
    if is_dataclass(value):
        return {f.name: to_data(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_data(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [to_data(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_data(kind: Any, data: Any, where: str) -> Any:
    """The value of a type that `to_data` has made plain.

    Args:
        kind: a dataclass, a class with `from_dict`, or a type made of them with tuple, dict and |.
        data: what JSON gave.
        where: the place in the file, for errors.

    Raises:
        UserError: the data are not of that type.
    """
    options, values = get_args(kind), None
    origin = get_origin(kind)
    if kind is Any:
        return data
    if origin in (Union, types.UnionType):
        chosen = next(o for o in options if o is not type(None))
        return None if data is None else from_data(chosen, data, where)
    if origin is tuple and isinstance(data, list):
        if options[-1] is Ellipsis:
            return tuple(from_data(options[0], v, f"{where}[{i}]") for i, v in enumerate(data))
        if len(data) == len(options):
            return tuple(from_data(o, v, where) for o, v in zip(options, data))
    elif origin is dict and isinstance(data, dict):
        return {k: from_data(options[1], v, f"{where}.{k}") for k, v in data.items()}
    elif hasattr(kind, "from_dict"):
        return kind.from_dict(data, where)
    elif is_dataclass(kind) and isinstance(data, dict):
        hints = _hints(kind)  # type: ignore[arg-type]
        if hints.keys() == data.keys():
            values = {k: from_data(h, data[k], f"{where}.{k}") for k, h in hints.items()}
            return kind(**values)  # type: ignore[operator]
    elif kind is float and (data is None or type(data) in (int, float)):
        return math.nan if data is None else float(data)
    elif type(data) is kind:
        return data
    raise UserError(f"{where}: lrn replay does not write such data; {_AGAIN}")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def sealed(record: Any) -> dict[str, Any]:
    """A record as plain data with its format and the digest of all its content."""
    data = {"format": FORMAT, **to_data(record)}
    return data | {"digest": _digest_of(data)}


def write_record(path: Path, record: Any) -> None:
    """Write a record so that a reader finds the old file or the new file, never a part."""
    write_atomically(path, (json.dumps(sealed(record), indent=1) + "\n").encode())


def read_record(kind: type[T], path: Path) -> T:
    """Read a record.

    Raises:
        UserError: there is none, it was written in another format, or it is damaged.
    """
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise UserError(f"{path}: is no file; {_AGAIN}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path.parent} is no folder of lrn replay --output ({path.name}: {error.strerror})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); {_AGAIN}") from error
    found = data.pop("format", None) if isinstance(data, dict) else None
    if found != FORMAT:
        said = f"format {found}" if found is not None else "a format without a version"
        raise UserError(f"{path} has {said}, and this lrn_ros reads format {FORMAT}; {_AGAIN}")
    if data.pop("digest", None) != _digest_of({"format": found, **data}):
        raise UserError(f"{path}: was cut or edited after it was written; {_AGAIN}")
    value: T = from_data(kind, data, str(path))
    return value


def _digest_of(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's content; of a file of more than 64 MB: of its size, time and samples.

    The samples are 256 blocks of 64 KB, spread evenly, the first and the last among them.
    """
    size, found = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        if size <= _MAX_DIGESTED:
            while block := file.read(1 << 20):
                found.update(block)
            return found.hexdigest()
        found.update(f"{size} {path.stat().st_mtime_ns}".encode())
        for at in np.linspace(0, size - _BLOCK, _BLOCKS).astype(np.int64):
            file.seek(int(at))
            found.update(file.read(_BLOCK))
    return found.hexdigest()


def digest_message(data: bytes | memoryview) -> str:
    """16 hexadecimal digits that tell recorded messages apart: of every eighth 4 KB of a long one.

    All of an image of 2.8 MB would take a thirtieth of the time that the model takes for it.
    """
    found = hashlib.blake2b(len(data).to_bytes(8, "little"), digest_size=8)
    if len(data) <= _BLOCK:
        found.update(data)
    else:
        pages = np.frombuffer(data, np.uint8)[: len(data) >> 12 << 12].reshape(-1, 4096)
        found.update(pages[::8].tobytes())
        found.update(data[-4096:])
    return found.hexdigest()


def digest_folder(folder: Path, names: Iterable[str] = ("",)) -> dict[str, str]:
    """Digest of every file below some paths in a folder, by its path there."""
    files = (
        file
        for name in names
        for file in ((folder / name).rglob("*") if (folder / name).is_dir() else [folder / name])
        if file.is_file()
    )
    return {str(file.relative_to(folder)): digest_file(file) for file in sorted(files)}


def check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Check that the files of a record are there as they were written.

    Raises:
        UserError: one is missing, or has other content.
    """
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: is missing; {_AGAIN}")
        if digest_file(path) != digest:
            raise UserError(f"{path}: was cut or edited after it was written; {_AGAIN}")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The complete JSON lines of a file that a process has written; none if there is no file.

    A last line that a killed process left unfinished is skipped.

    Raises:
        UserError: a complete line is not JSON.
    """
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith("}\n"):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise UserError(f"{path}, line {number}: damaged ({error}); {_AGAIN}") from None
