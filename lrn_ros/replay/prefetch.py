# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reads items ahead on another thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def prefetch(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The same items, of which another thread reads up to `depth` ahead."""
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stop.is_set():
            try:
                waiting.put((kind, value), timeout=0.1)
                return
            except queue.Full:
                continue

    def read() -> None:
        try:
            for item in items:
                put("item", item)
                if stop.is_set():
                    return
            put("end", None)
        except Exception as error:  # raised again where it is awaited
            put("error", error)

    thread = threading.Thread(target=read, name="bag reader", daemon=True)
    thread.start()
    try:
        while (item := waiting.get())[0] == "item":
            yield item[1]
        if item[0] == "error":
            raise item[1]
    finally:
        stop.set()
        thread.join()
