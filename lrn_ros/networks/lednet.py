# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LEDNet: an encoder of SS-nbt blocks with stride 8 and an attention pyramid as its decoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.networks.blocks import SSnbt, batch_norm, encoder, resize_to, upsample
from lrn_ros.networks.registry import register


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution with bias, BN, ReLU; sizes are divided by the stride and rounded up."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2),
        batch_norm(out_channels),
        nn.ReLU(),
    )


class APN(nn.Module):
    """Attention pyramid network, LEDNet's decoder (layers and order as in the official code).

    A pyramid of single-channel maps down to an eighth of the input weighs the class scores of
    every pixel; scores of the whole image are added. 11,385 parameters with 128 channels, K = 19.

    Args:
        channels: C of the input.
        num_classes: K.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.image = _conv(channels, num_classes, 1)
        self.pixel = _conv(channels, num_classes, 1)
        self.down1 = _conv(channels, 1, 7, stride=2)
        self.down2 = _conv(1, 1, 5, stride=2)
        self.down3 = nn.Sequential(_conv(1, 1, 3, stride=2), _conv(1, 1, 3))
        self.skip1 = _conv(1, 1, 7)
        self.skip2 = _conv(1, 1, 5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> scores (B, K, h, w), any h and w."""
        half = self.down1(x)
        quarter = self.down2(half)
        eighth = self.down3(quarter)
        attention = self.skip2(quarter) + resize_to(eighth, quarter)
        attention = self.skip1(half) + resize_to(attention, half)
        return resize_to(attention, x) * self.pixel(x) + self.image(F.adaptive_avg_pool2d(x, 1))


class LEDNet(nn.Module):
    """LEDNet (paper's Table 1; official code). 922,821 parameters with 19 classes.

    Differences from the official code: K outputs instead of always 20, any input size, and the
    last upsampling, which there aligns corners, has half-pixel centres as everywhere here.
    Weights start as PyTorch's layers do, like there.

    Args:
        num_classes: K.
        dropout: Dropout2d rates inside the blocks of the three stages; 0.03, 0.03 and 0.3 in the
            official code.
    """

    stride = 8

    def __init__(self, num_classes: int, *, dropout: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
        super().__init__()
        self.encoder = encoder(partial(SSnbt, bias=True), dropout, bias=True)
        self.decoder = APN(128, num_classes)

    def coarse(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, ceil(H/8), ceil(W/8))."""
        return self.decoder(self.encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, H, W): bilinear x8 with half-pixel centres, cropped."""
        return upsample(self.coarse(x), self.stride, x)


register("lednet")(LEDNet)
