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
    """A convolution with bias, BN and ReLU. Sizes are divided by the stride and rounded up."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2),
        batch_norm(out_channels),
        nn.ReLU(),
    )


class APN(nn.Module):
    """Attention pyramid network, the decoder of LEDNet (layers and order as in the official code).

    A pyramid of maps with one channel each, down to an eighth of the input's size, weighs the class
    scores of every pixel. The scores of the whole image are added to the result. The module has
    11,385 parameters with 128 channels and 19 classes.

    Args:
        channels: channels of the input.
        num_classes: number of classes, K.
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
        """(B, C, h, w) -> class scores (B, K, h, w). Every h and w works."""
        half = self.down1(x)
        quarter = self.down2(half)
        eighth = self.down3(quarter)
        attention = self.skip2(quarter) + resize_to(eighth, quarter)
        attention = self.skip1(half) + resize_to(attention, half)
        return resize_to(attention, x) * self.pixel(x) + self.image(F.adaptive_avg_pool2d(x, 1))


class LEDNet(nn.Module):
    """LEDNet (Table 1 of its paper, and its official code). 922,821 parameters with 19 classes.

    Three things differ from the official code. This network has K outputs, where the code has 20
    whatever is asked for; it takes images of any size; and its last upsampling has half-pixel
    centres like the other networks of this package, where the code aligns the corners. The weights
    start as PyTorch initialises its layers, which the code does too.

    Args:
        num_classes: number of classes, K.
        dropout: Dropout2d rates inside the blocks of the three stages; the official code has 0.03,
            0.03 and 0.3.
        decoder: "apn", or "linear": one 1x1 convolution, under which the official code trains the
            encoder first.

    Raises:
        ValueError: there is no such decoder.
    """

    stride = 8

    def __init__(
        self,
        num_classes: int,
        *,
        dropout: Sequence[float] = (0.0, 0.0, 0.0),
        decoder: str = "apn",
    ) -> None:
        super().__init__()
        if decoder not in ("apn", "linear"):
            raise ValueError(f"decoder {decoder!r} is not 'apn' or 'linear'")
        self.encoder = encoder(partial(SSnbt, bias=True), dropout, bias=True)
        apn = decoder == "apn"
        self.decoder = APN(128, num_classes) if apn else nn.Conv2d(128, num_classes, 1)

    def coarse(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, ceil(H/8), ceil(W/8))."""
        return self.decoder(self.encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, H, W): bilinear x8 with half-pixel centres, cropped."""
        return upsample(self.coarse(x), self.stride, x)


register("lednet")(LEDNet)
