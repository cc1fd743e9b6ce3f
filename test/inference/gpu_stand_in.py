# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for an NVIDIA GPU: the CUDA runtime's and TensorRT's calls, on the host's memory.

As on a GPU what is enqueued happens at the latest when the stream is synchronised, and what is
enqueued during a capture does not happen, but every time the graph is launched.
"""

from __future__ import annotations

import ctypes
import inspect
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from cuda.bindings import runtime

CLASSES = 11
WEIGHTS = np.random.default_rng(0).normal(size=(CLASSES, 3))
OK, NO_MEMORY = runtime.cudaError_t.cudaSuccess, runtime.cudaError_t.cudaErrorMemoryAllocation


def closed_form(images: np.ndarray) -> np.ndarray:
    """(N, h, w, 3) uint8 -> (N, CLASSES, h / 8, w / 8): WEIGHTS times cells' mean colour, 0-1."""
    n, height, width = images.shape[0], images.shape[1] // 8, images.shape[2] // 8
    mean = (images / 255.0).reshape(n, height, 8, width, 8, 3).mean(axis=(2, 4))
    return np.moveaxis(mean @ WEIGHTS.T, 3, 1)


def at(address: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return (
        np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        .view(dtype)
        .reshape(shape)
    )


class StandInGpu:
    """In place of the module cuda.bindings.runtime; errors, constants and signatures are its own.

    Attributes:
        calls: names of the functions called.
        live: what is allocated, handle -> kind.
        memory: allocations on the GPU that succeed, from now on.
        can_capture: whether a capture succeeds.
        device_count: result of cudaGetDeviceCount, an error or a number.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.live: dict[int, str] = {}
        self.memory, self.can_capture, self.device_count = 1000, True, 2
        self.name, self.capability, self.driver = b"Stand-in 4090", (8, 9), 13000
        self.modes: list[Any] = []
        self.kernels: Any = None  # the driver that launches them, see kernel_shim
        self._buffers: dict[int, Any] = {}
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._queue: list[Callable[[], None]] = []
        self._recorded: list[Callable[[], None]] | None = None
        self._last = 1

    def __getattr__(self, name: str) -> Any:
        function = self.__class__.__dict__.get(f"_{name}")
        if function is None:
            return getattr(runtime, name)  # constants and texts

        def called(*arguments: Any) -> Any:
            inspect.signature(getattr(runtime, name)).bind(*arguments)
            self.calls.append(name)
            result = function(self, *arguments)
            return result if isinstance(result, tuple) else (result,)

        return called

    def enqueue(self, work: Callable[[], None]) -> None:
        (self._queue if self._recorded is None else self._recorded).append(work)

    def _handle(self, kind: str, buffer: Any = None) -> int:
        self._last += 1
        handle = self._last if buffer is None else ctypes.addressof(buffer)
        self.live[handle], self._buffers[handle] = kind, buffer
        return handle

    def _free(self, kind: str, handle: int) -> Any:
        assert self.live.pop(handle) == kind
        del self._buffers[handle]
        return OK

    def _cudaGetDeviceCount(self) -> Any:
        failed = isinstance(self.device_count, runtime.cudaError_t)
        return (self.device_count, None) if failed else (OK, self.device_count)

    def _cudaGetDeviceProperties(self, index: int) -> Any:
        major, minor = self.capability
        return OK, SimpleNamespace(name=self.name, major=major, minor=minor)

    def _cudaDriverGetVersion(self) -> Any:
        return OK, self.driver

    def _cudaSetDevice(self, index: int) -> Any:
        return OK

    def _cudaStreamCreateWithFlags(self, flags: int) -> Any:
        assert flags == runtime.cudaStreamNonBlocking
        return OK, self._handle("stream")

    def _cudaStreamDestroy(self, handle: int) -> Any:
        return self._free("stream", handle)

    def _cudaMalloc(self, size: int) -> Any:
        self.memory -= 1
        if self.memory < 0:
            return NO_MEMORY, None
        return OK, self._handle("memory", (ctypes.c_uint8 * size)())

    def _cudaFree(self, handle: int) -> Any:
        return self._free("memory", handle)

    def _cudaMallocHost(self, size: int) -> Any:
        return OK, self._handle("pinned", (ctypes.c_uint8 * size)())

    def _cudaFreeHost(self, handle: int) -> Any:
        return self._free("pinned", handle)

    def _cudaMemcpyAsync(self, target: int, source: int, size: int, kind: Any, stream: int) -> Any:
        ends = {
            runtime.cudaMemcpyKind.cudaMemcpyHostToDevice: ("pinned", "memory"),
            runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost: ("memory", "pinned"),
            runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice: ("memory", "memory"),
        }
        assert (self.live[source], self.live[target]) == ends[kind]
        whole = len(self._buffers[source])
        assert len(self._buffers[target]) == whole and size in (whole, whole // 2)  # of two planes
        self.enqueue(lambda: ctypes.memmove(target, source, size))
        return OK

    def _cudaMemcpy(self, target: int, source: int, size: int, kind: Any) -> Any:
        is_upload = kind == runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        there = target if is_upload else source
        assert self.live[there] == "memory" and size == len(self._buffers[there])
        ctypes.memmove(target, source, size)
        return OK

    def _cudaStreamBeginCapture(self, stream: int, mode: Any) -> Any:
        assert self.live[stream] == "stream" and not self._queue
        self.modes.append(mode)
        self._recorded = []
        return OK

    def _cudaStreamEndCapture(self, stream: int) -> Any:
        recorded, self._recorded = self._recorded, None
        assert recorded is not None
        if not self.can_capture:
            return runtime.cudaError_t.cudaErrorStreamCaptureInvalidated, None
        handle = self._handle("graph")
        self._graphs[handle] = recorded
        return OK, handle

    def _cudaGraphDestroy(self, handle: int) -> Any:
        return self._free("graph", handle)

    def _cudaGraphInstantiate(self, graph: int, flags: int) -> Any:
        handle = self._handle("executable")
        self._graphs[handle] = self._graphs[graph]
        return OK, handle

    def _cudaGraphExecDestroy(self, handle: int) -> Any:
        return self._free("executable", handle)

    def _cudaGraphLaunch(self, handle: int, stream: int) -> Any:
        assert self.live[handle] == "executable" and self._recorded is None
        self._queue += self._graphs[handle]
        return OK

    def _cudaStreamSynchronize(self, stream: int) -> Any:
        assert self.live[stream] == "stream" and self._recorded is None
        work, self._queue = self._queue, []
        for step in work:
            step()
        return OK


class StandInTensorRt:
    """In place of TensorRT's runtime: the bytes of an engine say its shape and the GPU it is for.

    Attributes:
        contexts: one per engine started; each counts its `runs`.
        kernels: what every runtime cache was given, None of a fresh one.
        can_start: whether an execution context can be made.
        can_run: whether a context enqueues its work.
        complaint: the error that is logged where one of these is not so.
        configs: every runtime configuration that lives.
    """

    def __init__(self, gpu: StandInGpu) -> None:
        self.gpu, self.can_start, self.can_run, self.complaint = gpu, True, True, ""
        self.configs: weakref.WeakSet[RuntimeConfig] = weakref.WeakSet()
        self._logger: Any = None
        self.contexts: list[Context] = []
        self.kernels: list[bytes | None] = []

    def build(self, model: Any, shape: tuple[int, ...], capability: tuple[int, int]) -> bytes:
        assert capability == (8, 9)
        return b" ".join([self.gpu.name.replace(b" ", b"_"), *(b"%d" % n for n in shape)])

    def Runtime(self, logger: Any) -> StandInTensorRt:
        self._logger = logger
        return self

    def complain(self) -> None:
        self._logger.log(self._logger.ERROR, self.complaint)

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        name, *shape = data.split()
        return Engine(self, *map(int, shape)) if name == self.gpu.name.replace(b" ", b"_") else None


class Engine:
    def __init__(self, owner: StandInTensorRt, n: int, height: int, width: int) -> None:
        self.owner = owner
        self.shapes = {
            "image": (n, height, width, 3),
            "logits": (n, CLASSES, height // 8, width // 8),
        }

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig(self.owner)

    def create_execution_context(self, config: RuntimeConfig | None = None) -> Context | None:
        if not self.owner.can_start:
            self.owner.complain()
            return None
        self.owner.contexts.append(Context(self))
        return self.owner.contexts[-1]


class RuntimeConfig:
    """Also the runtime cache."""

    def __init__(self, owner: StandInTensorRt) -> None:
        self.owner = owner
        owner.configs.add(self)

    def create_runtime_cache(self) -> RuntimeConfig:
        self.owner.kernels.append(None)
        return self

    def deserialize(self, data: bytes) -> bool:
        self.owner.kernels[-1] = data
        return data == b"kernels"

    def set_runtime_cache(self, cache: RuntimeConfig) -> None:
        assert cache is self

    def serialize(self) -> bytes:
        return b"kernels"


class Context:
    def __init__(self, engine: Engine) -> None:
        self.owner, self.gpu, self.shapes = engine.owner, engine.owner.gpu, engine.shapes
        self.addresses: dict[str, int] = {}
        self.runs = 0

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert self.gpu.live[address] == "memory" and name in self.shapes
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        if not self.owner.can_run:
            self.owner.complain()
            return False
        self.runs += 1
        image = at(self.addresses["image"], self.shapes["image"], np.uint8)
        logits = at(self.addresses["logits"], self.shapes["logits"], np.float32)
        self.gpu.enqueue(lambda: np.copyto(logits, closed_form(image)))
        return True
