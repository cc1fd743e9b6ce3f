# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch on an NVIDIA GPU: fp16, channels-last, all stages as one CUDA graph a frame size."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrn_ros.inference.backends.base import LESS_MEMORY, BackendError, BackendOptions
from lrn_ros.inference.backends.device import DeviceBackend, Frames, Key
from lrn_ros.inference.backends.torch import load_network
from lrn_ros.inference.cache import EngineCache
from lrn_ros.inference.cuda_graph import CudaError, find_gpu
from lrn_ros.inference.device_code import Kernels, Stages
from lrn_ros.inference.geometry import Geometry
from lrn_ros.model.artifact import ModelInfo
from lrn_ros.networks.blocks import fold_normalisation

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
    device = torch.device("cuda", options.device)
    gpu = find_gpu(options.device)
    try:
        with torch.cuda.device(device):
            torch.cuda.synchronize(device)  # the kernels are loaded into torch's context
            kernels = Kernels(gpu.capability, gpu.driver, EngineCache(options.cache_dir))
            return CudaBackend(path, info, options, device, kernels)
    except RuntimeError as error:
        raise BackendError(f"GPU {options.device} cannot take the model: {_line(error)}") from error


class Engine:
    """A batch of frames' way between fixed buffers, as CUDA graphs where captured.

    What surrounds the network are the kernels that surround a TensorRT engine. Nothing waits for
    the device or has a size that depends on the pixels, so that everything can be captured.

    Args:
        network: with its parameters in the precision to run at, on the device to run on.
        info: normalisation of the network's input, classes, and temperature of the confidence.
        geometry: geometry of the frames.
        batch: N.
        kernels: loaded on that device.
        merged: see BackendOptions.

    Attributes:
        frames: (N, H, W, 3) uint8 input in pinned host memory.
        planes: (2, N, h, w) uint8 masks and confidences, likewise.
    """

    def __init__(
        self,
        network: nn.Module,
        info: ModelInfo,
        geometry: Geometry,
        batch: int,
        kernels: Kernels,
        merged: Sequence[int] = (),
    ) -> None:
        weight = next(network.parameters())
        self._network, self._dtype, self._device = network, weight.dtype, weight.device
        pinned, on_device = weight.device.type == "cuda", {"device": weight.device}
        host = torch.empty((batch, *geometry.frame, 3), dtype=torch.uint8, pin_memory=pinned)
        out = torch.empty((2, batch, *geometry.output), dtype=torch.uint8, pin_memory=pinned)
        self.frames, self.planes = host.numpy(), out.numpy()
        self._host, self._out = host, out
        self._pixels, self._planes = (torch.empty_like(x, **on_device) for x in (host, out))  # type: ignore[arg-type]
        images = (batch, *geometry.network, 3)
        self._images = torch.empty(images, dtype=torch.uint8, device=weight.device)
        mean, std = np.array(info.mean, np.float32), np.array(info.std, np.float32)
        self._gain = torch.from_numpy(1 / (255 * std)).to(weight.device)
        self._offset = torch.from_numpy(-mean / std).to(weight.device)
        self._tables: list[Tensor] = []
        stride = int(network.stride)  # type: ignore[arg-type]
        rows, columns = (-(-side // stride) for side in geometry.network)
        self._stages = Stages(
            kernels, geometry, (batch, len(info.labels), rows, columns), stride, self._upload,
            merged=merged, temperature=info.temperature,
        )  # fmt: skip
        self._graphs: dict[bool, torch.cuda.CUDAGraph] = {}  # by whether there are confidences

    def _upload(self, table: NDArray[Any]) -> int:
        """Put a table of the kernels on the device, where it lives as long as this."""
        self._tables.append(torch.tensor(table, device=self._device))
        return self._tables[-1].data_ptr()

    def launch(self, confidence: bool) -> None:
        """Queue everything from `frames` to `planes` on the current stream."""
        if confidence in self._graphs:
            self._graphs[confidence].replay()
            return
        self._pixels.copy_(self._host, non_blocking=True)
        scores, used = self.scores(), 1 + confidence
        confidences = self._planes[1].data_ptr() if confidence else 0
        masks = self._planes[0].data_ptr()
        self._queue(self._stages.make_masks, scores.data_ptr(), masks, confidences)
        self._out[:used].copy_(self._planes[:used], non_blocking=True)

    def scores(self) -> Tensor:
        """Queue frames on the device to coarse scores (N, K, h, w) float32 there."""
        self._queue(self._stages.make_images, self._pixels.data_ptr(), self._images.data_ptr())
        x = torch.addcmul(self._offset, self._images.float(), self._gain)
        # (N, h, w, 3) seen as (N, 3, h, w) is channels-last already.
        scores: Tensor = self._network.coarse(x.to(self._dtype).permute(0, 3, 1, 2))  # type: ignore[operator]
        return scores.float().contiguous()

    def _queue(self, kernel: Callable[..., bool], *addresses: int) -> None:
        if not kernel(*addresses, torch.cuda.current_stream(self._device).cuda_stream):
            raise CudaError(f"the kernel {kernel.__name__} could not be started")

    def coarse(self) -> NDArray[np.float32]:
        """Coarse scores (N, K, h, w) of `frames`; waits for them."""
        self._pixels.copy_(self._host, non_blocking=True)
        scores: NDArray[np.float32] = self.scores().cpu().numpy()
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
        self,
        path: Path,
        info: ModelInfo,
        options: BackendOptions,
        device: torch.device,
        kernels: Kernels,
    ) -> None:
        super().__init__(options.merged, info.temperature)
        self.precision = "fp16" if options.precision == "auto" else options.precision
        if self.precision not in _DTYPES:
            raise BackendError(f"backend cuda has no {self.precision}; fp32, fp16 and bf16 work")
        self.device_name = torch.cuda.get_device_name(device)
        network = fold_normalisation(load_network(path, info)).to(device, _DTYPES[self.precision])
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._info, self._kernels = info, kernels
        self.stride = int(network.stride)  # type: ignore[arg-type]
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
        except RuntimeError as error:  # such as a GPU for which this torch has no kernels
            what = f"cannot run {batch} frames of {geometry}"
            raise BackendError(f"{self.device_name} {what}: {_line(error)}") from error

    @torch.inference_mode()
    def _start(self, geometry: Geometry, batch: int) -> Engine:
        """Make an engine, let it run and capture its graphs."""
        with torch.cuda.stream(self._side):
            engine = Engine(self._network, self._info, geometry, batch, self._kernels, self._merged)
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
