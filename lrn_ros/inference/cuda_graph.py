# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The path of a frame through a GPU and back to host memory as CUDA graphs, without torch."""

from __future__ import annotations

import ctypes
import logging
import math
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from cuda.bindings import runtime as cudart
from numpy.typing import NDArray

from lrn_ros.errors import RunError
from lrn_ros.inference.backends.base import LESS_MEMORY, BackendError

_LOG = logging.getLogger("lrn_ros")
_MODULE = Path("/proc/driver/nvidia/version")


class CudaError(RunError):
    """A call of the CUDA runtime failed."""


def call(name: str, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime; its result, if it has one.

    Raises:
        CudaError: the call failed.
    """
    error, *values = getattr(cudart, name)(*arguments)
    if error != cudart.cudaError_t.cudaSuccess:
        text = cudart.cudaGetErrorString(error)[1].decode()
        hint = f"; {LESS_MEMORY}" if error == cudart.cudaError_t.cudaErrorMemoryAllocation else ""
        raise CudaError(f"CUDA: {text} ({name}){hint}")
    return values[0] if values else None


@dataclass(frozen=True)
class Gpu:
    """The facts of a GPU on which a compiled engine depends.

    Attributes:
        index: index of the device.
        name: "NVIDIA GeForce RTX 4090", say.
        capability: compute capability, (8, 9) say.
        driver: the newest CUDA version that it has, 12080 for 12.8, and where the kernel says it
            the driver's own.
    """

    index: int
    name: str
    capability: tuple[int, int]
    driver: str


def find_gpu(index: int) -> Gpu:
    """Describe a GPU, and make it the one that this thread uses.

    Raises:
        BackendError: there is no GPU with this index, or no driver for it.
    """
    try:
        count = call("cudaGetDeviceCount")
        if not 0 <= index < count:
            raise BackendError(f"GPU {index}: only 0 to {count - 1} exist")
        found = call("cudaGetDeviceProperties", index)
        driver = call("cudaDriverGetVersion")
        call("cudaSetDevice", index)
    except CudaError as error:
        version = call("cudaRuntimeGetVersion") // 1000
        raise BackendError(
            f"no NVIDIA GPU with a driver for CUDA {version} ({error}): nvidia-smi shows both; with"
            f" an older driver: pip install 'cuda-bindings<{version}'"
        ) from error
    name, capability = found.name.decode(), (found.major, found.minor)
    return Gpu(index, name, capability, f"{driver} {_kernel_module()}")


def _kernel_module() -> str:
    """NVIDIA's kernel module with its version; empty where the kernel does not say it."""
    with suppress(OSError):
        return _MODULE.read_text().partition("\n")[0]
    return ""


class Steps(Protocol):
    """The steps of a Pipeline; each enqueues work on a stream and says whether that worked."""

    def make_images(self, frames: int, images: int, stream: int) -> bool:
        """Frames to the network's input, from address to address."""

    def infer(self, stream: int) -> bool:
        """The network, from its input to its scores."""

    def make_masks(self, scores: int, masks: int, confidences: int, stream: int) -> bool:
        """Scores to masks and, unless their address is 0, confidences."""


class Way(Enum):
    """Ways through a Pipeline, by what comes back to the host."""

    MASKS = "masks"
    MASKS_AND_CONFIDENCES = "masks and confidences"
    SCORES = "scores"


class Pipeline:
    """Fixed buffers on host and GPU with the ways through them; freed with the object.

    Args:
        frames: (N, H, W, 3), the shape of the camera's frames, uint8.
        images: (N, h, w, 3), that of the network's input, uint8.
        scores: (N, K, h', w'), that of its output, float32.
        output: (H', W') of the masks.

    Attributes:
        device_images, device_scores: addresses on the GPU, for what is enqueued.
        keeps: what has to live as long as this.

    Raises:
        CudaError: no memory.
    """

    def __init__(
        self,
        frames: tuple[int, ...],
        images: tuple[int, ...],
        scores: tuple[int, ...],
        output: tuple[int, int],
    ) -> None:
        self._release = ExitStack()
        weakref.finalize(self, self._release.close)
        self._stream = call("cudaStreamCreateWithFlags", cudart.cudaStreamNonBlocking)
        self._when_freed(cudart.cudaStreamDestroy, self._stream)
        self._frames, self._device_frames = self._pair(frames, np.uint8)
        self.device_images = self._on_device(math.prod(images))
        self._scores, self.device_scores = self._pair(scores, np.float32)
        self._planes, self._device_planes = self._pair((2, frames[0], *output), np.uint8)
        self._graphs: dict[Way, Any] = {}
        self._steps: Steps | None = None
        self.keeps: Any = None

    def _when_freed(self, function: Callable[..., Any], handle: Any) -> None:
        self._release.callback(function, handle)

    def _on_device(self, size: int) -> int:
        """The address of so many bytes on the GPU."""
        device: int = call("cudaMalloc", size)
        self._when_freed(cudart.cudaFree, device)
        return device

    def _pair(self, shape: tuple[int, ...], dtype: type) -> tuple[NDArray[Any], int]:
        """An array in pinned host memory, and the address of as much on the GPU."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        pinned = call("cudaMallocHost", size)
        self._when_freed(cudart.cudaFreeHost, pinned)
        host = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pinned))
        return host.view(dtype).reshape(shape), self._on_device(size)

    def upload(self, table: NDArray[Any]) -> int:
        """Put a contiguous array into the GPU's memory; its address, valid as long as this.

        Raises:
            CudaError: no memory.
        """
        device = self._on_device(table.nbytes)
        ends = device, table.ctypes.data
        call("cudaMemcpy", *ends, table.nbytes, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice)
        return device

    def start(self, steps: Steps) -> None:
        """Run every way once, then capture it from host to host; where that fails, do without.

        Raises:
            CudaError: it does not run.
        """
        self._steps = steps
        self._frames[:] = 0
        for way in Way:
            self._queue(way)  # libraries set themselves up in a first run, which cannot be captured
            call("cudaStreamSynchronize", self._stream)
        try:
            self._graphs = {way: self._capture(way) for way in Way}
        except CudaError as error:
            _LOG.warning("no CUDA graph, slower without: %s", str(error))

    def masks(self, frames: Sequence[NDArray[np.uint8]], confidence: bool) -> NDArray[np.uint8]:
        """N frames (H, W, 3) uint8 -> (1 or 2, N, H', W') uint8: masks, and confidences.

        Returns:
            An array of the caller's own.

        Raises:
            CudaError: the GPU failed.
        """
        self._run(Way.MASKS_AND_CONFIDENCES if confidence else Way.MASKS, frames)
        return self._planes[: 1 + confidence].copy()

    def scores(self, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """N frames (H, W, 3) uint8 -> (N, K, h', w') float32, valid until the next call.

        Raises:
            CudaError: the GPU failed.
        """
        self._run(Way.SCORES, frames)
        return self._scores

    def _run(self, way: Way, frames: Sequence[NDArray[np.uint8]]) -> None:
        for place, frame in zip(self._frames, frames):
            np.copyto(place, frame)
        if way in self._graphs:
            call("cudaGraphLaunch", self._graphs[way], self._stream)
        else:
            self._queue(way)
        call("cudaStreamSynchronize", self._stream)

    def _queue(self, way: Way) -> None:
        """Enqueue everything from the frames on the host to what comes back."""
        to_device = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        stream, steps, frames = int(self._stream), self._steps, self._frames
        if steps is None:
            raise CudaError("the pipeline was not started")
        ends = self._device_frames, frames.ctypes.data
        call("cudaMemcpyAsync", *ends, frames.nbytes, to_device, self._stream)
        if not steps.make_images(self._device_frames, self.device_images, stream):
            raise CudaError("the frames could not be scaled")
        if not steps.infer(stream):
            raise CudaError("the engine could not be started")
        if way is Way.SCORES:
            self._queue_back(self._scores, self.device_scores)
            return
        planes = self._planes if way is Way.MASKS_AND_CONFIDENCES else self._planes[:1]
        confidences = self._device_planes + self._planes[0].nbytes if len(planes) == 2 else 0
        if not steps.make_masks(self.device_scores, self._device_planes, confidences, stream):
            raise CudaError("the masks could not be made")
        self._queue_back(planes, self._device_planes)

    def _queue_back(self, host: NDArray[Any], device: int) -> None:
        to_host = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call("cudaMemcpyAsync", host.ctypes.data, device, host.nbytes, to_host, self._stream)

    def _capture(self, way: Way) -> Any:
        """Record `_queue` while other threads may use the GPU."""
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call("cudaStreamBeginCapture", self._stream, mode)
        try:
            self._queue(way)
        finally:  # also ends a capture that failed
            graph = call("cudaStreamEndCapture", self._stream)
            self._when_freed(cudart.cudaGraphDestroy, graph)
        ready = call("cudaGraphInstantiate", graph, 0)
        self._when_freed(cudart.cudaGraphExecDestroy, ready)
        return ready
