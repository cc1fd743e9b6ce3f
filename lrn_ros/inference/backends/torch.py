# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch on the CPU in fp32 or bf16, and the loading of a network, which cuda does too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lrn_ros.errors import UserError, one_line
from lrn_ros.inference.backends.base import BackendError, BackendOptions
from lrn_ros.inference.backends.host import HostBackend, Shape
from lrn_ros.inference.geometry import Geometry
from lrn_ros.model.artifact import ModelInfo, read_weights
from lrn_ros.networks import build
from lrn_ros.networks.blocks import fold_normalisation

NAME = "torch"


def create(path: Path, info: ModelInfo, options: BackendOptions) -> TorchBackend:
    """Create the backend for a .safetensors model."""
    return TorchBackend(path, info, options)


def load_network(path: Path, info: ModelInfo) -> nn.Module:
    """Build a model file's network with its weights, float32, in evaluation mode.

    Raises:
        UserError: the weights do not fit the architecture that the header names.
    """
    try:
        network = build(info.architecture, num_classes=len(info.labels), **info.options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error
    weights = {}
    for name, array in read_weights(path).items():
        tensor = torch.from_numpy(array)
        weights[name] = tensor.float() if tensor.is_floating_point() else tensor
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        text = one_line(error)[:300]
        raise UserError(f"{path}: weights do not fit {info.architecture}: {text}") from error
    return network.eval().requires_grad_(False)


class TorchBackend(HostBackend[nn.Module]):
    """See Backend. Precision "auto" is fp32: bit-exact runs, and the reference for the others."""

    name = NAME

    def __init__(self, path: Path, info: ModelInfo, options: BackendOptions) -> None:
        super().__init__(options.merged, info.temperature)
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

    def prepared(self, geometry: Geometry, batch: int = 1) -> bool:
        """See Backend.prepared; the network takes every shape."""
        return True

    def _compile(self, shape: Shape) -> nn.Module:
        """See HostBackend._compile."""
        return self._network

    @torch.inference_mode()
    def _infer(self, engine: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See HostBackend._infer."""
        pixels = torch.from_numpy(images.astype(np.float32))  # torch warns of read-only memory
        # (n, h, w, 3) seen as (n, 3, h, w) is channels-last already.
        x = torch.addcmul(self._offset, pixels, self._gain).permute(0, 3, 1, 2)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            logits: NDArray[np.float32] = engine.coarse(x).float().numpy()  # type: ignore[operator]
        return logits
