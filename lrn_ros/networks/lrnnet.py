# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LRNNet: a factorised encoder with stride 8, the SVN module and a classifier of two layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from lrn_ros.networks.blocks import (
    FCB,
    NonBottleneck1D,
    SSnbt,
    batch_norm,
    encoder,
    he_initialise,
    upsample,
)
from lrn_ros.networks.registry import register
from lrn_ros.networks.svn import SVN

BLOCKS = {"fcb": FCB, "ssnbt": SSnbt, "nb1d": NonBottleneck1D}


class LRNNet(nn.Module):
    """LRNNet (section 3, Figure 2). 672,930 parameters with 19 classes, 681,122 with the SVN.

    Args:
        num_classes: number of classes, K.
        block: "fcb", the block of LRNNet; "ssnbt", the block of LEDNet, with which the paper
            compares it; or "nb1d", the block of ERFNet.
        svn: arguments of the SVN module, or None for model A.
        dropout: Dropout2d rates inside the blocks of the three stages.
        classifier_dropout: Dropout2d rate before the last convolution.
        dw_act: whether a ReLU stands between depthwise and pointwise convolution of the FCB.

    Raises:
        ValueError: there is no such block.
    """

    stride = 8

    def __init__(
        self,
        num_classes: int,
        *,
        block: str = "fcb",
        svn: dict[str, Any] | None = None,
        dropout: Sequence[float] = (0.0, 0.0, 0.0),
        classifier_dropout: float = 0.0,
        dw_act: bool = False,
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ValueError(f"block {block!r} is not one of {', '.join(BLOCKS)}")
        options = {"dw_act": dw_act} if block == "fcb" else {}
        self.encoder = encoder(partial(BLOCKS[block], **options), dropout)
        self.svn = SVN(128, **svn) if svn is not None else None
        self.classifier = nn.Sequential(
            nn.Conv2d(128, 32, 3, padding=1, bias=False),
            batch_norm(32),
            nn.ReLU(),
            nn.Dropout2d(classifier_dropout),
            nn.Conv2d(32, num_classes, 1),
        )
        he_initialise(self)
        if self.svn is not None:
            self.svn.reset_parameters()

    def coarse(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, h, w) at stride 8, h = ceil(ceil(ceil(H/2)/2)/2)."""
        x = self.encoder(x)
        if self.svn is not None:
            x = self.svn(x)
        return self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K, H, W): bilinear x8 with half-pixel centres, cropped."""
        return upsample(self.coarse(x), self.stride, x)


def lrnnet(*, num_classes: int, **options: Any) -> LRNNet:
    """Build an LRNNet; `options` are those of the class."""
    return LRNNet(num_classes, **options)


# The rows of Tables 1 to 4 of the paper; three variants that separate its claims (avgnorm,
# nonlocal_assoc and nonlocal_softmax); and the fourth block of its Figure 4 (nb1d).
VARIANTS: dict[str, dict[str, Any]] = {
    "lrnnet_a": {},
    "lrnnet_b": {"svn": {"grids": (8,)}},
    "lrnnet_c": {"svn": {"grids": (8, 4)}},
    "lrnnet_ms3": {"svn": {"grids": (8, 4, 2)}},
    "lrnnet_ss16": {"svn": {"grids": (16,)}},
    "lrnnet_ss4": {"svn": {"grids": (4,)}},
    "lrnnet_max": {"svn": {"grids": (8,), "keys": "max"}},
    "lrnnet_avg": {"svn": {"grids": (8,), "keys": "average"}},
    "lrnnet_avgnorm": {"svn": {"grids": (8,), "iterations": 0}},
    "lrnnet_nonlocal": {"svn": {"keys": "nonlocal"}},
    "lrnnet_nonlocal_assoc": {"svn": {"keys": "nonlocal_assoc"}},
    "lrnnet_nonlocal_softmax": {"svn": {"keys": "nonlocal_softmax"}},
    "lrnnet_ssnbt": {"block": "ssnbt"},
    "lrnnet_nb1d": {"block": "nb1d"},
}
for _name, _options in VARIANTS.items():
    register(_name, **_options)(lrnnet)
