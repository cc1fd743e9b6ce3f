# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The form of a network that runs and is exported: batch norms folded into convolutions.

Channel shuffles stay: in channels-last memory a shuffle is one copy. An exported graph has no
memory formats, so `lrn_ros.export.shuffles` replaces them there.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_normalisation(network: nn.Module) -> nn.Module:
    """Fold every batch norm that directly follows a convolution into the convolution, in place.

    The result is exact. The batch norms of the downsampling units stay, because they stand behind
    a concatenation.

    Args:
        network: in evaluation mode.

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
