# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VAN, the visual attention network (Guo et al. 2022): a backbone of large-kernel attention.

Layers, initialisation and stochastic depth are those of the official code
(github.com/Visual-Attention-Network/VAN-Classification, models/van.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

LAYER_SCALE = 1e-2  # the factor of every branch of a block when training starts


class StochasticDepth(nn.Module):
    """Leave a residual branch out for some images of a training batch (Huang et al., ECCV 2016).

    The branches that stay are divided by the share that stays, so that their mean does not change.
    In evaluation mode the module changes nothing.

    Args:
        rate: probability that the branch is left out, from 0 to below 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"stochastic depth: a rate of {rate} is not in [0, 1)")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        if not self.training or not self.rate:
            return x
        kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.rate
        return x * (kept.to(x.dtype) / (1 - self.rate))


class LargeKernelAttention(nn.Module):
    """Multiply x by a 21x21 depthwise convolution of x, followed by a pointwise convolution.

    The large kernel is made of a 5x5 and a dilated 7x7 depthwise convolution.

    Args:
        channels: channels of input and output, C.
    """

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


class VANBlock(nn.Module):
    """A block of VAN: attention with its own shortcut, then a convolutional MLP, both residual.

    Args:
        channels: channels of input and output, C.
        ratio: channels inside the MLP, divided by C.
        drop_path: rate of the stochastic depth of both branches.
    """

    def __init__(self, channels: int, ratio: int, drop_path: float = 0.0) -> None:
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
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        y = self.before_attention(x)
        attended = self.attention_scale[:, None, None] * (self.attention(y) + y)
        x = x + self.drop_path(attended)
        return x + self.drop_path(self.mlp_scale[:, None, None] * self.mlp(self.before_mlp(x)))


class VANStage(nn.Module):
    """A stage of VAN: overlapping patches, blocks, then layer norm over the channels of a pixel.

    Args:
        in_channels: channels of the input.
        channels: channels of the output, C.
        kernel: size of the patches.
        stride: distance between the patches.
        ratio: see VANBlock.
        drop_paths: rate of the stochastic depth of every block; their number is that of the blocks.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        stride: int,
        ratio: int,
        drop_paths: Sequence[float],
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2)
        self.patches_norm = nn.BatchNorm2d(channels)
        self.blocks = nn.Sequential(*(VANBlock(channels, ratio, rate) for rate in drop_paths))
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, C, ceil(H/stride), ceil(W/stride))."""
        x = self.blocks(self.patches_norm(self.patches(x)))
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def initialise(network: nn.Module) -> None:
    """Draw the weights as VAN's code does.

    The weights of a convolution come from N(0, 2 / fan-out), where the fan-out is divided by the
    number of groups, and its biases are 0. The code draws from a truncated normal distribution
    for linear layers only; the one linear layer of VAN classifies images and is not part of it
    here.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1]
            fan_out = kernel * module.out_channels // module.groups
            nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class VAN(nn.Module):
    """The four stages of VAN-S, which later versions call VAN-B1; 13,348,800 parameters.

    The layer that classifies an image is left out.

    Args:
        widths: channels of the stages.
        depths: numbers of blocks of the stages.
        ratios: see VANBlock.
        drop_path: rate of the stochastic depth of the last block. The rate grows linearly from 0
            at the first block. The official code has 0.1 for this size when it trains.
    """

    # Prefixes of the tensors of the official checkpoint that classify an image.
    OFFICIAL_CLASSIFIER = ("head.",)

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 2, 4, 2),
        ratios: Sequence[int] = (8, 8, 4, 4),
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        last, channels, done = max(1, sum(depths) - 1), 3, 0
        for width, depth, ratio in zip(widths, depths, ratios):
            kernel, stride = (3, 2) if self.stages else (7, 4)
            rates = [drop_path * n / last for n in range(done, done + depth)]
            self.stages.append(VANStage(channels, width, kernel, stride, ratio, rates))
            channels, done = width, done + depth
        initialise(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> features of the stages at strides 4, 8, 16 and 32, sizes rounded up."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def official_names(self) -> dict[str, str]:
        """The name of every tensor in the official ImageNet checkpoint, by its name here."""
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
