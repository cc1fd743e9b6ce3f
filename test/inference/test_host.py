# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How backends whose pre- and postprocessing run on the CPU keep their engines."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.backends.host import HostBackend, Shape
from lrn_ros.inference.geometry import Geometry, fit


class Constant(HostBackend[Shape]):
    """An engine is its shape, and the first class always wins.

    Attributes:
        compiled: shapes in order.
    """

    stride = 8

    def __init__(self) -> None:
        super().__init__(temperature=1.0)
        self.compiled: list[Shape] = []

    def _compile(self, shape: Shape) -> Shape:
        self.compiled.append(shape)
        return shape

    def _infer(self, engine: Shape, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        scores = np.zeros((engine[0], 2, engine[1] // 8, engine[2] // 8), np.float32)
        scores[:, 0] = 1
        return scores


def of_width(width: int) -> Geometry:
    return replace(fit((64, 64), (64, 64)), network=(64, width))


def test_the_engines_used_last_are_kept() -> None:
    backend = Constant()
    widths = range(64, 64 + 8 * 17, 8)
    for width in widths[:16]:
        backend.prepare(of_width(width))
    backend.prepare(of_width(widths[0]))  # used again: the second is now the oldest
    backend.prepare(of_width(widths[16]))
    kept = [width for width in widths if backend.prepared(of_width(width))]
    assert kept == [widths[0], *widths[2:]]
    assert backend.compiled == [(1, 64, width) for width in widths]


def test_an_engine_stays_prepared_while_it_is_used() -> None:
    backend, geometry, done = Constant(), of_width(64), threading.Event()
    backend.prepare(geometry)

    def use() -> None:
        while not done.is_set():
            backend.prepare(geometry)

    thread, interval = threading.Thread(target=use), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # a switch at every opportunity
    thread.start()
    try:
        assert all(backend.prepared(geometry) for _ in range(300_000))
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()
    assert backend.compiled == [(1, 64, 64)]
