# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The frame sizes that cameras had last time, so that they are compiled before the first frame."""

from __future__ import annotations

import json

from lrn_ros.inference.cache import EngineCache

_MOST = 8  # sizes that are kept
_LARGEST = 16384  # pixels per side


class FrameSizes:
    """(height, width) of the frames of one node, kept in the engine cache.

    Args:
        cache: where they are kept.
        owner: name of the node.
    """

    def __init__(self, cache: EngineCache, owner: str) -> None:
        self._cache, self._key = cache, ("frame sizes", owner)
        self._seen: list[tuple[int, int]] = []

    def remembered(self) -> list[tuple[int, int]]:
        """The sizes of the last run, the most recent ones first; empty if there are none."""
        try:
            sizes = [(int(h), int(w)) for h, w in json.loads(self._cache.load(*self._key) or "[]")]
        except (ValueError, TypeError):
            return []
        return [s for s in sizes if min(s) >= 1 and max(s) <= _LARGEST][:_MOST]

    def saw(self, size: tuple[int, int]) -> None:
        """Note a size of this run."""
        if size not in self._seen:
            self._seen = [size, *self._seen][:_MOST]
            self._cache.save(json.dumps(self._seen).encode(), *self._key)
