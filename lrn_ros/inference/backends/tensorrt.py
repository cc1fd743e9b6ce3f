# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""TensorRT, or TensorRT for RTX, on an NVIDIA GPU: an engine per input shape; never torch."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.backends.base import BackendError, BackendOptions
from lrn_ros.inference.backends.device import DeviceBackend, Frames, Key
from lrn_ros.inference.backends.host import Shape, check_fixed_shape
from lrn_ros.inference.cache import EngineCache
from lrn_ros.inference.cuda_graph import CudaError, Pipeline, call, find_gpu
from lrn_ros.inference.device_code import Kernels, Stages
from lrn_ros.inference.engine_build import LOGGER, PRODUCT, RECIPE, RTX, build, check_gpu, trt
from lrn_ros.inference.geometry import Geometry
from lrn_ros.model.artifact import ModelInfo

NAME = "tensorrt"
_LOG = logging.getLogger("lrn_ros")


def create(path: Path, info: ModelInfo, options: BackendOptions) -> TensorRtBackend:
    """Create the backend for an .onnx model on GPU `options.device`."""
    return TensorRtBackend(path, info, options)


class _Steps:
    """See Steps of lrn_ros.inference.cuda_graph: the kernels around an engine."""

    def __init__(self, stages: Stages, infer: Callable[[int], bool]) -> None:
        self.make_images, self.make_masks = stages.make_images, stages.make_masks
        self.infer = infer


class TensorRtBackend(DeviceBackend[Pipeline]):
    """See Backend. The precision is that of the model's file.

    A frame goes to the GPU, its mask comes back, and nothing in between visits the host.

    Convolutions in fp32 use TF32, which TensorRT allows unless told otherwise.
    An input shape is compiled when first seen, or read from the cache.
    """

    name = NAME

    def __init__(self, path: Path, info: ModelInfo, options: BackendOptions) -> None:
        super().__init__(options.merged, info.temperature)
        if info.export is None:
            raise BackendError(f"{path} is not an exported model; lrn export makes one")
        self._gpu = gpu = find_gpu(options.device)
        check_gpu(gpu.capability)
        self.device_name = gpu.name
        self.precision = _precision(options.precision, info.export.precision, path)
        self._fixed, self.stride = info.export.size, info.export.stride
        self._path, self._cache = path, EngineCache(options.cache_dir)
        self._kernels = Kernels(gpu.capability, gpu.driver, self._cache)
        self._runtime = trt.Runtime(LOGGER)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        hardware = gpu.name, str(gpu.capability), gpu.driver
        self._key = (NAME, PRODUCT, str(RECIPE), *hardware, self.precision, digest)

    def _compile(self, key: Key) -> Pipeline:
        """See DeviceBackend._compile; the engine comes from the cache if it is there."""
        geometry, batch = key
        shape = (batch, *geometry.network)
        check_fixed_shape(self._path, self._fixed, shape)
        kept_as = (*self._key, "x".join(map(str, shape)))
        LOGGER.take_error()  # an earlier error does not belong to this call
        try:
            call("cudaSetDevice", self._gpu.index)
            return self._start(self._load(shape, kept_as), geometry, kept_as)
        except CudaError as error:
            raise BackendError(
                f"{self._path} does not run at {list(shape)} on {self.device_name}: {error}"
            ) from error

    def _load(self, shape: Shape, key: tuple[str, ...]) -> Any:
        """The engine for a shape, built unless the cache has one that this GPU takes."""
        kept = self._cache.load(*key)
        engine = None if kept is None else self._runtime.deserialize_cuda_engine(kept)
        if engine is not None:
            return engine
        if kept is not None:
            _LOG.info("the kept engine was refused, built anew: %s", LOGGER.take_error())
        built = build(self._path, shape, self._gpu.capability)
        engine = self._runtime.deserialize_cuda_engine(built)
        if engine is None:
            raise BackendError(f"{PRODUCT} cannot load what it built: {LOGGER.take_error()}")
        self._cache.save(built, *key)
        return engine

    def _start(self, engine: Any, geometry: Geometry, key: tuple[str, ...]) -> Pipeline:
        """Give the engine its buffers and the kernels around it, and run it once.

        TensorRT for RTX compiles the engine's kernels now: they are kept beside the engine.
        """
        config = kernels = None
        if RTX:
            config = engine.create_runtime_config()
            kernels = config.create_runtime_cache()
            kept = self._cache.load(*key, "kernels")
            fresh = kept is None or not kernels.deserialize(kept)
            config.set_runtime_cache(kernels)
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context()
        if context is None:
            raise CudaError(LOGGER.take_error())
        images = tuple(engine.get_tensor_shape("image"))
        batch, classes, rows, columns = engine.get_tensor_shape("logits")
        scores = (batch, classes, rows, columns)
        pipeline = Pipeline((batch, *geometry.frame, 3), images, scores, geometry.output)
        stages = Stages(
            self._kernels, geometry, scores, self.stride, pipeline.upload,
            merged=self._merged, temperature=self._temperature,
        )  # fmt: skip
        context.set_tensor_address("image", pipeline.device_images)
        context.set_tensor_address("logits", pipeline.device_scores)
        pipeline.keeps = config, kernels
        try:
            pipeline.start(_Steps(stages, context.execute_async_v3))
        except CudaError as error:
            raise CudaError(f"{error}: {LOGGER.take_error()}") from error
        if kernels is not None and fresh:
            self._cache.save(bytes(kernels.serialize()), *key, "kernels")
        return pipeline

    def _masks(self, engine: Pipeline, frames: Frames, confidence: bool) -> NDArray[np.uint8]:
        """See DeviceBackend._masks."""
        call("cudaSetDevice", self._gpu.index)
        return engine.masks(frames, confidence)

    def _scores(self, engine: Pipeline, frames: Frames) -> NDArray[np.float32]:
        """See DeviceBackend._scores."""
        call("cudaSetDevice", self._gpu.index)
        return engine.scores(frames)


def _precision(asked: str, has: str, path: Path) -> str:
    """The precision of a model's file; raises BackendError if another one was asked for."""
    if asked in ("auto", has):
        return has
    if asked == "bf16":
        raise BackendError("backend tensorrt has no bf16; fp32, fp16 and int8 work")
    raise BackendError(
        f"{path} is {has}: precision auto or {has} works, and lrn export MODEL --format onnx"
        f" --precision {asked} makes a model for {asked}"
    )
