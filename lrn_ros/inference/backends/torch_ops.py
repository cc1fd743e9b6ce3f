# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""With torch on any device: the network from a model file, and all stages from pixels to masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.errors import UserError
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.postprocess import axes
from lrn_ros.model.artifact import ModelInfo, read_weights
from lrn_ros.model.labels import UNLABELLED
from lrn_ros.networks import build


class DeviceAxis(NamedTuple):
    """postprocess.Axis on a device: (pixels,) int32 indices and float32 weights."""

    low: Tensor
    high: Tensor
    weight_low: Tensor
    weight_high: Tensor


# Coarse scores, interpolation along rows and columns, whether to compute probabilities.
Classify = Callable[[Tensor, DeviceAxis, DeviceAxis, bool, float], tuple[Tensor, Tensor | None]]


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
        text = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: weights do not fit {info.architecture}: {text}") from error
    return network.eval().requires_grad_(False)


def area_matrix(source: int, target: int) -> np.ndarray:
    """Weights of OpenCV's resize, area down, bilinear up: (target, source) float32."""
    step = source / target
    matrix = np.zeros((target, source), np.float32)
    for i in range(target):
        if step >= 1:
            start, stop = i * step, min((i + 1) * step, source)
            for j in range(math.floor(start), min(math.ceil(stop), source)):
                matrix[i, j] = (min(stop, j + 1) - max(start, j)) / (stop - start)
        else:
            position = min(max((i + 0.5) * step - 0.5, 0.0), source - 1.0)
            low = min(int(position), source - 2) if source > 1 else 0
            matrix[i, low] += 1 - (position - low)
            if source > 1:
                matrix[i, low + 1] += position - low
    return matrix


class Resizer:
    """OpenCV's area / bilinear resize as two matrix products, for one geometry on one device."""

    def __init__(self, geometry: Geometry, device: torch.device) -> None:
        def matrix(axis: int) -> Tensor | None:
            if geometry.frame[axis] == geometry.content[axis]:
                return None
            weights = area_matrix(geometry.frame[axis], geometry.content[axis])
            return torch.from_numpy(weights).to(device)

        self._rows, self._columns = matrix(0), matrix(1)
        self._below = geometry.network[0] - geometry.content[0]
        self._right = geometry.network[1] - geometry.content[1]

    def __call__(self, pixels: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, 3, h, w) float32 of whole numbers 0-255, border repeated."""
        planes = pixels.permute(0, 3, 1, 2)
        x = planes.to(torch.float32, memory_format=torch.contiguous_format)
        if self._rows is not None:
            x = self._rows @ x
        if self._columns is not None:
            x = x @ self._columns.T
        x = (x + 0.5).floor()  # OpenCV rounds halves up
        if not self._right and not self._below:
            return x
        return F.pad(x, (0, self._right, 0, self._below), mode="replicate")


class Stages:
    """All stages for one geometry on the network's device, with what they need already there.

    Nothing here waits for the device or has a size that depends on the pixels, so the stages can
    be captured in a CUDA graph.

    Args:
        network: with its parameters in the precision to run at.
        info: normalisation of the network's input, and temperature of the confidence.
        geometry: of the frames.
        classify: how coarse scores become classes.
    """

    def __init__(
        self, network: nn.Module, info: ModelInfo, geometry: Geometry, classify: Classify
    ) -> None:
        weight = next(network.parameters())
        self.device, self.geometry = weight.device, geometry
        self._network, self._dtype, self._classify = network, weight.dtype, classify
        self._temperature = info.temperature
        self._resize = Resizer(geometry, self.device)
        mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (info.mean, info.std))
        self._gain = torch.from_numpy(1 / (255 * std)).to(self.device)
        self._offset = torch.from_numpy(-mean / std).to(self.device)
        stride = int(network.stride)  # type: ignore[arg-type]
        cells = [-(-side // stride) for side in geometry.network]
        self._rows, self._columns = device_axes(cells, geometry, stride, self.device)

    def coarse(self, pixels: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> coarse scores (N, K, h, w) float32."""
        x = torch.addcmul(self._offset, self._resize(pixels), self._gain)
        x = x.to(self._dtype, memory_format=torch.channels_last)
        scores: Tensor = self._network.coarse(x).float()  # type: ignore[operator]
        return scores

    def __call__(self, pixels: Tensor, confidence: bool) -> tuple[Tensor, Tensor | None]:
        """(N, H, W, 3) uint8 -> see torch_classify."""
        scores = self.coarse(pixels)
        return self._classify(scores, self._rows, self._columns, confidence, self._temperature)


def device_axes(
    cells: Sequence[int], geometry: Geometry, stride: int, device: torch.device
) -> tuple[DeviceAxis, DeviceAxis]:
    """See postprocess.axes."""
    rows, columns = (
        DeviceAxis(
            *(torch.from_numpy(i.astype(np.int32)).to(device) for i in (axis.low, axis.high)),
            *(torch.from_numpy(w).to(device) for w in (axis.weight_low, axis.weight_high)),
        )
        for axis in axes(cells, geometry, stride)
    )
    return rows, columns


def torch_classify(
    coarse: Tensor,
    rows: DeviceAxis,
    columns: DeviceAxis,
    confidence: bool,
    temperature: float = 1.0,
    groups: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Classes, and their probability, at the output's pixels: see postprocess.upsample_argmax.

    Its arithmetic in its order, every product and sum rounded by itself: the mask equals that of
    postprocess bit for bit.

    Args:
        coarse: (N, K, h, w) float32, K up to 255.
        rows: interpolation along H output rows.
        columns: interpolation along W output columns.
        confidence: whether to compute the probabilities.
        temperature: what the scores are divided by before the softmax.
        groups: (256,) postprocess.merge_table on the device; None: no classes are merged.

    Returns:
        mask (N, H, W) uint8, 255 where scores are not numbers, and (N, H, W) uint8, softmax
        probability of the chosen class times 255, rounded, or None.
    """
    found = [
        _classify_frame(scores, rows, columns, confidence, temperature, groups) for scores in coarse
    ]
    mask = torch.stack([mask for mask, _ in found])
    return mask, torch.stack([p for _, p in found if p is not None]) if confidence else None


def _classify_frame(
    coarse: Tensor,
    rows: DeviceAxis,
    columns: DeviceAxis,
    confidence: bool,
    temperature: float,
    groups: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """One frame of `torch_classify`; full-size scores of one at a time are in memory."""
    left = coarse.index_select(2, columns.low) * columns.weight_low
    wide = left + coarse.index_select(2, columns.high) * columns.weight_high
    top = wide.index_select(1, rows.low) * rows.weight_low[:, None]
    scores = top + wide.index_select(1, rows.high) * rows.weight_high[:, None]
    best, winner = scores.max(0)  # of equal ones the first; not a number where one is not
    mask = winner.masked_fill(best.isnan(), UNLABELLED).to(torch.uint8)
    if not confidence:
        return mask, None
    weights = ((scores - best) * (1 / temperature)).exp()
    probability = 255 / weights.sum(0)
    if groups is not None:
        same = groups[: len(scores), None, None] == groups[winner]
        probability = probability * (weights * same).sum(0)
    return mask, probability.nan_to_num(0).round().to(torch.uint8)
