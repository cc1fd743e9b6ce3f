# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on any processor or NVIDIA GPU: for machines without OpenVINO and TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lrn_ros.errors import one_line
from lrn_ros.inference.backends.base import BackendError, BackendOptions
from lrn_ros.inference.backends.host import HostBackend, Shape, check_fixed_shape
from lrn_ros.inference.cache import EngineCache
from lrn_ros.model.artifact import ModelInfo

NAME = "onnxruntime"
_TENSORRT, _CUDA, _CPU = (f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU"))


def create(path: Path, info: ModelInfo, options: BackendOptions) -> OnnxRuntimeBackend:
    """Create the backend for an .onnx model; lrn_ros.model.artifact.ExportInfo has the graph."""
    return OnnxRuntimeBackend(path, info, options)


class OnnxRuntimeBackend(HostBackend[onnxruntime.InferenceSession]):
    """See Backend.

    One session serves all shapes. It runs on the first execution provider that works: TensorRT's,
    CUDA's, the processor's. The precision is that of the file.
    """

    name = NAME

    def __init__(self, path: Path, info: ModelInfo, options: BackendOptions) -> None:
        super().__init__(options.merged, info.temperature)
        if info.export is None:
            raise BackendError(f"{path} is not an exported model; lrn export makes one")
        self._path, self._fixed, self.stride = path, info.export.size, info.export.stride
        self.precision = info.export.precision
        if options.precision not in ("auto", self.precision):
            raise BackendError(
                f"{path} is {self.precision}, and backend onnxruntime runs a file as it is; lrn"
                f" export --precision fp32, fp16 or int8 makes the others, {self.precision} works"
            )
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3  # errors only
        settings.intra_op_num_threads = options.threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), settings, providers=_providers(options)
            )
        except Exception as error:  # its classes derive from Exception alone
            raise BackendError(f"ONNX Runtime cannot load {path}: {_line(error)}") from error
        provider = self._session.get_providers()[0]
        self.batches = provider != _CPU
        self.device_name = f"{provider.removesuffix('ExecutionProvider')} of ONNX Runtime"
        if provider == _CPU and options.threads:
            self.device_name += f", {options.threads} threads"

    def _compile(self, shape: Shape) -> onnxruntime.InferenceSession:
        """See HostBackend._compile; a first run plans memory and builds what a provider builds."""
        check_fixed_shape(self._path, self._fixed, shape)
        self._infer(self._session, np.zeros((*shape, 3), np.uint8))
        return self._session

    def _infer(
        self, engine: onnxruntime.InferenceSession, images: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """See HostBackend._infer."""
        try:
            (logits,) = engine.run(["logits"], {"image": images})
        except Exception as error:  # its classes derive from Exception alone
            raise BackendError(f"ONNX Runtime cannot run {self._path}: {_line(error)}") from error
        return np.asarray(logits)


def _providers(options: BackendOptions) -> list[Any]:
    """The execution providers of this installation, with their settings, the best first."""
    device = {"device_id": options.device}
    folder = EngineCache(options.cache_dir).folder
    kept = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)} if folder else {}
    settings = {_TENSORRT: device | kept, _CUDA: device, _CPU: {}}
    there = onnxruntime.get_available_providers()
    return [(name, values) for name, values in settings.items() if name in there]


def _line(error: Exception) -> str:
    """The message without line breaks."""
    return one_line(error)[:300]
