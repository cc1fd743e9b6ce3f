# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""FRM: VAN-S, a context module over all its stages, SFNet's decoder of aligned pyramid levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.networks.blocks import at_least_float, resize_to, upsample
from lrn_ros.networks.context import DAPPM, PPM, FeatureRefinement
from lrn_ros.networks.registry import register
from lrn_ros.networks.van import VAN

WIDTH = 128  # channels of the decoder
CONTEXTS: dict[str, Callable[[int, int], nn.Module]] = {
    "frm": FeatureRefinement,
    "frm_reduced": partial(FeatureRefinement, reduced=True),
    "ppm": PPM,
    "dappm": DAPPM,
}


def _conv3x3(in_channels: int) -> nn.Sequential:
    """A 3x3 convolution to the decoder's width, BN and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()
    )


class FlowAlignment(nn.Module):
    """SFNet's flow alignment (Li et al., ECCV 2020): move a coarse map so that it fits a fine one.

    The module has 18,688 parameters with 128 channels.

    Args:
        channels: channels of both maps, C.
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
    """Sample a map where a flow points: bilinear inside the map, zero outside.

    The computation is in float32 or wider, because coordinates in half precision are wrong by a
    good part of a pixel.

    Args:
        x: (B, C, h, w) map.
        flow: (B, 2, H, W) distances to the right and down. A value of W, or H, is half of the
            map's width, or height.

    Returns:
        (B, C, H, W). A flow of zeros stretches x from corner to corner.
    """
    height, width = flow.shape[2:]
    offset = at_least_float(flow).permute(0, 2, 3, 1)
    right, down = _corner_to_corner(width, offset), _corner_to_corner(height, offset)[:, None]
    grid = torch.stack([right + offset[..., 0] / width, down + offset[..., 1] / height], dim=3)
    return F.grid_sample(at_least_float(x), grid, align_corners=True).to(x.dtype)


def _corner_to_corner(steps: int, like: Tensor) -> Tensor:
    """(steps,) from -1 to 1. An exported torch.linspace would keep its number of steps."""
    index = torch.arange(steps, dtype=like.dtype, device=like.device)
    return 2 * index / index[-1].clamp(min=1) - 1


class Decoder(nn.Module):
    """SFNet's decoder: from the context down the pyramid, then all levels at the finest size.

    Args:
        channels: channels of the finer features, finest first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.ReLU())
            for c in channels
        )
        self.align = nn.ModuleList(FlowAlignment(WIDTH) for _ in channels)
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
    """FRM on VAN-S. 16,478,676 parameters with 19 classes; see VARIANTS for the other contexts.

    The context module sees all four stages, averaged to the size of the last one. The backbone
    starts as VAN's code initialises it and the other layers as PyTorch does; the paper starts from
    a VAN that was trained on ImageNet.

    Args:
        num_classes: number of classes, K.
        context: "frm"; "frm_reduced", the second reading of the paper (see FeatureRefinement); or
            the modules that the paper compares FRM with, "ppm" and "dappm".
        drop_path: rate of VAN's stochastic depth, for training.
    """

    stride = 4

    def __init__(self, num_classes: int, *, context: str = "frm", drop_path: float = 0.0) -> None:
        super().__init__()
        if context not in CONTEXTS:
            raise ValueError(f"context {context!r} is not one of {', '.join(CONTEXTS)}")
        widths = (64, 128, 320, 512)
        self.backbone = VAN(widths, drop_path=drop_path)
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


# The rows of the paper's ablation of the context module, and the second reading of FRM.
VARIANTS: dict[str, dict[str, Any]] = {
    "frm": {},
    "frm_reduced": {"context": "frm_reduced"},
    "frm_ppm": {"context": "ppm"},
    "frm_dappm": {"context": "dappm"},
}
for _name, _options in VARIANTS.items():
    register(_name, **_options)(FRM)
