# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch on the CPU: works everywhere torch does, fp32 or bf16."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrn_ros.artifact import ModelInfo
from lrn_ros.inference.backends.base import BackendError, BackendOptions
from lrn_ros.inference.backends.torch_ops import load_network, upsample_argmax
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.preprocess import resize
from lrn_ros.inference.result import Result, Timings
from lrn_ros.networks.deploy import fold_normalisation

NAME = "torch"


def create(path: Path, info: ModelInfo, options: BackendOptions) -> TorchBackend:
    """Create the backend for a .safetensors model."""
    return TorchBackend(path, info, options)


class TorchBackend:
    """See Backend. Precision "auto" is fp32: bit-exact runs, and the reference for the others."""

    name = NAME

    def __init__(self, path: Path, info: ModelInfo, options: BackendOptions) -> None:
        self.precision = "fp32" if options.precision == "auto" else options.precision
        if self.precision not in ("fp32", "bf16"):
            raise BackendError(
                f"backend torch on the CPU has no {self.precision}; fp32 and bf16 work"
            )
        if options.threads:
            torch.set_num_threads(options.threads)
        self.device_name = f"CPU, {torch.get_num_threads()} threads"
        network = fold_normalisation(load_network(path, info))
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stride = int(network.stride)  # type: ignore[arg-type]
        mean, std = np.array(info.mean, np.float32), np.array(info.std, np.float32)
        self._gain = torch.from_numpy(1 / (255 * std))
        self._offset = torch.from_numpy(-mean / std)

    def run(self, rgb: NDArray[np.uint8], geometry: Geometry, confidence: bool) -> Result:
        """See Backend.run."""
        start = time.perf_counter()
        with torch.inference_mode():
            logits, prepared = self._infer(rgb, geometry)
            inferred = time.perf_counter()
            mask, probability = upsample_argmax(logits, geometry, self.stride, confidence)
        done = time.perf_counter()
        timings = Timings(
            (prepared - start) * 1e3, (inferred - prepared) * 1e3, (done - inferred) * 1e3
        )
        return Result(mask.numpy(), None if probability is None else probability.numpy(), timings)

    def logits(self, rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.float32]:
        """See Backend.logits."""
        with torch.inference_mode():
            return self._infer(rgb, geometry)[0][0].numpy()

    def _infer(self, rgb: NDArray[np.uint8], geometry: Geometry) -> tuple[Tensor, float]:
        """Coarse logits (1, K, h, w) float32, and the clock when preprocessing was done."""
        pixels = torch.from_numpy(np.ascontiguousarray(resize(rgb, geometry)))
        # (h, w, 3) seen as (1, 3, h, w) is channels-last already.
        x = torch.addcmul(self._offset, pixels.float(), self._gain).permute(2, 0, 1)[None]
        prepared = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            return self._network.coarse(x).float(), prepared
