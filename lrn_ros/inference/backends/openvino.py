# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on the CPU: fixed shapes, compiled models kept on disk; never torch."""

from __future__ import annotations

import hashlib
import logging
import platform
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from lrn_ros.inference.backends import has_bf16, has_vnni, instruction_limit
from lrn_ros.inference.backends.base import BackendError, BackendOptions
from lrn_ros.inference.backends.host import HostBackend, Shape, check_fixed_shape
from lrn_ros.inference.cache import EngineCache
from lrn_ros.model.artifact import ModelInfo

NAME = "openvino"
_LOG = logging.getLogger("lrn_ros")
_HINTS = {"fp32": "f32", "bf16": "bf16"}  # OpenVINO's names


def create(path: Path, info: ModelInfo, options: BackendOptions) -> OpenVinoBackend:
    """Create the backend for an .onnx model; lrn_ros.model.artifact.ExportInfo has the graph."""
    return OpenVinoBackend(path, info, options)


class OpenVinoBackend(HostBackend[ov.InferRequest]):
    """See Backend.

    Precision "auto" is bf16 where the processor has it, else int8 where the processor has VNNI and
    the model has an int8 file, else fp32; the log says which and why. A path to an int8 file is
    int8 everywhere.
    An input shape is compiled when first seen, or read from the cache.
    """

    name = NAME

    def __init__(self, path: Path, info: ModelInfo, options: BackendOptions) -> None:
        super().__init__(options.merged, info.temperature)
        if info.export is None:
            raise BackendError(f"{path} is not an exported model; lrn export makes one")
        self._path, self._cache, self._core = path, EngineCache(options.cache_dir), ov.Core()
        self._fixed, self.stride = info.export.size, info.export.stride
        is_int8, has_bf16 = info.export.precision == "int8", _computes_bf16(self._core)
        self.precision, hint = _precision(options.precision, is_int8, has_bf16)
        if options.precision == "auto":
            _LOG.info("precision auto is %s: %s", self.precision, _reason(path, is_int8, has_bf16))
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
        self._key = (
            NAME,
            ov.__version__,
            cpu,
            instruction_limit(),
            str(sorted(self._config.items())),
            digest,
        )

    def _compile(self, shape: Shape) -> ov.InferRequest:
        """See HostBackend._compile; from the cache if it is there."""
        check_fixed_shape(self._path, self._fixed, shape)
        key = (*self._key, "x".join(map(str, shape)))
        kept = self._cache.load(*key)
        try:
            if kept is not None:
                model = self._core.import_model(kept, "CPU", self._config)
                return model.create_infer_request()
        except RuntimeError:
            pass  # it is from another build of OpenVINO, and will be compiled anew and replaced
        try:
            self._model.reshape({"image": [*shape, 3]})
            compiled = self._core.compile_model(self._model, "CPU", self._config)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot compile {self._path}: {_line(error)}") from error
        self._cache.save(compiled.export_model().getvalue(), *key)
        return compiled.create_infer_request()

    def _infer(self, engine: ov.InferRequest, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See HostBackend._infer."""
        logits: NDArray[np.float32] = engine.infer([images], share_inputs=True, share_outputs=True)[
            0
        ]
        return logits


def _computes_bf16(core: ov.Core) -> bool:
    """Whether bfloat16 is computed by instructions of the processor that oneDNN may use."""
    if platform.machine() in ("x86_64", "AMD64"):
        return has_bf16()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _reason(path: Path, is_int8: bool, has_bf16: bool) -> str:
    """The reason for the precision that "auto" has taken."""
    if is_int8:
        return f"{path.name} is int8"
    if has_bf16:
        return "this processor computes in bf16"
    if has_vnni():
        return (
            f"this processor has VNNI and no bf16, and there is no int8 file beside {path.name};"
            " lrn export MODEL --format onnx --precision int8 makes one, which is faster"
        )
    return "this processor has neither bf16 nor VNNI"


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
    """The last line of OpenVINO's message; it has the reason, the lines before have the place."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"
