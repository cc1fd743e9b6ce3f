# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch on an NVIDIA GPU: fp16, channels-last, all stages as one CUDA graph a frame size."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrn_ros.inference.backends.base import LESS_MEMORY, BackendError, BackendOptions
from lrn_ros.inference.backends.torch_ops import (
    Classify,
    DeviceAxis,
    Stages,
    load_network,
    torch_classify,
)
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.postprocess import merge_table, upsample_argmax
from lrn_ros.inference.preprocess import resize
from lrn_ros.inference.result import Result, Timings
from lrn_ros.inference.smoothing import Smooth
from lrn_ros.model.artifact import ModelInfo
from lrn_ros.networks.deploy import fold_normalisation

NAME = "cuda"
_LOG = logging.getLogger("lrn_ros")
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_KEPT = 16  # engines in memory: two sizes, each for 1, 2, 4 ... 64 frames
_WARM_UP = 3  # runs before a capture, in which libraries choose kernels and take workspaces


def create(path: Path, info: ModelInfo, options: BackendOptions) -> CudaBackend:
    """Create the backend for a .safetensors model on GPU `options.device`."""
    if not torch.cuda.is_available():
        built = torch.version.cuda
        reason = "no usable NVIDIA GPU or driver" if built else "this torch is a CPU-only build"
        raise BackendError(f"{reason}; nvidia-smi shows the GPU, pytorch.org the CUDA builds")
    if not 0 <= options.device < torch.cuda.device_count():
        raise BackendError(f"GPU {options.device}: only 0 to {torch.cuda.device_count() - 1} exist")
    try:
        return CudaBackend(path, info, options, torch.device("cuda", options.device))
    except RuntimeError as error:
        raise BackendError(f"GPU {options.device} cannot take the model: {_line(error)}") from error


class Engine:
    """The stages for a batch of frames between fixed buffers, as CUDA graphs where captured.

    Args:
        stages: on the device to run on.
        batch: N.

    Attributes:
        frames: (N, H, W, 3) uint8 input in pinned host memory.
        planes: (2, N, h, w) uint8 masks and confidences, likewise.
    """

    def __init__(self, stages: Stages, batch: int) -> None:
        pinned = stages.device.type == "cuda"
        geometry = stages.geometry
        host = torch.empty((batch, *geometry.frame, 3), dtype=torch.uint8, pin_memory=pinned)
        out = torch.empty((2, batch, *geometry.output), dtype=torch.uint8, pin_memory=pinned)
        self.frames, self.planes = host.numpy(), out.numpy()
        self._stages, self._host, self._out = stages, host, out
        self._pixels = torch.empty(host.shape, dtype=torch.uint8, device=stages.device)
        self._graphs: dict[bool, torch.cuda.CUDAGraph] = {}  # by whether there are confidences

    def launch(self, confidence: bool) -> None:
        """Queue everything from `frames` to `planes` on the current stream."""
        if confidence in self._graphs:
            self._graphs[confidence].replay()
            return
        self._pixels.copy_(self._host, non_blocking=True)
        for out, plane in zip(self._out, self._stages(self._pixels, confidence)):
            if plane is not None:
                out.copy_(plane, non_blocking=True)

    def coarse(self) -> NDArray[np.float32]:
        """Coarse scores (N, K, h, w) of `frames`; waits for them."""
        self._pixels.copy_(self._host, non_blocking=True)
        scores: NDArray[np.float32] = self._stages.coarse(self._pixels).cpu().numpy()
        return scores

    def capture(self, stream: torch.cuda.Stream) -> None:
        """Record what `launch` queues, after it has run on another stream.

        Raises:
            RuntimeError: something in it cannot be captured.
        """
        graphs: dict[bool, torch.cuda.CUDAGraph] = {}
        for confidence in (False, True):
            graph = torch.cuda.CUDAGraph()
            # The two share memory: they never run at once, and nothing in it outlives a run.
            pool = graphs[False].pool() if graphs else None
            with (
                torch.cuda.stream(stream),  # taken back here if the capture fails
                torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"),
            ):
                self.launch(confidence)
            graphs[confidence] = graph
        self._graphs = graphs


class CudaBackend:
    """See Backend. Precision "auto" is fp16; the SVN keys stay in fp32 inside the network.

    Convolutions in fp32 use TF32 where torch.backends.cudnn.allow_tf32 is on, torch's default.

    Frames run on one stream, a new engine warms up on another: their libraries' workspaces are
    apart, so the one may go on during the other. Capturing takes the first, and frames wait.
    """

    name = NAME
    batches = True

    def __init__(
        self, path: Path, info: ModelInfo, options: BackendOptions, device: torch.device
    ) -> None:
        self.precision = "fp16" if options.precision == "auto" else options.precision
        if self.precision not in _DTYPES:
            raise BackendError(f"backend cuda has no {self.precision}; fp32, fp16 and bf16 work")
        self.device_name = torch.cuda.get_device_name(device)
        network = fold_normalisation(load_network(path, info)).to(device, _DTYPES[self.precision])
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._info = info
        self.stride = int(network.stride)  # type: ignore[arg-type]
        self._merged = options.merged
        self._classify = _choose_classify(device, len(info.labels), options.merged)
        torch.cuda.synchronize(device)  # the streams below do not wait for the one used so far
        self._stream, self._side = torch.cuda.Stream(device), torch.cuda.Stream(device)
        self._engines: OrderedDict[tuple[Geometry, int], Engine] = OrderedDict()  # by last use
        self._lock = threading.Lock()  # for the engines and what runs on the first stream
        self._compiling = threading.Lock()  # for what runs on the second

    def prepared(self, geometry: Geometry, batch: int = 1) -> bool:
        """See Backend.prepared."""
        return (geometry, batch) in self._engines

    def prepare(self, geometry: Geometry, batch: int = 1) -> None:
        """See Backend.prepare."""
        self._engine(geometry, batch)

    def _engine(self, geometry: Geometry, batch: int) -> Engine:
        key = geometry, batch
        with self._lock:
            if key in self._engines:
                self._engines.move_to_end(key)
                return self._engines[key]
        with self._compiling:
            if key in self._engines:  # made meanwhile
                return self._engines[key]
            try:
                engine = self._compile(geometry, batch)
            except torch.OutOfMemoryError as error:
                what = f"too little memory for {batch} frames of {geometry}"
                raise BackendError(f"{self.device_name} has {what}; {LESS_MEMORY}") from error
            except RuntimeError as error:  # of a GPU that this torch has no kernels for, say
                what = f"cannot run {batch} frames of {geometry}"
                raise BackendError(f"{self.device_name} {what}: {_line(error)}") from error
            with self._lock:
                if len(self._engines) >= _KEPT:
                    self._engines.popitem(last=False)
                self._engines[key] = engine
        return engine

    @torch.inference_mode()
    def _compile(self, geometry: Geometry, batch: int) -> Engine:
        with torch.cuda.stream(self._side):
            engine = Engine(Stages(self._network, self._info, geometry, self._classify), batch)
            for _ in range(_WARM_UP):
                engine.launch(False)
                engine.launch(True)
        self._side.synchronize()
        with self._lock:
            try:
                engine.capture(self._stream)
            except RuntimeError as error:
                _LOG.warning("no CUDA graph of %s, slower without: %s", geometry, _line(error))
        return engine

    @torch.inference_mode()
    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth] = (),
    ) -> list[Result]:
        """See Backend.run; all stages are fused, without smoothing."""
        engine = self._engine(geometry, len(frames))
        if smooth:
            return self._run_smooth(engine, frames, geometry, confidence, smooth)
        with self._lock, torch.cuda.stream(self._stream):
            start = time.perf_counter()
            for place, rgb in zip(engine.frames, frames):
                np.copyto(place, rgb)
            engine.launch(confidence)
            self._stream.synchronize()
            planes = engine.planes[: 1 + confidence].copy()
            elapsed = (time.perf_counter() - start) * 1e3
        timings = Timings(0, elapsed, 0, ("preprocess", "postprocess"), len(frames))
        return [
            Result(planes[0, n], planes[1, n] if confidence else None, timings)
            for n in range(len(frames))
        ]

    def _run_smooth(
        self,
        engine: Engine,
        frames: Sequence[NDArray[np.uint8]],
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth],
    ) -> list[Result]:
        """`run`, with what follows the network on the CPU."""
        start = time.perf_counter()
        with self._lock, torch.cuda.stream(self._stream):
            for place, rgb in zip(engine.frames, frames):
                np.copyto(place, rgb)
            coarse = engine.coarse()
        inferred = time.perf_counter()
        masks = [
            upsample_argmax(
                *(f(x, resize(rgb, geometry)), geometry, self.stride, confidence),
                *(self._merged, self._info.temperature),
            )
            for f, x, rgb in zip(smooth, coarse, frames)
        ]
        done = time.perf_counter()
        timings = Timings(
            0, (inferred - start) * 1e3, (done - inferred) * 1e3, ("preprocess",), len(frames)
        )
        return [Result(mask, probability, timings) for mask, probability in masks]

    @torch.inference_mode()
    def logits(self, rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.float32]:
        """See Backend.logits."""
        engine = self._engine(geometry, 1)
        with self._lock, torch.cuda.stream(self._stream):
            np.copyto(engine.frames[0], rgb)
            return engine.coarse()[0]


def _line(error: RuntimeError) -> str:
    """The first line of torch's message, which says what."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _choose_classify(device: torch.device, classes: int, merged: Sequence[int] = ()) -> Classify:
    """The Triton kernel where it works, which takes Triton and a C compiler, else torch.

    The kernel adds up no probabilities of merged classes: torch does.
    """
    if merged:
        return partial(torch_classify, groups=torch.from_numpy(merge_table(merged)).to(device))
    try:
        from lrn_ros.inference.backends.triton_ops import triton_classify

        with torch.cuda.device(device):
            index = torch.zeros(2, dtype=torch.int32, device=device)
            axis = DeviceAxis(index, index, index.float(), index.float())
            scores = torch.zeros((1, classes, 1, 1), device=device)
            triton_classify(scores, axis, axis, True, 1.5)[0].cpu()
    except Exception as error:  # Triton's own, its compiler's or the driver's
        _LOG.warning("classes are found without the Triton kernel, slower: %s", error)
        return torch_classify
    return triton_classify
