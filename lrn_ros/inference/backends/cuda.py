# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch on an NVIDIA GPU: fp16, channels-last, all stages as one CUDA graph a frame size."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrn_ros.inference.backends.base import LESS_MEMORY, BackendError, BackendOptions
from lrn_ros.inference.backends.device import DeviceBackend, Frames, Key
from lrn_ros.inference.backends.torch_ops import (
    Classify,
    DeviceAxis,
    Stages,
    load_network,
    torch_classify,
)
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.postprocess import merge_table
from lrn_ros.model.artifact import ModelInfo
from lrn_ros.networks.deploy import fold_normalisation

NAME = "cuda"
_LOG = logging.getLogger("lrn_ros")
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
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


class CudaBackend(DeviceBackend[Engine]):
    """See Backend. Precision "auto" is fp16; the SVN keys stay in fp32 inside the network.

    Convolutions in fp32 use TF32 where torch.backends.cudnn.allow_tf32 is on, torch's default.

    Frames run on one stream, a new engine warms up on another: their libraries' workspaces are
    apart, so the one may go on during the other. Capturing takes the first, and frames wait.
    """

    name = NAME

    def __init__(
        self, path: Path, info: ModelInfo, options: BackendOptions, device: torch.device
    ) -> None:
        super().__init__(options.merged, info.temperature)
        self.precision = "fp16" if options.precision == "auto" else options.precision
        if self.precision not in _DTYPES:
            raise BackendError(f"backend cuda has no {self.precision}; fp32, fp16 and bf16 work")
        self.device_name = torch.cuda.get_device_name(device)
        network = fold_normalisation(load_network(path, info)).to(device, _DTYPES[self.precision])
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._info = info
        self.stride = int(network.stride)  # type: ignore[arg-type]
        self._classify = _choose_classify(device, len(info.labels), options.merged)
        torch.cuda.synchronize(device)  # the streams below do not wait for the one used so far
        self._stream, self._side = torch.cuda.Stream(device), torch.cuda.Stream(device)
        self._lock = threading.Lock()  # for what runs on the first stream

    def _compile(self, key: Key) -> Engine:
        """See DeviceBackend._compile."""
        geometry, batch = key
        try:
            return self._start(geometry, batch)
        except torch.OutOfMemoryError as error:
            what = f"too little memory for {batch} frames of {geometry}"
            raise BackendError(f"{self.device_name} has {what}; {LESS_MEMORY}") from error
        except RuntimeError as error:  # of a GPU that this torch has no kernels for, say
            what = f"cannot run {batch} frames of {geometry}"
            raise BackendError(f"{self.device_name} {what}: {_line(error)}") from error

    @torch.inference_mode()
    def _start(self, geometry: Geometry, batch: int) -> Engine:
        """Make an engine, let it run and capture its graphs."""
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
    def _masks(self, engine: Engine, frames: Frames, confidence: bool) -> NDArray[np.uint8]:
        """See DeviceBackend._masks."""
        with self._lock, torch.cuda.stream(self._stream):
            for place, rgb in zip(engine.frames, frames):
                np.copyto(place, rgb)
            engine.launch(confidence)
            self._stream.synchronize()
            return engine.planes[: 1 + confidence].copy()

    @torch.inference_mode()
    def _scores(self, engine: Engine, frames: Frames) -> NDArray[np.float32]:
        """See DeviceBackend._scores."""
        with self._lock, torch.cuda.stream(self._stream):
            for place, rgb in zip(engine.frames, frames):
                np.copyto(place, rgb)
            return engine.coarse()


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
