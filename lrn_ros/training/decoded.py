# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decoded images of a split on disk, mapped into memory: for sets that are larger than it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.check import PairFacts
from lrn_ros.data.layouts import Files
from lrn_ros.errors import UserError
from lrn_ros.model.json_text import to_json
from lrn_ros.model.labels import LabelSet

_IMAGES, _LABELS, _FACTS, _KEY = "images.u8", "labels.u8", "facts.npz", "key"

Decoded = tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[PairFacts, ...]]


def key_of(files: Sequence[Files], label_set: LabelSet, shape: tuple[int, ...]) -> str:
    """Changes with the files, their contents by size and time, the label set and the size."""
    stats = [(str(p), (s := p.stat()).st_size, s.st_mtime_ns)
             for f in files for p in (f.image, f.label)]  # fmt: skip
    text = to_json([stats, label_set.to_dict(), list(shape)])
    return hashlib.sha256(text.encode()).hexdigest()


def load(folder: Path, key: str) -> Decoded | None:
    """Images (N, 3, H, W), labels (N, H, W), mapped copy-on-write, and facts, if of this key."""
    try:
        if (folder / _KEY).read_text(encoding="ascii") != key:
            return None
        with np.load(folder / _FACTS, allow_pickle=False) as saved:
            columns = {name: saved[name] for name in saved.files}
        facts = tuple(
            PairFacts(str(n), (int(s[0]), int(s[1])), c, str(i), str(m), t)
            for n, s, c, i, m, t in zip(
                *(columns[k] for k in ("name", "size", "counts", "image", "label", "thumb"))
            )
        )
        count, (height, width) = len(facts), columns["shape"].tolist()
        images = np.memmap(folder / _IMAGES, np.uint8, "c", shape=(count, 3, height, width))
        labels = np.memmap(folder / _LABELS, np.uint8, "c", shape=(count, height, width))
    except (OSError, ValueError, KeyError):
        return None
    return images, labels, facts


@contextmanager
def make(
    folder: Path, key: str, count: int, shape: tuple[int, ...]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Arrays on disk to be filled, and facts to be saved; whole once the block has ended.

    Raises:
        UserError: the disk has not enough room.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pixels = count * shape[0] * shape[1]
    free = shutil.disk_usage(folder).free
    if 4 * pixels > free:
        raise UserError(
            f"{folder}: the decoded images take {4 * pixels / 1e9:.1f} GB of disk,"
            f" {free / 1e9:.1f} GB are free; `size: [height, width]` makes them smaller, another"
            " --output may have more room"
        )
    arrays = []
    for name, planes in ((_IMAGES, (3,)), (_LABELS, ())):
        with (folder / name).open("wb") as file:  # a full disk is an error here, and not a crash
            os.posix_fallocate(file.fileno(), 0, pixels * (planes[0] if planes else 1))
        arrays.append(np.memmap(folder / name, np.uint8, "r+", shape=(count, *planes, *shape)))
    yield arrays[0], arrays[1]
    for array in arrays:
        array.flush()
    (folder / _KEY).write_text(key, encoding="ascii")


def save_facts(folder: Path, facts: Sequence[PairFacts], shape: tuple[int, ...]) -> None:
    """Write the facts of the images, in order."""
    np.savez(
        folder / _FACTS,
        name=np.array([f.name for f in facts]),
        size=np.array([f.size for f in facts]),
        counts=np.stack([f.counts for f in facts]),
        image=np.array([f.image for f in facts]),
        label=np.array([f.label for f in facts]),
        thumb=np.stack([f.thumb for f in facts]),
        shape=np.array(shape),
    )
