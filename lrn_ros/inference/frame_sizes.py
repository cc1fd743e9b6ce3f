# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The frame sizes that cameras had last time, so that they are compiled before the first frame."""

from __future__ import annotations

import json
from collections import Counter

from lrn_ros.inference.cache import EngineCache

_MAX_SIZES = 8  # that are kept
_FRAMES = 3  # of a size after which it is kept
_MAX_COUNTED = 64  # sizes whose frames are counted
_LARGEST = 16384  # pixels per side


class FrameSizes:
    """(height, width) of the frames of one node, kept in the engine cache.

    Args:
        cache: where they are kept.
        owner: name of the node.
    """

    def __init__(self, cache: EngineCache, owner: str) -> None:
        self._cache, self._key = cache, ("frame sizes", owner)
        self._kept: list[tuple[int, int]] = []
        self._frames: Counter[tuple[int, int]] = Counter()

    def remembered(self) -> list[tuple[int, int]]:
        """The sizes of the last run, the most recent ones first; empty if there are none."""
        try:
            sizes = [(int(h), int(w)) for h, w in json.loads(self._cache.load(*self._key) or "[]")]
        except (ValueError, TypeError):
            return []
        return [s for s in sizes if min(s) >= 1 and max(s) <= _LARGEST][:_MAX_SIZES]

    def remember(self, size: tuple[int, int]) -> None:
        """Count a frame of this size; a size of several frames is kept for the next run.

        A crop or a zoom may have a new size in every frame: none of these is kept.
        """
        if size in self._kept:
            return
        if len(self._frames) >= _MAX_COUNTED:
            self._frames.clear()
        self._frames[size] += 1
        if self._frames[size] >= _FRAMES:
            self._kept = [size, *self._kept][:_MAX_SIZES]
            self._cache.save(json.dumps(self._kept).encode(), *self._key)
