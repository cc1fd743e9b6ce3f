# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PyTorch on an NVIDIA GPU: fp16, channels-last, pinned copies, all stages on the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lrn_ros.artifact import ModelInfo
from lrn_ros.inference.backends.base import BackendError, BackendOptions
from lrn_ros.inference.backends.torch_ops import (
    area_matrix,
    load_network,
    upsample_argmax,
)
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.result import Result, Timings
from lrn_ros.networks.deploy import fold_normalisation

NAME = "cuda"
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def create(path: Path, info: ModelInfo, options: BackendOptions) -> CudaBackend:
    """Create the backend for a .safetensors model on GPU `options.device`."""
    if not torch.cuda.is_available():
        built = torch.version.cuda
        reason = "no usable NVIDIA GPU or driver" if built else "this torch is a CPU-only build"
        raise BackendError(f"{reason}; nvidia-smi shows the GPU, pytorch.org the CUDA builds")
    if not 0 <= options.device < torch.cuda.device_count():
        raise BackendError(f"GPU {options.device}: only 0 to {torch.cuda.device_count() - 1} exist")
    return CudaBackend(path, info, options, torch.device("cuda", options.device))


class Resizer:
    """OpenCV's area / bilinear resize as two matrix products, for one geometry on one device."""

    def __init__(self, geometry: Geometry, device: torch.device) -> None:
        def matrix(axis: int) -> Tensor | None:
            if geometry.frame[axis] == geometry.content[axis]:
                return None
            weights = area_matrix(geometry.frame[axis], geometry.content[axis])
            return torch.from_numpy(weights).to(device)

        self._rows, self._cols = matrix(0), matrix(1)
        self._pad = (
            geometry.network[1] - geometry.content[1],
            geometry.network[0] - geometry.content[0],
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, h, w) float32 of whole numbers 0-255, border repeated."""
        x = pixels.permute(2, 0, 1).float()
        if self._rows is not None:
            x = self._rows @ x
        if self._cols is not None:
            x = x @ self._cols.T
        x = (x + 0.5).floor()[None]  # OpenCV rounds halves up
        right, below = self._pad
        return F.pad(x, (0, right, 0, below), mode="replicate") if right or below else x


class CudaBackend:
    """See Backend. Precision "auto" is fp16; the SVN keys stay in fp32 inside the network."""

    name = NAME

    def __init__(
        self, path: Path, info: ModelInfo, options: BackendOptions, device: torch.device
    ) -> None:
        self.precision = "fp16" if options.precision == "auto" else options.precision
        if self.precision not in _DTYPES:
            raise BackendError(f"backend cuda has no {self.precision}; fp32, fp16 and bf16 work")
        self._device, self._dtype = device, _DTYPES[self.precision]
        self.device_name = torch.cuda.get_device_name(device)
        network = fold_normalisation(load_network(path, info)).to(device, self._dtype)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stride = int(network.stride)  # type: ignore[arg-type]
        self._mean = torch.tensor(info.mean, device=device)[:, None, None] * 255
        self._std = torch.tensor(info.std, device=device)[:, None, None] * 255
        self._geometry: Geometry | None = None

    def _prepare(self, geometry: Geometry) -> None:
        """Allocate what depends on the geometry, once."""
        self._geometry = geometry
        self._resizer = Resizer(geometry, self._device)
        self._pinned_in = torch.empty((*geometry.frame, 3), dtype=torch.uint8, pin_memory=True)
        self._pinned_out = torch.empty((2, *geometry.output), dtype=torch.uint8, pin_memory=True)
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]

    @torch.inference_mode()
    def run(self, rgb: NDArray[np.uint8], geometry: Geometry, confidence: bool) -> Result:
        """See Backend.run."""
        with torch.cuda.device(self._device):
            logits = self._infer(rgb, geometry)
            planes = upsample_argmax(logits, geometry, self.stride, confidence)
            for host, plane in zip(self._pinned_out, planes):
                if plane is not None:
                    host.copy_(plane, non_blocking=True)
            self._events[3].record()
            self._events[3].synchronize()
        mask, probability = (p.numpy().copy() for p in self._pinned_out)
        spans = [a.elapsed_time(b) for a, b in zip(self._events, self._events[1:])]
        return Result(mask, probability if confidence else None, Timings(*spans))

    @torch.inference_mode()
    def logits(self, rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.float32]:
        """See Backend.logits."""
        with torch.cuda.device(self._device):
            return self._infer(rgb, geometry)[0].cpu().numpy()

    def _infer(self, rgb: NDArray[np.uint8], geometry: Geometry) -> Tensor:
        """Coarse logits (1, K, h, w) float32; records the first three events."""
        if geometry != self._geometry:
            self._prepare(geometry)
        self._events[0].record()
        self._pinned_in.copy_(torch.from_numpy(np.ascontiguousarray(rgb)))
        pixels = self._pinned_in.to(self._device, non_blocking=True)
        x = (self._resizer(pixels) - self._mean) / self._std
        x = x.to(self._dtype, memory_format=torch.channels_last)
        self._events[1].record()
        logits = self._network.coarse(x).float()
        self._events[2].record()
        return logits
