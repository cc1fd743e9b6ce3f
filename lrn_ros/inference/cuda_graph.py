# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Work that a library enqueues on a GPU, and the copies around it, as one CUDA graph; no torch."""

from __future__ import annotations

import ctypes
import logging
import math
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """What a compiled engine depends on.

    Attributes:
        index: of the device.
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


class Pipeline:
    """Fixed buffers on host and GPU with the way through them; freed with the object.

    Args:
        images: (N, h, w, 3), of uint8.
        scores: (N, K, h', w'), of float32.

    Attributes:
        device_images, device_scores: addresses on the GPU, for what is enqueued.
        keeps: what has to live as long as this.

    Raises:
        CudaError: no memory.
    """

    def __init__(self, images: tuple[int, ...], scores: tuple[int, ...]) -> None:
        self._release = ExitStack()
        weakref.finalize(self, self._release.close)
        self._stream = call("cudaStreamCreateWithFlags", cudart.cudaStreamNonBlocking)
        self._when_freed(cudart.cudaStreamDestroy, self._stream)
        self._images, self.device_images = self._pair(images, np.uint8)
        self._scores, self.device_scores = self._pair(scores, np.float32)
        self._enqueue: Callable[[int], bool] = lambda stream: False
        self._graph: Any = None
        self.keeps: Any = None

    def _when_freed(self, function: Callable[..., Any], handle: Any) -> None:
        self._release.callback(function, handle)

    def _pair(self, shape: tuple[int, ...], dtype: type) -> tuple[NDArray[Any], int]:
        """An array in pinned host memory, and the address of as much on the GPU."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        pinned = call("cudaMallocHost", size)
        self._when_freed(cudart.cudaFreeHost, pinned)
        device = call("cudaMalloc", size)
        self._when_freed(cudart.cudaFree, device)
        host = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pinned))
        return host.view(dtype).reshape(shape), device

    def start(self, enqueue: Callable[[int], bool]) -> None:
        """Run once, then capture the way from host to host; where that fails, do without.

        Args:
            enqueue: takes a stream's handle, enqueues the work between `device_images` and
                `device_scores` there and says whether that worked.

        Raises:
            CudaError: it does not run.
        """
        self._enqueue = enqueue
        self._images[:] = 0
        self._queue()  # libraries set themselves up in the first run, which cannot be captured
        call("cudaStreamSynchronize", self._stream)
        try:
            self._graph = self._capture()
        except CudaError as error:
            _LOG.warning("no CUDA graph, slower without: %s", str(error))

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, h, w, 3) uint8 -> (N, K, h', w') float32, valid until the next call.

        Raises:
            CudaError: the GPU failed.
        """
        np.copyto(self._images, images)
        if self._graph is None:
            self._queue()
        else:
            call("cudaGraphLaunch", self._graph, self._stream)
        call("cudaStreamSynchronize", self._stream)
        return self._scores

    def _queue(self) -> None:
        to_device = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        to_host = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        images, scores = self._images, self._scores
        ends = self.device_images, images.ctypes.data
        call("cudaMemcpyAsync", *ends, images.nbytes, to_device, self._stream)
        if not self._enqueue(int(self._stream)):
            raise CudaError("the engine could not be started")
        ends = scores.ctypes.data, self.device_scores
        call("cudaMemcpyAsync", *ends, scores.nbytes, to_host, self._stream)

    def _capture(self) -> Any:
        """Record `_queue` while other threads may use the GPU."""
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call("cudaStreamBeginCapture", self._stream, mode)
        try:
            self._queue()
        finally:  # also ends a capture that failed
            graph = call("cudaStreamEndCapture", self._stream)
            self._when_freed(cudart.cudaGraphDestroy, graph)
        ready = call("cudaGraphInstantiate", graph, 0)
        self._when_freed(cudart.cudaGraphExecDestroy, ready)
        return ready
