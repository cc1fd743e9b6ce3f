# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Context modules of the FRM paper's ablation: what sees the whole image at stride 32.

Each maps (B, C, h, w), any h and w, to (B, D, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.networks.blocks import at_least_float, exactly, resize_to


def _conv_norm(in_channels: int, out_channels: int) -> list[nn.Module]:
    """Pointwise convolution and BN."""
    return [nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]


def _norm_conv(in_channels: int, out_channels: int, kernel: int = 1) -> list[nn.Module]:
    """BN, ReLU, convolution."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return [nn.BatchNorm2d(in_channels), nn.ReLU(), conv]


def cell_means(x: Tensor, cells: int) -> Tensor:
    """(B, C, h, w) -> (B, C, cells, cells): torch's adaptive average pooling.

    As matrix products: torch's own would be exported for one h and w only.
    """
    rows, columns = (_cell_weights(n, cells, x) for n in x.shape[2:])
    return rows @ x @ columns.T


def _cell_weights(length: int, cells: int, like: Tensor) -> Tensor:
    """(cells, length): cell i averages from floor(i * length / cells) to before the next's ceil."""
    cell = torch.arange(cells, device=like.device)[:, None]
    place = torch.arange(length, device=like.device) * cells
    inside = (place + cells > cell * length) & (place < (cell + 1) * length)
    return (inside / inside.sum(1, keepdim=True)).to(like.dtype)


class PPM(nn.Module):
    """Pyramid pooling (Zhao et al., CVPR 2017) as SFNet has it: 1, 2, 3 and 6 cells an axis."""

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
    """Deep aggregation pyramid pooling (DDRNet, Hong et al. 2021): every scale adds to the last."""

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
    """x plus what every pixel sees of the others (Yin et al., ECCV 2020).

    y_i = sum_j [softmax_j((q_i - mean q) . (k_j - mean k)) + softmax_j(m_j)] g_j: a term of pairs
    and one that is the same for all pixels. The biases of q, k and m cancel in it. Attention is
    computed in float32 at least.

    Args:
        channels: C; q, k and g have a quarter of it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = channels // 4
        self.query = nn.Conv2d(channels, self.width, 1)
        self.key = nn.Conv2d(channels, self.width, 1)
        self.value = nn.Conv2d(channels, self.width, 1)
        self.mask = nn.Conv2d(channels, 1, 1)
        self.project = nn.Conv2d(self.width, channels, 1)

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
        return 2 * self.width * (h * w) ** 2 + self.width * h * w


class FeedForward(nn.Module):
    """x plus a pointwise, a depthwise 3x3 and a pointwise convolution of it.

    Args:
        channels: C.
        inner: channels in between.
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
    """FRM: disentangled non-local attention, feed-forward layer, projection.

    The paper says that the feed-forward layer expands, yet its parameter count leaves room for 384
    channels of the 1024 only.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(
            DisentangledNonLocal(channels),
            FeedForward(channels, 3 * channels // 8),
            nn.Sequential(*_conv_norm(channels, out_channels), nn.ReLU()),
        )
