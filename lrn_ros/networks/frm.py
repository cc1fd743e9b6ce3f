# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""FRM: VAN-S, a context module over all its stages, SFNet's decoder of aligned pyramid levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.networks.blocks import at_least_float, resize_to, upsample
from lrn_ros.networks.context import DAPPM, PPM, FeatureRefinement
from lrn_ros.networks.registry import register
from lrn_ros.networks.van import VAN

WIDTH = 128  # channels of the decoder
CONTEXTS = {"frm": FeatureRefinement, "ppm": PPM, "dappm": DAPPM}


def _conv3x3(in_channels: int) -> nn.Sequential:
    """3x3 convolution to the decoder's width, BN, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()
    )


class Alignment(nn.Module):
    """SFNet's flow alignment (Li et al., ECCV 2020): a coarse map, moved to fit a fine one.

    18,688 parameters with 128 channels.

    Args:
        channels: C of both maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.fine = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.flow = nn.Conv2d(channels, 2, 3, padding=1, bias=False)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Maps (B, C, h, w) and (B, C, H, W) -> (B, C, H, W)."""
        flow = self.flow(torch.cat([resize_to(self.coarse(coarse), fine), self.fine(fine)], dim=1))
        return warp(coarse, flow)


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Bilinear samples of a map where a flow points, zero outside.

    In float32 at least: coordinates in half precision are off by a good part of a pixel.

    Args:
        x: (B, C, h, w).
        flow: (B, 2, H, W), to the right and down; a value of W or H is half the map's extent.

    Returns:
        (B, C, H, W); with no flow x stretched from corner to corner.
    """
    height, width = flow.shape[2:]
    offset = at_least_float(flow).permute(0, 2, 3, 1)
    right, down = _corner_to_corner(width, offset), _corner_to_corner(height, offset)[:, None]
    grid = torch.stack([right + offset[..., 0] / width, down + offset[..., 1] / height], dim=3)
    return F.grid_sample(at_least_float(x), grid, align_corners=True).to(x.dtype)


def _corner_to_corner(steps: int, like: Tensor) -> Tensor:
    """(steps,) from -1 to 1; an exported torch.linspace would keep its number of steps."""
    index = torch.arange(steps, dtype=like.dtype, device=like.device)
    return 2 * index / index[-1].clamp(min=1) - 1


class Decoder(nn.Module):
    """SFNet's decoder: from the context down the pyramid, then all levels at the finest one.

    Args:
        channels: of the finer features, finest first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.ReLU())
            for c in channels
        )
        self.align = nn.ModuleList(Alignment(WIDTH) for _ in channels)
        self.smooth = nn.ModuleList(_conv3x3(WIDTH) for _ in channels)
        self.fuse = _conv3x3((len(channels) + 1) * WIDTH)

    def forward(self, features: Sequence[Tensor], context: Tensor) -> Tensor:
        """Features, finest first, and context (B, 128, h, w) -> (B, 128, H, W) of the finest."""
        levels, x = [context], context
        rows = zip(features, self.lateral, self.align, self.smooth)
        for feature, lateral, align, smooth in reversed(list(rows)):
            fine = lateral(feature)
            x = fine + align(x, fine)
            levels.append(smooth(x))
        finest = levels.pop()
        return self.fuse(torch.cat([finest, *(resize_to(x, finest) for x in levels)], dim=1))


class FRM(nn.Module):
    """FRM on VAN-S. 16,483,028 parameters with 19 classes; 15,229,395 with PPM, 15,979,987 DAPPM.

    The context module sees all four stages, averaged to the last one's size. Weights start as
    PyTorch's layers do; the paper starts from a VAN trained on ImageNet.

    Args:
        num_classes: K.
        context: "frm", or one of those the paper compares it with, "ppm" and "dappm".
    """

    stride = 4

    def __init__(self, num_classes: int, *, context: str = "frm") -> None:
        super().__init__()
        widths = (64, 128, 320, 512)
        self.backbone = VAN(widths)
        self.context = CONTEXTS[context](sum(widths), WIDTH)
        self.decoder = Decoder(widths[:-1])
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)

    def coarse(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, ceil(H/4), ceil(W/4))."""
        *finer, last = self.backbone(x)
        pooled = [
            F.avg_pool2d(f, 2**n, ceil_mode=True, count_include_pad=False)
            for n, f in zip((3, 2, 1), finer)
        ]
        context = self.context(torch.cat([*pooled, last], dim=1))
        return self.classifier(self.decoder(finer, context))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, H, W): bilinear x4 with half-pixel centres, cropped."""
        return upsample(self.coarse(x), self.stride, x)


# The rows of the paper's ablation of the context module.
VARIANTS: dict[str, dict[str, Any]] = {
    "frm": {},
    "frm_ppm": {"context": "ppm"},
    "frm_dappm": {"context": "dappm"},
}
for _name, _options in VARIANTS.items():
    register(_name, **_options)(FRM)
