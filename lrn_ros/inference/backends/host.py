# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What backends share whose pre- and postprocessing run on the CPU, wherever the network runs."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.postprocess import upsample_argmax
from lrn_ros.inference.preprocess import resize
from lrn_ros.inference.result import Result, Timings
from lrn_ros.inference.smoothing import Smooth

_KEPT = 16  # engines in memory: two sizes, each for 1, 2, 4 ... 64 frames

Engine = TypeVar("Engine")
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
        self._engines: OrderedDict[Shape, Engine] = OrderedDict()  # by last use
        self._lock, self._compiling = threading.Lock(), threading.Lock()

    @abstractmethod
    def _compile(self, shape: Shape) -> Engine:
        """An engine for one input shape; one at a time, beside `_infer` with other engines."""

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
        self._engine((batch, *geometry.network))

    def _engine(self, shape: Shape) -> Engine:
        with self._lock:
            if shape in self._engines:
                self._engines.move_to_end(shape)
                return self._engines[shape]
        with self._compiling:
            if shape in self._engines:  # another thread has made it meanwhile
                return self._engines[shape]
            engine = self._compile(shape)
            with self._lock:
                if len(self._engines) >= _KEPT:
                    self._engines.popitem(last=False)
                self._engines[shape] = engine
        return engine

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth] = (),
    ) -> list[Result]:
        """See Backend.run; smoothing counts as postprocessing."""
        engine = self._engine((len(frames), *geometry.network))
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
        engine = self._engine((1, *geometry.network))
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
