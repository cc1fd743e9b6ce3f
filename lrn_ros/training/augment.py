# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Batched augmentation on the device that holds the data: one warp for geometry, then colour."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lrn_ros.labels import UNLABELLED
from lrn_ros.training.data import Pairs
from lrn_ros.training.recipe import Recipe

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Augmenter:
    """Draws augmented batches; a batch is a function of the generator's state alone.

    Args:
        recipe: its scale, class_centred, colour, degrade and loss_stride are used.
        classes: number of classes, for class-centred crops.
    """

    def __init__(self, recipe: Recipe, classes: int) -> None:
        self.recipe, self.classes = recipe, classes

    def __call__(
        self, pairs: Pairs, index: Tensor, crop: tuple[int, int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augment the chosen pairs.

        Returns:
            images (B, 3, h, w) float32 in 0-1 and labels (B, h/loss_stride, w/loss_stride) int64.
        """
        labels = pairs.labels[index]
        theta = self._transforms(labels, crop, generator).to(labels.device)
        images = _warp(pairs.images[index].float().div_(255), theta, crop, "bilinear")
        stride = self.recipe.loss_stride
        # Nearest sampling keeps ids exact; +1 makes the zero padding mean "unlabelled".
        ids = (labels.to(torch.int16) - UNLABELLED).float()[:, None]
        ids = _warp(ids, theta, (crop[0] // stride, crop[1] // stride), "nearest")
        return self._colour(images, generator), (ids[:, 0] + UNLABELLED).round().long()

    def _transforms(
        self, labels: Tensor, crop: tuple[int, int], generator: torch.Generator
    ) -> Tensor:
        """(B, 2, 3) maps from crop to source coordinates, both in [-1, 1]."""
        b, height, width = labels.shape
        low, high = map(math.log, self.recipe.scale)

        def uniform(start: float, stop: float) -> Tensor:
            return torch.rand(b, generator=generator) * (stop - start) + start

        scale, aspect = uniform(low, high).exp(), uniform(-0.1, 0.1).exp()
        view_h, view_w = crop[0] / (scale * height), crop[1] / (scale * aspect * width)
        angle = uniform(-0.05, 0.05)
        flip = (torch.rand(b, generator=generator) < 0.5).float() * 2 - 1
        # A view larger than the image is centred at random around it, otherwise it stays inside.
        y, x = uniform(-1, 1) * (1 - view_h).abs(), uniform(-1, 1) * (1 - view_w).abs()
        for i in torch.nonzero(uniform(0, 1) < self.recipe.class_centred).flatten().tolist():
            wanted = int(torch.randint(self.classes, (), generator=generator))
            rows, cols = torch.nonzero(labels[i] == wanted, as_tuple=True)
            if len(rows):
                pick = int(torch.randint(len(rows), (), generator=generator))
                room_y, room_x = (1 - view_h[i]).abs(), (1 - view_w[i]).abs()
                y[i] = (2 * (rows[pick].cpu() + 0.5) / height - 1).clamp(-room_y, room_y)
                x[i] = (2 * (cols[pick].cpu() + 0.5) / width - 1).clamp(-room_x, room_x)
        cos, sin = angle.cos(), angle.sin()
        row_x = torch.stack([flip * view_w * cos, -view_h * sin * height / width, x], 1)
        row_y = torch.stack([flip * view_w * sin * width / height, view_h * cos, y], 1)
        return torch.stack([row_x, row_y], 1)

    def _colour(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Brightness, contrast, saturation, channel gains and gamma; then blur and noise."""
        b, strength = len(images), self.recipe.colour

        def factor(amount: float, channels: int = 1) -> Tensor:
            draw = torch.rand(b, channels, 1, 1, generator=generator) * 2 - 1
            return (draw * amount * strength).exp().to(images.device)

        luma = torch.tensor(_LUMA, device=images.device)[:, None, None]
        grey = (images * luma).sum(1, keepdim=True)
        images = grey + (images - grey) * factor(1.0)
        mean = grey.mean((1, 2, 3), keepdim=True)
        images = (mean + (images - mean) * factor(1.0)) * factor(1.0) * factor(0.3, 3)
        images = images.clamp(1e-4, 1) ** factor(0.7)
        if self.recipe.degrade:
            chosen = torch.rand(2, b, 1, 1, 1, generator=generator) < self.recipe.degrade
            blur, noise = chosen.to(images.device)
            kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
            soft = F.pad(images, (2, 2, 2, 2), mode="replicate").flatten(0, 1)[:, None]
            soft = F.conv2d(F.conv2d(soft, kernel.view(1, 1, 5, 1)), kernel.view(1, 1, 1, 5))
            images = torch.where(blur, soft.view_as(images), images)
            grain = torch.randn(images.shape, generator=generator).to(images.device)
            images = torch.where(noise, images + 0.03 * grain, images)
        return images.clamp_(0, 1)


def _warp(source: Tensor, theta: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    grid = F.affine_grid(theta, [len(source), 1, *size], align_corners=False)
    return F.grid_sample(source, grid, mode=mode, padding_mode="zeros", align_corners=False)
