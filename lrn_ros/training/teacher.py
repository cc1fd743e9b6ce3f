# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Distillation: a trained model's class probabilities as a second target (Hinton et al., 2015)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.errors import UserError
from lrn_ros.inference.backends.torch import load_network
from lrn_ros.model.artifact import read_info, resolve_model
from lrn_ros.model.labels import LabelSet
from lrn_ros.networks.blocks import upsample


class Teacher:
    """One trained model, or several whose probabilities are averaged.

    It sees the very images that the student sees, in bfloat16, and is never trained.

    Args:
        options: the recipe's `teacher`: model (a name, a path, or a list of them), temperature.
        labels: classes of the student.
        device: where it runs.

    Raises:
        UserError: a model that is not there, or that has other classes.
    """

    def __init__(self, options: dict[str, Any], labels: LabelSet, device: torch.device) -> None:
        self.temperature = float(options["temperature"])
        models = options["model"] if isinstance(options["model"], list) else [options["model"]]
        self.networks: list[tuple[nn.Module, Tensor, Tensor]] = []
        for model in models:
            path = resolve_model(model)
            info = read_info(path)
            if info.labels.names != labels.names:
                raise UserError(
                    f"teacher {path}: has the classes of {info.labels.name}, the student those of"
                    f" {labels.name}"
                )
            network = load_network(path, info).to(device)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            mean, std = (
                torch.tensor(v, device=device)[:, None, None] for v in (info.mean, info.std)
            )
            self.networks.append((network, mean, std))

    @property
    def stride(self) -> int:
        """Pixels of the image per cell of the probabilities: the finest of the models."""
        return min(int(network.stride) for network, _, _ in self.networks)  # type: ignore[arg-type]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Class probabilities at the temperature.

        Args:
            images: (B, 3, H, W) float32 RGB in 0-1.

        Returns:
            (B, K, ceil(H / stride), ceil(W / stride)) float32, summing to 1 over K.
        """
        grid = images[:, :, :: self.stride, :: self.stride]
        total = torch.zeros((), device=images.device)
        for network, mean, std in self.networks:
            x = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
            with torch.autocast(images.device.type, torch.bfloat16):
                logits = network.coarse(x).float()  # type: ignore[operator]
            logits = upsample(logits, int(network.stride) // self.stride, grid)  # type: ignore[arg-type]
            total = total + (logits / self.temperature).softmax(1)
        return total / len(self.networks)

    def loss(self, logits: Tensor, stride: int, target: Tensor) -> Tensor:
        """Temperature squared times the Kullback-Leibler divergence, mean over all pixels.

        Args:
            logits: (B, K, h, w) of the student.
            stride: pixels of the image per cell of `logits`.
            target: what the call gave for the same images.

        Returns:
            Scalar; pixels without a label count like the others.
        """
        target = target.clone()  # autograd does not save tensors of inference mode
        fine = min(stride, self.stride)
        if stride > fine:
            logits = upsample(logits.float(), stride // fine, target)
        elif self.stride > fine:
            target = upsample(target, self.stride // fine, logits)
        guess = (logits.float() / self.temperature).log_softmax(1)
        divergence = F.kl_div(guess, target.clamp(min=1e-8), reduction="none").sum(1).mean()
        return self.temperature**2 * divergence
