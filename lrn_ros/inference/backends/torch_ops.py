# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the torch and cuda backends share: the network from a model file, and device operators."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.artifact import ModelInfo, read_weights
from lrn_ros.errors import UserError
from lrn_ros.inference.geometry import Geometry
from lrn_ros.networks import build


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


def upsample_argmax(
    logits: Tensor, geometry: Geometry, stride: int, confidence: bool
) -> tuple[Tensor, Tensor | None]:
    """Class ids, and their probability, from coarse logits at the output's geometry.

    Args:
        logits: (1, K, h, w) at `stride` of the network's input.
        geometry: its content and output sizes give the bilinear map.
        stride: input pixels per logit.
        confidence: whether to compute the probabilities.

    Returns:
        mask (H, W) uint8 and confidence (H, W) uint8 (0-255) or None.
    """
    height, width = geometry.output
    # One ulp up, so that rounding never makes the result a row short.
    scale = [
        math.nextafter(stride * out / content, math.inf)
        for out, content in zip(geometry.output, geometry.content)
    ]
    if max(scale) == min(scale) == math.nextafter(1.0, math.inf):
        full = logits[:, :, :height, :width]
    else:
        full = F.interpolate(logits, scale_factor=scale, mode="bilinear", align_corners=False)
        full = full[:, :, :height, :width]
    if not confidence:
        return full.argmax(1)[0].to(torch.uint8), None
    top, index = full.max(1)
    probability = (top.float() - full.float().logsumexp(1)).exp()
    return index[0].to(torch.uint8), (probability[0] * 255).round().to(torch.uint8)
