# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shared parts of the backends that do everything on a GPU: frames go there, masks come back."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.cache import Engine, EngineStore
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.postprocess import upsample_argmax
from lrn_ros.inference.preprocess import resize
from lrn_ros.inference.result import Result, Timings
from lrn_ros.inference.smoothing import Smooth

Frames = Sequence[NDArray[np.uint8]]
Key = tuple[Geometry, int]  # and the number of frames


class DeviceBackend(ABC, Generic[Engine]):
    """See Backend. A subclass compiles an engine per geometry and number of frames, and runs it.

    Args:
        merged: see BackendOptions.
        temperature: see ModelInfo.

    Attributes:
        stride: set by the subclass, like the other attributes of Backend.
        batches: a GPU is faster with several frames at once.
    """

    stride: int
    batches = True

    def __init__(self, merged: tuple[int, ...] = (), temperature: float = 1.0) -> None:
        self._merged, self._temperature = merged, temperature
        self._engines: EngineStore[Key, Engine] = EngineStore()

    @abstractmethod
    def _compile(self, key: Key) -> Engine:
        """Compile an engine for a key; meanwhile other engines may run."""

    @abstractmethod
    def _masks(self, engine: Engine, frames: Frames, confidence: bool) -> NDArray[np.uint8]:
        """Masks, and confidences if they are asked for: (1 or 2, N, H, W) uint8, the caller's."""

    @abstractmethod
    def _scores(self, engine: Engine, frames: Frames) -> NDArray[np.float32]:
        """Coarse scores (N, K, h, w) float32, valid until the next call."""

    def prepared(self, geometry: Geometry, batch: int = 1) -> bool:
        """See Backend.prepared."""
        return (geometry, batch) in self._engines

    def prepare(self, geometry: Geometry, batch: int = 1) -> None:
        """See Backend.prepare."""
        self._engines.get((geometry, batch), self._compile)

    def run(
        self,
        frames: Frames,
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth] = (),
    ) -> list[Result]:
        """See Backend.run; all stages are fused, without smoothing."""
        engine = self._engines.get((geometry, len(frames)), self._compile)
        start = time.perf_counter()
        if smooth:
            return self._run_smooth(engine, frames, geometry, confidence, smooth)
        planes = self._masks(engine, frames, confidence)
        elapsed = (time.perf_counter() - start) * 1e3
        timings = Timings(0, elapsed, 0, ("preprocess", "postprocess"), len(frames))
        return [
            Result(planes[0, n], planes[1, n] if confidence else None, timings)
            for n in range(len(frames))
        ]

    def _run_smooth(
        self,
        engine: Engine,
        frames: Frames,
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth],
    ) -> list[Result]:
        """Like `run`, with everything after the network on the CPU."""
        start = time.perf_counter()
        scores = self._scores(engine, frames)
        inferred = time.perf_counter()
        masks = [
            upsample_argmax(
                *(f(x, resize(rgb, geometry)), geometry, self.stride, confidence),
                *(self._merged, self._temperature),
            )
            for f, x, rgb in zip(smooth, scores, frames)
        ]
        done = time.perf_counter()
        timings = Timings(
            0, (inferred - start) * 1e3, (done - inferred) * 1e3, ("preprocess",), len(frames)
        )
        return [Result(mask, probability, timings) for mask, probability in masks]

    def logits(self, rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.float32]:
        """See Backend.logits."""
        engine = self._engines.get((geometry, 1), self._compile)
        return self._scores(engine, [rgb])[0].copy()
