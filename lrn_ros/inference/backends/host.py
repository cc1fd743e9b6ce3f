# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shared parts of the backends that do everything on the CPU."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.inference.cache import Engine, EngineStore
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.postprocess import upsample_argmax
from lrn_ros.inference.preprocess import resize
from lrn_ros.inference.result import Result, Timings
from lrn_ros.inference.smoothing import Smooth

Shape = tuple[int, int, int]  # frames, height and width of the network's input


class HostBackend(ABC, Generic[Engine]):
    """See Backend. A subclass compiles an engine per input shape and runs it.

    Args:
        merged: see BackendOptions.
        temperature: see ModelInfo.

    Attributes:
        stride: set by the subclass, like the other attributes of Backend.
        batches: False on a CPU, where a batch of 2 or 4 takes as long as 2 or 4 frames.
    """

    stride: int
    batches = False

    def __init__(self, merged: tuple[int, ...] = (), temperature: float = 1.0) -> None:
        self._merged, self._temperature = merged, temperature
        self._engines: EngineStore[Shape, Engine] = EngineStore()

    @abstractmethod
    def _compile(self, shape: Shape) -> Engine:
        """Compile an engine for one input shape; meanwhile `_infer` may use other engines."""

    @abstractmethod
    def _infer(self, engine: Engine, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, h, w, 3) uint8 -> (N, K, h / stride, w / stride) scores, valid until the next call.

        `images` may be read-only.
        """

    def prepared(self, geometry: Geometry, batch: int = 1) -> bool:
        """See Backend.prepared."""
        return (batch, *geometry.network) in self._engines

    def prepare(self, geometry: Geometry, batch: int = 1) -> None:
        """See Backend.prepare."""
        self._engines.get((batch, *geometry.network), self._compile)

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth] = (),
    ) -> list[Result]:
        """See Backend.run; smoothing counts as postprocessing."""
        engine = self._engines.get((len(frames), *geometry.network), self._compile)
        start = time.perf_counter()
        images = _stack([resize(rgb, geometry) for rgb in frames])
        prepared = time.perf_counter()
        logits = self._infer(engine, images)
        inferred = time.perf_counter()
        coarse = [f(x, image) for f, x, image in zip(smooth, logits, images)] if smooth else logits
        masks = [
            upsample_argmax(
                *(scores, geometry, self.stride, confidence, self._merged, self._temperature)
            )
            for scores in coarse
        ]
        done = time.perf_counter()
        timings = Timings(
            (prepared - start) * 1e3,
            (inferred - prepared) * 1e3,
            (done - inferred) * 1e3,
            batch=len(frames),
        )
        return [Result(mask, probability, timings) for mask, probability in masks]

    def logits(self, rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.float32]:
        """See Backend.logits."""
        engine = self._engines.get((1, *geometry.network), self._compile)
        return self._infer(engine, _stack([resize(rgb, geometry)]))[0].copy()


def check_fixed_shape(model: Path, fixed: tuple[int, int] | None, shape: Shape) -> None:
    """Refuse a shape that a model exported with a fixed (height, width) does not take.

    Raises:
        UserError: the message says which size works and how to get another.
    """
    if fixed is None:
        return
    if fixed != shape[1:]:
        raise UserError(
            f"{model} runs at {list(fixed)} (height, width) only, not at {list(shape[1:])}: set"
            f" network_size to {list(fixed)}, or export the model without a fixed size"
        )
    if shape[0] != 1:
        raise UserError(
            f"{model} takes one frame at a time, not {shape[0]}: set max_batch to 1, or export the"
            " model without a fixed size"
        )


def _stack(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(N, h, w, 3), contiguous; a single contiguous image is not copied."""
    return np.ascontiguousarray(images[0])[None] if len(images) == 1 else np.stack(images)
