# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The kernels of stages.cu: compiled by NVRTC at run time, kept like engines, launched."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cuda.bindings import driver, nvrtc
from numpy.typing import NDArray

from lrn_ros.inference.backends.base import BackendError
from lrn_ros.inference.cache import EngineCache
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.postprocess import axes, merge_table
from lrn_ros.inference.preprocess import resize_rule

SOURCE = Path(__file__).with_name("stages.cu")
_NAMES = ("make_images", "make_masks")
# Every product and sum is rounded by itself, as on the CPU.
_OPTIONS = ("--fmad=false", "--std=c++14")
_BLOCK = (32, 8, 1)  # threads: pixels of 32 columns and 8 rows
_LOG = logging.getLogger("lrn_ros")
_NVRTC = "pip install nvidia-cuda-nvrtc, for CUDA 12 nvidia-cuda-nvrtc-cu12"
_UPDATE = "update the driver, or install the cuda-bindings and nvidia-cuda-nvrtc of its CUDA"

# Puts an array into the GPU's memory and gives its address there.
Upload = Callable[[NDArray[Any]], int]


def compile_kernels(capability: tuple[int, int]) -> bytes:
    """Compile stages.cu for a GPU; needs no GPU.

    Args:
        capability: compute capability, (8, 9) say. For one that is newer than NVRTC the result is
            PTX, which the driver compiles further.

    Raises:
        BackendError: NVRTC is missing, or has no code for such an old GPU.
    """
    wanted = 10 * capability[0] + capability[1]
    try:
        known = _call(nvrtc.nvrtcGetSupportedArchs)
        version = ".".join(map(str, _call(nvrtc.nvrtcVersion)))
    except RuntimeError as error:  # the loader of NVIDIA's libraries raises it
        text = str(error).strip().splitlines()[0]
        raise BackendError(f"no NVRTC ({text}); {_NVRTC}") from error
    if wanted < min(known):
        raise BackendError(
            f"NVRTC {version} compiles for compute capability {_dotted(min(known))} and newer, this"
            f" GPU has {_dotted(wanted)}; an older CUDA has it: pip install 'cuda-bindings<13'"
            " nvidia-cuda-nvrtc-cu12"
        )
    target = max(n for n in known if n <= wanted)
    architecture = f"sm_{target}" if target == wanted else f"compute_{target}"
    options = [o.encode() for o in (f"--gpu-architecture={architecture}", *_OPTIONS)]
    program = _call(nvrtc.nvrtcCreateProgram, SOURCE.read_bytes(), b"stages.cu", 0, [], [])
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            log = bytearray(_call(nvrtc.nvrtcGetProgramLogSize, program))
            _call(nvrtc.nvrtcGetProgramLog, program, log)
            reason = " ".join(log.decode(errors="replace").strip("\0").split())[:500]
            raise BackendError(f"NVRTC {version} cannot compile for {architecture}: {reason}")
        kind = "CUBIN" if target == wanted else "PTX"
        code = bytearray(_call(getattr(nvrtc, f"nvrtcGet{kind}Size"), program))
        _call(getattr(nvrtc, f"nvrtcGet{kind}"), program, code)
        return bytes(code)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _dotted(number: int) -> str:
    return f"{number // 10}.{number % 10}"


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    status, *values = function(*arguments)
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise BackendError(f"NVRTC failed: {function.__name__}: {status.name}")
    return values if len(values) > 1 else values[0] if values else None


class Kernels:
    """The compiled kernels in the current context of a GPU.

    Args:
        capability: compute capability of the GPU.
        driver_version: version of its driver; kept kernels of another version are not used.
        cache: where the compiled kernels are kept.

    Raises:
        BackendError: they cannot be compiled or loaded; the message says what helps.
    """

    def __init__(
        self, capability: tuple[int, int], driver_version: str, cache: EngineCache
    ) -> None:
        try:
            version = ".".join(map(str, _call(nvrtc.nvrtcVersion)))
        except RuntimeError:
            version = "missing"
        source = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
        key = ("device code", source, *_OPTIONS, version, str(capability), driver_version)
        kept = cache.load(*key)
        module = None if kept is None else _load(kept)
        if module is None:
            if kept is not None:
                _LOG.info("the kept kernels were refused by the driver and are compiled anew")
            code = compile_kernels(capability)
            module = _load(code)
            if module is None:
                raise BackendError(
                    f"the driver cannot load what NVRTC {version} compiles; {_UPDATE}"
                )
            cache.save(code, *key)
        weakref.finalize(self, driver.cuModuleUnload, module)
        found = {name: driver.cuModuleGetFunction(module, name.encode()) for name in _NAMES}
        for name, (status, _) in found.items():
            if status != driver.CUresult.CUDA_SUCCESS:
                raise BackendError(f"the driver does not find the kernel {name}: {status.name}")
        self._functions = {name: function for name, (_, function) in found.items()}

    def launch(self, name: str, pixels: tuple[int, int, int], stream: int, *values: Any) -> bool:
        """Enqueue a kernel for (frames, height, width) pixels; whether that worked.

        Args:
            name: name of the kernel.
            pixels: one thread each.
            stream: handle of the stream.
            values: arguments in order: int addresses come as ctypes.c_void_p, numbers as int or
                np.float32.
        """
        frames, height, width = pixels
        grid = -(-width // _BLOCK[0]), -(-height // _BLOCK[1]), frames
        arguments = tuple(map(_plain, values)), tuple(map(_ctype, values))
        (status,) = driver.cuLaunchKernel(
            self._functions[name], *grid, *_BLOCK, 0, stream, arguments, 0
        )
        return bool(status == driver.CUresult.CUDA_SUCCESS)


def _plain(value: Any) -> int | float:
    """The Python number of an argument; the address 0 is None in ctypes."""
    if isinstance(value, ctypes.c_void_p):
        return value.value or 0
    return float(value) if isinstance(value, np.float32) else int(value)


def _ctype(value: Any) -> Any:
    if isinstance(value, ctypes.c_void_p):
        return ctypes.c_void_p
    return ctypes.c_float if isinstance(value, np.float32) else ctypes.c_int


def _load(code: bytes) -> Any:
    """The loaded module; None where the driver refuses it."""
    status, module = driver.cuModuleLoadData(code)
    return module if status == driver.CUresult.CUDA_SUCCESS else None


class Stages:
    """Both kernels for one geometry and number of frames, between fixed addresses.

    Args:
        kernels: see Kernels.
        geometry: geometry of the frames.
        scores: (N, K, h, w), the shape of the network's output.
        stride: pixels of the network's input per score.
        upload: for the tables; what it gives has to live as long as this.
        merged: see lrn_ros.inference.postprocess.upsample_argmax.
        temperature: see ModelInfo.
    """

    def __init__(
        self,
        kernels: Kernels,
        geometry: Geometry,
        scores: tuple[int, int, int, int],
        stride: int,
        upload: Upload,
        merged: Sequence[int] = (),
        temperature: float = 1.0,
    ) -> None:
        def addresses(tables: tuple[NDArray[Any], ...]) -> list[ctypes.c_void_p]:
            return [ctypes.c_void_p(upload(np.ascontiguousarray(table))) for table in tables]

        rule = resize_rule(geometry)
        rows, columns = axes(scores[2:], geometry, stride)
        self._kernels, self._geometry, self._scores, self._rule = kernels, geometry, scores, rule
        (self._groups,) = addresses((merge_table(merged),))
        self._sharpness = np.float32(1 / temperature)
        self._taps = addresses(rule.rows) + addresses(rule.columns)
        self._axes = [
            address
            for axis in (rows, columns)
            for address in addresses(
                (
                    axis.low.astype(np.int32),
                    axis.high.astype(np.int32),
                    axis.weight_low,
                    axis.weight_high,
                )
            )
        ]

    def make_images(self, frames: int, images: int, stream: int) -> bool:
        """Enqueue frames (N, H, W, 3) to images (N, h, w, 3), both uint8 at these addresses."""
        g = self._geometry
        return self._kernels.launch(
            "make_images", (self._scores[0], *g.network), stream,
            ctypes.c_void_p(frames), ctypes.c_void_p(images), *self._taps, *g.frame, *g.content,
            *g.network, self._rule.kind, np.float32(self._rule.scale),
        )  # fmt: skip

    def make_masks(self, scores: int, masks: int, confidences: int, stream: int) -> bool:
        """Enqueue scores, float32, to masks and, unless their address is 0, confidences, uint8."""
        batch, classes, *cells = self._scores
        return self._kernels.launch(
            "make_masks", (batch, *self._geometry.output), stream, ctypes.c_void_p(scores),
            ctypes.c_void_p(masks), ctypes.c_void_p(confidences), *self._axes, self._groups,
            self._sharpness, classes, *cells, *self._geometry.output,
        )  # fmt: skip
