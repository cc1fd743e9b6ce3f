# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VAN (visual attention network, Guo et al. 2022): a backbone of large-kernel attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LAYER_SCALE = 1e-2  # what every branch of a block is multiplied by at the start


class LargeKernelAttention(nn.Module):
    """x weighed by a 21x21 depthwise convolution of itself, made of two, and a pointwise one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels),
            nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return x * self.weigh(x)


class Block(nn.Module):
    """VAN's block: attention with a shortcut of its own, then a convolutional MLP; residual.

    Args:
        channels: C.
        ratio: channels inside the MLP per channel outside.
    """

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        inner = ratio * channels
        self.before_attention = nn.BatchNorm2d(channels)
        self.attention = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.GELU(),
            LargeKernelAttention(channels),
            nn.Conv2d(channels, channels, 1),
        )
        self.before_mlp = nn.BatchNorm2d(channels)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, inner, 1),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner),
            nn.GELU(),
            nn.Conv2d(inner, channels, 1),
        )
        self.attention_scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))
        self.mlp_scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        y = self.before_attention(x)
        x = x + self.attention_scale[:, None, None] * (self.attention(y) + y)
        return x + self.mlp_scale[:, None, None] * self.mlp(self.before_mlp(x))


class Stage(nn.Module):
    """Overlapping patches, blocks, layer norm over the channels of every pixel.

    Args:
        in_channels: of the input.
        channels: C of the output.
        kernel: of the patches.
        stride: between the patches.
        depth: blocks.
        ratio: see Block.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel: int, stride: int, depth: int, ratio: int
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2)
        self.patches_norm = nn.BatchNorm2d(channels)
        self.blocks = nn.Sequential(*(Block(channels, ratio) for _ in range(depth)))
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, C, ceil(H/stride), ceil(W/stride))."""
        x = self.blocks(self.patches_norm(self.patches(x)))
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class VAN(nn.Module):
    """The four stages of VAN-S, which its later versions call B1; 13,348,800 parameters.

    Without the classifier of images. Weights start as PyTorch's layers do.

    Args:
        widths: channels of the stages.
        depths: blocks of the stages.
        ratios: see Block.
    """

    # What the official checkpoint holds besides: the layer that classifies an image.
    OFFICIAL_CLASSIFIER = ("head.",)

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 2, 4, 2),
        ratios: Sequence[int] = (8, 8, 4, 4),
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        channels = 3
        for width, depth, ratio in zip(widths, depths, ratios):
            kernel, stride = (3, 2) if self.stages else (7, 4)
            self.stages.append(Stage(channels, width, kernel, stride, depth, ratio))
            channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> features of the stages at strides 4, 8, 16 and 32, sizes rounded up."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def official_names(self) -> dict[str, str]:
        """Names of the tensors in the official ImageNet checkpoint, by their names here."""
        blocks = {
            "before_attention": "norm1",
            "attention.0": "attn.proj_1",
            "attention.2.weigh.0": "attn.spatial_gating_unit.conv0",
            "attention.2.weigh.1": "attn.spatial_gating_unit.conv_spatial",
            "attention.2.weigh.2": "attn.spatial_gating_unit.conv1",
            "attention.3": "attn.proj_2",
            "attention_scale": "layer_scale_1",
            "before_mlp": "norm2",
            "mlp.0": "mlp.fc1",
            "mlp.1": "mlp.dwconv.dwconv",
            "mlp.3": "mlp.fc2",
            "mlp_scale": "layer_scale_2",
        }
        prefixes = {}
        for i, stage in enumerate(self.stages):
            prefixes[f"stages.{i}.patches"] = f"patch_embed{i + 1}.proj"
            prefixes[f"stages.{i}.patches_norm"] = f"patch_embed{i + 1}.norm"
            prefixes[f"stages.{i}.norm"] = f"norm{i + 1}"
            for j in range(len(stage.blocks)):  # type: ignore[arg-type]
                for own, official in blocks.items():
                    prefixes[f"stages.{i}.blocks.{j}.{own}"] = f"block{i + 1}.{j}.{official}"
        names = {}
        for name in self.state_dict():
            own = name if name in prefixes else name.rpartition(".")[0]
            names[name] = prefixes[own] + name[len(own) :]
        return names
