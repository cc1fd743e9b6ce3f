# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Context modules of the FRM paper's ablation: modules that see the whole image at stride 32.

Each module maps (B, C, h, w), with any h and w, to (B, D, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.networks.blocks import at_least_float, exactly, resize_to


def _conv_norm(in_channels: int, out_channels: int) -> list[nn.Module]:
    """A pointwise convolution and BN."""
    return [nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]


def _norm_conv(in_channels: int, out_channels: int, kernel: int = 1) -> list[nn.Module]:
    """BN, ReLU and a convolution."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return [nn.BatchNorm2d(in_channels), nn.ReLU(), conv]


def cell_means(x: Tensor, cells: int) -> Tensor:
    """(B, C, h, w) -> (B, C, cells, cells), the same as torch's adaptive average pooling.

    The means are matrix products here, because torch's own pooling would be exported for one h and
    w only.
    """
    rows, columns = (_cell_weights(n, cells, x) for n in x.shape[2:])
    return rows @ x @ columns.T


def _cell_weights(length: int, cells: int, like: Tensor) -> Tensor:
    """(cells, length) weights: cell i averages the places that the i-th of equal parts touches."""
    cell = torch.arange(cells, device=like.device)[:, None]
    place = torch.arange(length, device=like.device) * cells
    inside = (place + cells > cell * length) & (place < (cell + 1) * length)
    return (inside / inside.sum(1, keepdim=True)).to(like.dtype)


class PPM(nn.Module):
    """Pyramid pooling (Zhao et al., CVPR 2017) as in SFNet: 1, 2, 3 and 6 cells along an axis.

    Args:
        channels: channels of the input, C.
        out_channels: channels of the output, D.
    """

    cells = (1, 2, 3, 6)

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(*_conv_norm(channels, out_channels)) for _ in self.cells
        )
        self.fuse = nn.Sequential(
            *_conv_norm(channels + 4 * out_channels, out_channels), nn.ReLU(), nn.Dropout2d(0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h, w)."""
        pooled = [level(cell_means(x, n)) for n, level in zip(self.cells, self.levels)]
        return self.fuse(torch.cat([*(resize_to(p, x) for p in pooled), x], dim=1))


class DAPPM(nn.Module):
    """Deep aggregation pyramid pooling (DDRNet, Hong et al. 2021): each scale adds the one before.

    Args:
        channels: channels of the input, C.
        out_channels: channels of the output, D.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        pools = [
            nn.Identity(),
            *(nn.AvgPool2d(2 * s + 1, stride=s, padding=s) for s in (2, 4, 8)),
            nn.AdaptiveAvgPool2d(1),
        ]
        self.scales = nn.ModuleList(
            nn.Sequential(pool, *_norm_conv(channels, out_channels)) for pool in pools
        )
        self.merge = nn.ModuleList(
            nn.Sequential(*_norm_conv(out_channels, out_channels, 3)) for _ in pools[1:]
        )
        self.fuse = nn.Sequential(*_norm_conv(len(pools) * out_channels, out_channels))
        self.shortcut = nn.Sequential(*_norm_conv(channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h, w)."""
        size = x.shape[2:]
        found = [self.scales[0](x)]
        for scale, merge in zip(self.scales[1:], self.merge):
            found.append(merge(F.interpolate(scale(x), size, mode="bilinear") + found[-1]))
        return self.fuse(torch.cat(found, dim=1)) + self.shortcut(x)


class DisentangledNonLocal(nn.Module):
    """Add to every pixel what it sees of all the others (Yin et al., ECCV 2020; FRM, Equation 2).

    y_i = x_i + sum_j [softmax_j((q_i - mean q) . (k_j - mean k)) + softmax_j(m_j)] g_j. The first
    softmax is over pairs of pixels, the second is the same for all pixels. The biases of q, k and m
    cancel. Attention is computed in float32 or wider.

    In the equation g has all C channels and nothing follows the sum; the official code of the
    disentangled non-local block (`use_out: False` in its Cityscapes configurations) agrees.

    Args:
        channels: channels of input and output, C; q and k have a quarter of them.
        reduced: g has a quarter of them too, and a 1x1 convolution brings the sum back to C. Many
            implementations of non-local blocks are built like that.
    """

    def __init__(self, channels: int, reduced: bool = False) -> None:
        super().__init__()
        self.width = channels // 4
        self.value_width = self.width if reduced else channels
        self.query = nn.Conv2d(channels, self.width, 1)
        self.key = nn.Conv2d(channels, self.width, 1)
        self.value = nn.Conv2d(channels, self.value_width, 1, bias=reduced)
        self.mask = nn.Conv2d(channels, 1, 1)
        self.project = nn.Conv2d(self.width, channels, 1) if reduced else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        maps = [conv(x).flatten(2) for conv in (self.query, self.key, self.value, self.mask)]
        with exactly(x):
            q, k, g, m = map(at_least_float, maps)
            q, k = q - q.mean(2, keepdim=True), k - k.mean(2, keepdim=True)
            pairs = torch.softmax(q.transpose(1, 2) @ k, dim=2)
            y = g @ pairs.transpose(1, 2) + g @ torch.softmax(m, dim=2).transpose(1, 2)
        return x + self.project(y.to(x.dtype).unflatten(2, x.shape[2:]))

    def literal_macs(self, h: int, w: int) -> int:
        """Multiply-adds of the matrix products on an h x w map."""
        pixels = h * w
        return (self.width + self.value_width) * pixels**2 + self.value_width * pixels


class FeedForward(nn.Module):
    """Add a pointwise, a depthwise 3x3 and a second pointwise convolution of x to x.

    Args:
        channels: channels of input and output, C.
        inner: channels between the pointwise convolutions.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv_norm(channels, inner),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner),
            nn.ReLU(),
            *_conv_norm(inner, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return x + self.body(x)


class FeatureRefinement(nn.Sequential):
    """FRM: disentangled non-local attention, a feed-forward layer and a projection.

    The paper contradicts itself here. It calls the feed-forward layer an expansion, but with the
    attention of its Equation 2 the 16.48 million parameters that it reports leave between 127 and
    131 channels inside that layer, where 1024 go in. This class keeps equation and count, with 128
    channels. `reduced` is the other reading that gives the count: values of a quarter of the
    channels and 384 channels inside. See docs/networks.md.

    Args:
        channels: channels of the input, C.
        out_channels: channels of the output, D.
        reduced: see above, and DisentangledNonLocal.
    """

    def __init__(self, channels: int, out_channels: int, reduced: bool = False) -> None:
        super().__init__(
            DisentangledNonLocal(channels, reduced),
            FeedForward(channels, 3 * channels // 8 if reduced else channels // 8),
            nn.Sequential(*_conv_norm(channels, out_channels), nn.ReLU()),
        )
