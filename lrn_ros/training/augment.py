# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Batched augmentation on the device that holds the data: one warp for geometry, then colour."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lrn_ros.model.labels import UNLABELLED
from lrn_ros.training.data import Pairs
from lrn_ros.training.recipe import Recipe, Stage

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Augmenter:
    """Draws augmented batches; a batch is a function of the generator's state alone.

    Args:
        recipe: its keys from class_centred to degrade and loss_stride are used.
        shares: (K,) pixel share of every class, for class-centred crops and mixing.
        styles: the images whose colours other images may take.
    """

    def __init__(self, recipe: Recipe, shares: Tensor, styles: Pairs) -> None:
        self.recipe, self.classes, self.styles = recipe, len(shares), styles
        self.rare = torch.nonzero(shares < 0.5 / len(shares)).flatten()

    def __call__(
        self, pairs: Pairs, index: Tensor, stage: Stage, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augment the pairs of a (B,) CPU index; the device of their batches holds the result.

        Returns:
            images (B, 3, h, w) float32 in 0-1 and labels (B, h/loss_stride, w/loss_stride) int64.
        """
        crop, (source, labels) = stage.crop, pairs.batch(index)
        theta = self._transforms(pairs, index, stage, generator).to(source.device)
        source = source.float().div_(255)
        if self.recipe.style:
            source = self._restyle(source, [pairs.sequences[i] for i in index.tolist()], generator)
        images = _warp(source, theta, crop, "bilinear")
        stride = self.recipe.loss_stride
        # Nearest sampling keeps ids exact; +1 makes the zero padding mean "unlabelled".
        ids = (labels.to(torch.int16) - UNLABELLED).float()[:, None]
        ids = _warp(ids, theta, (crop[0] // stride, crop[1] // stride), "nearest")
        return self._colour(images, generator), (ids[:, 0] + UNLABELLED).round().long()

    def _restyle(self, images: Tensor, sequences: list[str], generator: torch.Generator) -> Tensor:
        """Give some images the colour statistics of an image of another sequence.

        Mean and standard deviation of each channel are exchanged (Reinhard et al., 2001, in RGB),
        halfway on average.
        """
        chosen = (torch.rand(len(images), generator=generator) < self.recipe.style).tolist()
        amount = torch.rand(len(images), generator=generator).sqrt().tolist()
        images = images.clone()
        for i, own in enumerate(sequences):
            others = [k for k, name in enumerate(self.styles.sequences) if name != own]
            pick = int(torch.randint(max(1, len(others)), (), generator=generator))
            if chosen[i] and others:
                std, mean = torch.std_mean(images[i], (1, 2), keepdim=True)
                new_mean, new_std = self.styles.colours[others[pick]].to(images.device)
                moved = (images[i] - mean) / std.clamp(min=1e-3) * new_std + new_mean
                images[i].lerp_(moved, amount[i])
        return images.clamp_(0, 1)

    def mix(
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Paste rare classes of one crop into the next: ClassMix (Olsson et al., WACV 2021).

        Every class rarer than half an equal share is pasted with probability 1/2, in a share
        class_mix of the crops; shapes and dtypes as `__call__` returns them.
        """
        b, stride = len(images), self.recipe.loss_stride
        chosen = torch.rand(b, len(self.rare), generator=generator) < 0.5
        chosen &= torch.rand(b, 1, generator=generator) < self.recipe.class_mix
        other = labels.roll(1, 0)
        paste = torch.zeros_like(other, dtype=torch.bool)
        for column, rare in zip(chosen.T.to(labels.device), self.rare.tolist()):
            paste |= (other == rare) & column[:, None, None]
        fine = paste.repeat_interleave(stride, 1).repeat_interleave(stride, 2)[:, None]
        return torch.where(fine, images.roll(1, 0), images), torch.where(paste, other, labels)

    def _transforms(
        self, pairs: Pairs, index: Tensor, stage: Stage, generator: torch.Generator
    ) -> Tensor:
        """(B, 2, 3) maps from crop to source coordinates, both in [-1, 1]; on the CPU."""
        b, (height, width) = len(index), pairs.labels.shape[1:]
        crop, (low, high) = stage.crop, map(math.log, stage.scale)

        def uniform(start: float, stop: float) -> Tensor:
            return torch.rand(b, generator=generator) * (stop - start) + start

        aspect = uniform(-self.recipe.aspect, self.recipe.aspect).exp()
        scale = uniform(low, high).exp()
        if stage.scales:
            chosen = uniform(0, len(stage.scales)).long().clamp(max=len(stage.scales) - 1)
            scale = torch.tensor(stage.scales)[chosen]
        view_h, view_w = crop[0] / (scale * height), crop[1] / (scale * aspect * width)
        turn = math.radians(self.recipe.rotate)
        angle = uniform(-turn, turn)
        flip = (torch.rand(b, generator=generator) < 1 - self.recipe.flip).float() * 2 - 1
        # A view larger than the image is centred at random around it, otherwise it stays inside.
        y, x = uniform(-1, 1) * (1 - view_h).abs(), uniform(-1, 1) * (1 - view_w).abs()
        for i in torch.nonzero(uniform(0, 1) < self.recipe.class_centred).flatten().tolist():
            wanted = int(torch.randint(self.classes, (), generator=generator))
            places = pairs.places[index[i]]
            rows, cols = torch.nonzero(places == wanted, as_tuple=True)
            if len(rows):
                pick = int(torch.randint(len(rows), (), generator=generator))
                room_y, room_x = (1 - view_h[i]).abs(), (1 - view_w[i]).abs()
                v, u = (rows[pick] + 0.5) / places.shape[0], (cols[pick] + 0.5) / places.shape[1]
                y[i], x[i] = (2 * v - 1).clamp(-room_y, room_y), (2 * u - 1).clamp(-room_x, room_x)
        if pixels := self.recipe.shift:
            moves = torch.randint(-pixels, pixels + 1, (2, b), generator=generator)
            y, x = y + 2 * moves[0] / height, x + 2 * moves[1] / width
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
