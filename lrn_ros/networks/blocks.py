# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parts that several networks share: blocks and encoder of LEDNet and LRNNet, resizing, folding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

BN_EPS = 1e-3  # the value in the code of ERFNet and LEDNet
DILATIONS = (1, 2, 5, 9, 2, 5, 9, 17)  # the third stage of the encoder


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the epsilon that LRNNet and LEDNet use."""
    return nn.BatchNorm2d(channels, eps=BN_EPS)


def channel_shuffle(x: Tensor) -> Tensor:
    """Interleave the two halves of the channels: out[:, 2i+g] = x[:, g*C/2 + i].

    A channels-last tensor stays channels-last, which saves LRNNet-C a seventh of its time on a CPU.
    In an exported graph this case does not occur, because such a graph has no memory formats.
    """
    b, c, h, w = x.shape
    last = x.is_contiguous(memory_format=torch.channels_last)
    if last and not torch.compiler.is_compiling():
        pairs = x.permute(0, 2, 3, 1).unflatten(3, (2, c // 2)).transpose(3, 4)
        return pairs.flatten(3).permute(0, 3, 1, 2)
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class Down(nn.Module):
    """ENet's initial block: a strided 3x3 convolution beside a max-pool, then BN and ReLU.

    The outputs of the two branches are concatenated. Inputs of any size work, because both branches
    give ceil(H/2) x ceil(W/2).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, of which the max-pool gives as many as go in.
        bias: whether the convolution has a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels - in_channels, 3, stride=2, padding=1, bias=bias
        )
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.norm = batch_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, Cout, ceil(H/2), ceil(W/2))."""
        return F.relu(self.norm(torch.cat([self.conv(x), self.pool(x)], dim=1)))


def _line_conv(channels: int, vertical: bool, dilation: int = 1, bias: bool = False) -> nn.Conv2d:
    """One half of a factorised 3x3 convolution: 3x1 if vertical, else 1x3."""
    kernel, pad = ((3, 1), (dilation, 0)) if vertical else ((1, 3), (0, dilation))
    return nn.Conv2d(channels, channels, kernel, padding=pad, dilation=dilation, bias=bias)


def _line_pair(channels: int, vertical: bool, dilation: int = 1, bias: bool = False) -> list:
    """A 1-D convolution, ReLU, the 1-D convolution across it, and BN."""
    return [
        _line_conv(channels, vertical, dilation, bias),
        nn.ReLU(),
        _line_conv(channels, not vertical, dilation, bias),
        batch_norm(channels),
    ]


class FCB(nn.Module):
    """Factorised convolution block (LRNNet, section 3.3), with 4C^2 + 15C parameters.

    Each half of the channels passes two crossed 1-D convolutions. A dilated depthwise and a
    pointwise convolution then mix the halves. The sum with the input passes a ReLU and a channel
    shuffle.

    Args:
        channels: channels of input and output, C.
        dilation: dilation of the depthwise convolution.
        dropout: Dropout2d rate before the sum.
        dw_act: whether a ReLU follows the depthwise convolution.
    """

    def __init__(
        self, channels: int, dilation: int, dropout: float = 0.0, dw_act: bool = False
    ) -> None:
        super().__init__()
        half = channels // 2
        self.left = nn.Sequential(*_line_pair(half, vertical=True))
        self.right = nn.Sequential(*_line_pair(half, vertical=False))
        self.depthwise = nn.Conv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False
        )
        self.depthwise_norm = batch_norm(channels)
        self.depthwise_act = nn.ReLU() if dw_act else nn.Identity()
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.pointwise_norm = batch_norm(channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        a, b = x.chunk(2, dim=1)
        y = F.relu(torch.cat([self.left(a), self.right(b)], dim=1))
        y = self.depthwise_act(self.depthwise_norm(self.depthwise(y)))
        y = self.dropout(self.pointwise_norm(self.pointwise(y)))
        return channel_shuffle(F.relu(x + y))


def _two_line_pairs(channels: int, vertical: bool, dilation: int, bias: bool) -> nn.Sequential:
    """Two pairs of 1-D convolutions with a ReLU between them; the second pair is dilated."""
    return nn.Sequential(
        *_line_pair(channels, vertical, bias=bias),
        nn.ReLU(),
        *_line_pair(channels, vertical, dilation, bias),
    )


class SSnbt(nn.Module):
    """Split-shuffle non-bottleneck, the block of LEDNet: two pairs of 1-D convolutions per half.

    The second pair is dilated. The block has 6C^2 + 4C parameters, and 6C^2 + 8C with biases.

    Args:
        channels: channels of input and output, C.
        dilation: dilation of the second pair.
        dropout: Dropout2d rate before the sum.
        bias: whether the convolutions have biases.
    """

    def __init__(
        self, channels: int, dilation: int, dropout: float = 0.0, bias: bool = False
    ) -> None:
        super().__init__()
        half = channels // 2
        self.left = _two_line_pairs(half, True, dilation, bias)
        self.right = _two_line_pairs(half, False, dilation, bias)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        a, b = x.chunk(2, dim=1)
        y = self.dropout(torch.cat([self.left(a), self.right(b)], dim=1))
        return channel_shuffle(F.relu(x + y))


class NonBottleneck1D(nn.Module):
    """Non-bottleneck-1D, the block of ERFNet (Romera et al., T-ITS 2018): no split, no shuffle.

    Two pairs of 1-D convolutions over all channels, the second of them dilated. The block has
    12C^2 + 4C parameters, and 12C^2 + 8C with biases. It is the fourth block in Figure 4 of LRNNet.

    Args:
        channels: channels of input and output, C.
        dilation: dilation of the second pair.
        dropout: Dropout2d rate before the sum.
        bias: whether the convolutions have biases.
    """

    def __init__(
        self, channels: int, dilation: int, dropout: float = 0.0, bias: bool = False
    ) -> None:
        super().__init__()
        self.body = _two_line_pairs(channels, True, dilation, bias)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return F.relu(x + self.dropout(self.body(x)))


def encoder(
    block: Callable[[int, int, float], nn.Module], dropout: Sequence[float], bias: bool = False
) -> nn.Sequential:
    """The encoder of LEDNet (Table 1 of its paper), which LRNNet keeps.

    It maps (B, 3, H, W) to (B, 128, H/8, W/8), sizes rounded up. There are three stages of 32, 64
    and 128 channels. Each stage is a downsampling unit followed by 3, 2 or 8 blocks.

    Args:
        block: builds a block from its channels, dilation and dropout rate.
        dropout: dropout rates of the three stages.
        bias: whether the convolutions of the downsampling units have biases.
    """

    def stage(channels: int, dilations: Sequence[int], rate: float) -> list[nn.Module]:
        return [block(channels, d, rate) for d in dilations]

    return nn.Sequential(
        Down(3, 32, bias),
        *stage(32, (1, 1, 1), dropout[0]),
        Down(32, 64, bias),
        *stage(64, (1, 1), dropout[1]),
        Down(64, 128, bias),
        *stage(128, DILATIONS, dropout[2]),
    )


def he_initialise(network: nn.Module) -> None:
    """Draw the weights of convolutions from N(0, 2 / fan-in) (He et al. 2015); biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def resize_to(x: Tensor, partner: Tensor) -> Tensor:
    """Resize (B, C, h, w) to the height and width of another map: bilinear, corners on corners."""
    return F.interpolate(x, partner.shape[2:], mode="bilinear", align_corners=True)


def at_least_float(x: Tensor) -> Tensor:
    """Return half precision as float32, and anything wider unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def exactly(x: Tensor) -> AbstractContextManager[None]:
    """A context without automatic mixed precision on the device of `x`."""
    if x.is_meta:  # such a tensor has only a shape; there is no mixed precision to switch off
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def upsample(logits: Tensor, stride: int, image: Tensor) -> Tensor:
    """(B, K, h, w) logits at `stride` -> (B, K, H, W) of the image (B, 3, H, W).

    The logits are enlarged by exactly `stride`, bilinearly and with half-pixel centres, and then
    cropped. So the place of a pixel in the coarse map does not depend on the size of the image.
    """
    full = F.interpolate(logits, scale_factor=stride, mode="bilinear")
    return full[:, :, : image.shape[2], : image.shape[3]]


def fold_normalisation(network: nn.Module) -> nn.Module:
    """Fold every batch norm that directly follows a convolution into the convolution, in place.

    The result is exact. The batch norms of the downsampling units stay, because they stand behind
    a concatenation.

    Args:
        network: a network in evaluation mode.

    Returns:
        `network`.
    """
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            children = list(module._modules)
            for first, second in zip(children, children[1:]):
                _fold(module, first, second)
        for first in list(module._modules):
            _fold(module, first, f"{first}_norm")
    return network


def _fold(parent: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = parent._modules.get(conv_name), parent._modules.get(norm_name)
    if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        parent._modules[conv_name] = fuse_conv_bn_eval(conv, norm)
        parent._modules[norm_name] = nn.Identity()
