# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite with a pyramid decoder: the teacher of the small networks.

None of the four papers that this package follows describes this network. The encoder is Google's
EfficientNet-Lite (Tan and Le, ICML 2019, without squeeze-and-excitation and with ReLU6). It was
chosen because its ImageNet weights come in an ordinary Python package. The decoder is a feature
pyramid (Lin et al., CVPR 2017) over a pyramid pooling module.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.networks.blocks import upsample
from lrn_ros.networks.context import PPM
from lrn_ros.networks.registry import register

BN_EPS, BN_MOMENTUM = 1e-3, 0.01  # the values in the official code
WIDTH = 96  # channels of the decoder


@dataclass(frozen=True)
class StageRow:
    """A row of the table of EfficientNet-B0: blocks of one kind, before scaling."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    StageRow(1, 3, 1, 1, 16),
    StageRow(2, 3, 2, 6, 24),
    StageRow(2, 5, 2, 6, 40),
    StageRow(3, 3, 2, 6, 80),
    StageRow(3, 5, 1, 6, 112),
    StageRow(4, 5, 2, 6, 192),
    StageRow(1, 3, 1, 6, 320),
)
STEM = 32
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}  # width and depth of Lite0, 1 and 2


def scaled_channels(channels: int, width: float) -> int:
    """Multiply by `width` and round to the nearest multiple of 8 that loses at most a tenth.

    >>> scaled_channels(24, 1.1), scaled_channels(40, 1.1), scaled_channels(320, 1.1)
    (24, 48, 352)
    """
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


class SameConv(nn.Conv2d):
    """A convolution without bias whose output has ceil(n / stride) rows and columns.

    With stride 2 the map is padded as TensorFlow pads maps of even size: the left side gets one
    column less than the right side. The pretrained weights expect this. The right side gets one
    column more than an even size needs. So the same padding also rounds an odd size up.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: size of the kernel.
        stride: 1 or 2.
        groups: groups of channels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(
            in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False
        )
        before = (kernel - stride) // 2
        self.border = (before, before + 2, before, before + 2) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, Cout, ceil(H/stride), ceil(W/stride))."""
        return super().forward(x if self.border is None else F.pad(x, self.border))


def _unit(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution and BN."""
    norm = nn.BatchNorm2d(out_channels, eps=BN_EPS, momentum=BN_MOMENTUM)
    return [SameConv(in_channels, out_channels, kernel, stride, groups), norm]


class InvertedResidual(nn.Module):
    """The block of MobileNetV2: widen, filter each channel, project.

    The input is added to the result if both have the same shape.

    Args:
        in_channels: channels of the input.
        stage: kernel, stride, expansion and output channels (already scaled).
    """

    def __init__(self, in_channels: int, stage: StageRow) -> None:
        super().__init__()
        inner = in_channels * stage.expansion
        widen = [] if stage.expansion == 1 else [*_unit(in_channels, inner, 1), nn.ReLU6()]
        self.body = nn.Sequential(
            *widen,
            *_unit(inner, inner, stage.kernel, stage.stride, groups=inner),
            nn.ReLU6(),
            *_unit(inner, stage.channels, 1),
        )
        self.shortcut = stage.stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, Cout, ceil(H/stride), ceil(W/stride))."""
        return x + self.body(x) if self.shortcut else self.body(x)


class EfficientNetLite(nn.Module):
    """The encoder, without the classifier of images: features at strides 4, 8, 16 and 32.

    Args:
        scale: 0, 1 or 2.
    """

    # Prefixes of the tensors of the official checkpoint that classify an image.
    OFFICIAL_CLASSIFIER = ("_conv_head", "_bn1.", "_fc")

    def __init__(self, scale: int) -> None:
        super().__init__()
        width, depth = SCALES[scale]
        self.stem = nn.Sequential(*_unit(3, STEM, 3, stride=2), nn.ReLU6())
        self.stages = nn.ModuleList()
        channels = STEM
        for index, row in enumerate(STAGES):
            # The first and the last stage keep their depth.
            scaled = index not in (0, len(STAGES) - 1)
            repeats = math.ceil(row.repeats * depth) if scaled else row.repeats
            out = scaled_channels(row.channels, width)
            blocks = []
            for i in range(repeats):
                stride = row.stride if i == 0 else 1
                stage = StageRow(1, row.kernel, stride, row.expansion, out)
                blocks.append(InvertedResidual(channels, stage))
                channels = out
            self.stages.append(nn.Sequential(*blocks))

    @property
    def widths(self) -> list[int]:
        """Channels of the four features."""
        outputs = [s[-1].body[-2].out_channels for s in self.stages]  # type: ignore[index]
        return [outputs[i] for i in (1, 2, 4, 6)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> features at strides 4, 8, 16 and 32, sizes rounded up."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return [features[i] for i in (1, 2, 4, 6)]

    def official_names(self) -> dict[str, str]:
        """The name of every tensor in the official checkpoint, by its name here."""
        names = _norm("stem.1", "_bn0") | {"stem.0.weight": "_conv_stem.weight"}
        number = 0
        for i, stage in enumerate(self.stages):
            blocks: list[InvertedResidual] = list(stage)  # type: ignore[call-overload]
            for j, block in enumerate(blocks):
                convs = ["_expand_conv", "_depthwise_conv", "_project_conv"]
                norms = ["_bn0", "_bn1", "_bn2"]
                places = [k for k, m in enumerate(block.body) if isinstance(m, SameConv)]
                skip = 3 - len(places)  # a block that does not widen lacks the first pair
                for place, conv, norm in zip(places, convs[skip:], norms[skip:]):
                    own, official = f"stages.{i}.{j}.body", f"_blocks.{number}"
                    names[f"{own}.{place}.weight"] = f"{official}.{conv}.weight"
                    names |= _norm(f"{own}.{place + 1}", f"{official}.{norm}")
                number += 1
        return names


def _norm(own: str, official: str) -> dict[str, str]:
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{own}.{part}": f"{official}.{part}" for part in parts}


def _conv_norm_relu(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


class EfficientNetLiteFPN(nn.Module):
    """EfficientNet-Lite with a feature pyramid down to stride 4.

    The coarsest feature passes a pyramid pooling module. On the way to finer strides each level
    adds its own feature. All levels are then enlarged to the finest size and fused.

    Args:
        num_classes: number of classes, K.
        scale: 0, 1 or 2.
    """

    stride = 4

    def __init__(self, num_classes: int, *, scale: int) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(scale)
        *finer, coarsest = self.backbone.widths
        self.context = PPM(coarsest, WIDTH)
        self.lateral = nn.ModuleList(_conv_norm_relu(c, WIDTH, 1) for c in finer)
        self.smooth = nn.ModuleList(_conv_norm_relu(WIDTH, WIDTH, 3) for _ in finer)
        self.fuse = _conv_norm_relu(4 * WIDTH, WIDTH, 1)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)

    def coarse(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, ceil(H/4), ceil(W/4))."""
        *finer, coarsest = self.backbone(x)
        levels = [self.context(coarsest)]
        down = list(zip(finer, self.lateral, self.smooth))
        for feature, lateral, smooth in reversed(down):
            levels.append(smooth(lateral(feature) + upsample(levels[-1], 2, feature)))
        *coarser, finest = levels
        sized = [upsample(level, 2**n, finest) for n, level in zip((3, 2, 1), coarser)]
        return self.classifier(self.fuse(torch.cat([*sized, finest], dim=1)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, H, W): bilinear x4 with half-pixel centres, cropped."""
        return upsample(self.coarse(x), self.stride, x)


for _scale in SCALES:
    register(f"efficientnet_lite{_scale}_fpn", scale=_scale)(EfficientNetLiteFPN)
