# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on the CPU: one frame at a time, fixed shapes, compiled models kept; never torch."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from lrn_ros.artifact import ModelInfo
from lrn_ros.errors import UserError
from lrn_ros.inference.backends.base import BackendError, BackendOptions
from lrn_ros.inference.cache import EngineCache
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.postprocess import upsample_argmax
from lrn_ros.inference.preprocess import resize
from lrn_ros.inference.result import Result, Timings

NAME = "openvino"
_HINTS = {"fp32": "f32", "bf16": "bf16"}  # OpenVINO's names
_KEPT = 4  # compiled sizes in memory


def create(path: Path, info: ModelInfo, options: BackendOptions) -> OpenVinoBackend:
    """Create the backend for an .onnx model: see lrn_ros.artifact.ExportInfo for the graph."""
    return OpenVinoBackend(path, info, options)


class OpenVinoBackend:
    """See Backend.

    Precision "auto" is that of an int8 model, else bf16 where the processor has it, else fp32.
    Every network size is compiled when first seen, or read from the cache.
    """

    name = NAME

    def __init__(self, path: Path, info: ModelInfo, options: BackendOptions) -> None:
        if info.export is None:
            raise BackendError(f"{path} is not an exported model; lrn export makes one")
        self._path, self._cache, self._core = path, EngineCache(options.cache_dir), ov.Core()
        self._fixed, self.stride = info.export.size, info.export.stride
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        is_int8 = info.export.precision == "int8"
        self.precision, hint = _precision(options.precision, is_int8, "BF16" in able)
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot read {path}: {_line(error)}") from error
        self._config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        if options.threads:
            self._config["INFERENCE_NUM_THREADS"] = str(options.threads)
        cpu = self._core.get_property("CPU", "FULL_DEVICE_NAME").strip()
        self.device_name = f"{cpu}, {options.threads} threads" if options.threads else cpu
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self._key = (NAME, ov.__version__, cpu, str(sorted(self._config.items())), digest)
        self._requests: dict[tuple[int, int], ov.InferRequest] = {}

    def run(self, rgb: NDArray[np.uint8], geometry: Geometry, confidence: bool) -> Result:
        """See Backend.run."""
        start = time.perf_counter()
        logits, prepared = self._infer(rgb, geometry)
        inferred = time.perf_counter()
        mask, probability = upsample_argmax(logits, geometry, self.stride, confidence)
        done = time.perf_counter()
        timings = Timings(
            (prepared - start) * 1e3, (inferred - prepared) * 1e3, (done - inferred) * 1e3
        )
        return Result(mask, probability, timings)

    def logits(self, rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.float32]:
        """See Backend.logits."""
        return self._infer(rgb, geometry)[0].copy()

    def _infer(
        self, rgb: NDArray[np.uint8], geometry: Geometry
    ) -> tuple[NDArray[np.float32], float]:
        """Coarse logits (K, h, w), valid until the next call, and the clock before the network."""
        request = self._requests.get(geometry.network)
        if request is None:
            if len(self._requests) == _KEPT:
                del self._requests[next(iter(self._requests))]
            request = self._compile(geometry.network).create_infer_request()
            self._requests[geometry.network] = request
        pixels = np.ascontiguousarray(resize(rgb, geometry))[None]
        prepared = time.perf_counter()
        return request.infer([pixels], share_inputs=True, share_outputs=True)[0][0], prepared

    def _compile(self, size: tuple[int, int]) -> ov.CompiledModel:
        """The model for one network size, from the cache if it is there."""
        if self._fixed not in (None, size):
            raise UserError(
                f"{self._path} runs at {list(self._fixed)} (height, width) only, not at"
                f" {list(size)}: set network_size to {list(self._fixed)}, or export the model"
                " without a fixed size"
            )
        key = (*self._key, f"{size[0]}x{size[1]}")
        kept = self._cache.load(*key)
        try:
            if kept is not None:
                return self._core.import_model(kept, "CPU", self._config)
        except RuntimeError:
            pass  # of another build of OpenVINO: compiled anew, and replaced
        try:
            self._model.reshape({"image": [1, *size, 3]})
            compiled = self._core.compile_model(self._model, "CPU", self._config)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot compile {self._path}: {_line(error)}") from error
        self._cache.save(compiled.export_model().getvalue(), *key)
        return compiled


def _precision(asked: str, is_int8: bool, has_bf16: bool) -> tuple[str, str]:
    """Name of the precision, and OpenVINO's hint for the layers that are not int8."""
    best = "bf16" if has_bf16 else "fp32"
    if is_int8 and asked in ("auto", "int8"):
        return "int8", _HINTS[best]
    if is_int8:
        raise BackendError(f"this model is int8, not {asked}; precision auto or int8 works")
    if asked == "int8":
        raise BackendError(
            f"this model is not int8: lrn export --precision int8 makes one; {best} works"
        )
    precision = best if asked == "auto" else asked
    if precision not in _HINTS or (precision == "bf16" and not has_bf16):
        works = "fp32 and bf16 work" if has_bf16 else "fp32 works"
        raise BackendError(f"backend openvino on this processor has no {precision}; {works}")
    return precision, _HINTS[precision]


def _line(error: RuntimeError) -> str:
    """The last line of OpenVINO's message, which says what; those before say where."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"
