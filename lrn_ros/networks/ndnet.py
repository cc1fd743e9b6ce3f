# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""NDNet: a narrow and deep residual network of separable convolutions with stride 32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.networks.blocks import he_initialise, upsample
from lrn_ros.networks.registry import register

STEM = 8  # channels in front of the first block


def separable(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise 3x3 and a pointwise convolution without biases, and BN; nothing between them."""
    return [
        nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


class Residual(nn.Module):
    """A layer of NDNet: a narrow separable convolution, a second one that widens, and a shortcut.

    Args:
        in_channels: channels of the input; expansion * width if the stride is 1.
        width: channels between the two convolutions.
        expansion: channels of the output, divided by `width`.
        stride: 1, or 2 as in the first layer of a block; the shortcut of such a layer is a
            separable convolution, too.
    """

    def __init__(self, in_channels: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        out_channels = expansion * width
        self.body = nn.Sequential(
            *separable(in_channels, width, stride), nn.ReLU(), *separable(width, out_channels)
        )
        self.shortcut = nn.Sequential(
            *(separable(in_channels, out_channels, stride) if stride > 1 else [])
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, expansion * width, ceil(H/stride), ceil(W/stride))."""
        return F.relu(self.body(x) + self.shortcut(x))


class NDNet(nn.Module):
    """NDNet with the FCN-32s head (Table II of its paper; backbone as in the official code).

    Two parts of the official code are not in this class. The auxiliary classifier, which exists in
    training only, stands on the second block (`blocks.1`); a recipe adds it. The second decoder of
    the code, which adds the features of the first block, is left out.

    Args:
        num_classes: number of classes, K.
        widths: channels between the convolutions of a layer, for the three blocks.
        depths: numbers of layers of the three blocks. The number in the name of the network is
            1 + 2 * sum(depths).
        expansion: channels of the output of a block, divided by those between its convolutions.
        classifier_dropout: Dropout2d rate before the last convolution. The official code has no
            dropout.
    """

    stride = 32

    def __init__(
        self,
        num_classes: int,
        *,
        widths: Sequence[int],
        depths: Sequence[int],
        expansion: int = 4,
        classifier_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, STEM, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(STEM),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.blocks = nn.Sequential()
        channels = STEM
        for width, depth in zip(widths, depths):
            first = Residual(channels, width, expansion, stride=2)
            channels = expansion * width
            others = [Residual(channels, width, expansion, stride=1) for _ in range(depth - 1)]
            self.blocks.append(nn.Sequential(first, *others))
        self.classifier = nn.Sequential(
            *separable(channels, 64),
            nn.ReLU(),
            nn.Dropout2d(classifier_dropout),
            nn.Conv2d(64, num_classes, 1),
        )
        he_initialise(self)

    def coarse(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, ceil(H/32), ceil(W/32))."""
        return self.classifier(self.blocks(self.stem(x)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, H, W): bilinear x32 with half-pixel centres, cropped."""
        return upsample(self.coarse(x), self.stride, x)


# The rows of Table II of the paper; those that end with e2 are the rows with "(e=2)".
VARIANTS: dict[str, dict[str, Any]] = {
    "ndnet29": {"widths": (24, 48, 96), "depths": (3, 8, 3)},
    "ndnet45": {"widths": (16, 32, 64), "depths": (4, 12, 6)},
    "ndnet61": {"widths": (12, 24, 48), "depths": (6, 16, 8)},
    "ndnet29w": {"widths": (64, 128, 256), "depths": (3, 8, 3)},
}
VARIANTS |= {f"{n}_e2": {**VARIANTS[n], "expansion": 2} for n in ("ndnet29", "ndnet45", "ndnet61")}
for _name, _options in VARIANTS.items():
    register(_name, **_options)(NDNet)
