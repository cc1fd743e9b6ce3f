# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The engines of a backend that are in memory: made when first asked for, dropped by last use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

MAX_ENTRIES = 16  # two sizes, each for 1, 2, 4 ... 64 frames

Key = TypeVar("Key", bound=Hashable)
Engine = TypeVar("Engine")


class EngineStore(Generic[Key, Engine]):
    """Holds at most MAX_ENTRIES engines. Safe for several threads."""

    def __init__(self) -> None:
        self._engines: OrderedDict[Key, Engine] = OrderedDict()  # by last use
        self._lock, self._compiling = threading.Lock(), threading.Lock()

    def __contains__(self, key: object) -> bool:
        """Whether the engine is there."""
        return key in self._engines

    def __len__(self) -> int:
        """How many engines are there."""
        return len(self._engines)

    def get(self, key: Key, compile: Callable[[Key], Engine]) -> Engine:
        """The engine for a key.

        Args:
            key: what the engine is for.
            compile: makes the engine where it is not there; one at a time, while others run.

        Raises:
            Exception: what `compile` raises; nothing is kept then.
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
                if len(self._engines) >= MAX_ENTRIES:
                    self._engines.popitem(last=False)
                self._engines[key] = engine
        return engine
