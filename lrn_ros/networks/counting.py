# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters and multiply-adds of a network, under the conventions the papers use.

`conv` counts the multiply-adds of the convolutions. `ptflops` adds what the counting tool of that
name counted in 2019: 1 for every bias, 2 for every element of a batch norm, 1 for every element of
a ReLU and 1 for every input of a pooling layer. That tool did not see matrix products, so the
papers add the attention by hand: `core`. One multiply-add is one "FLOP" in all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lrn_ros.networks.registry import build

_aten = torch.ops.aten
_NORMS = {_aten.native_batch_norm, _aten._native_batch_norm_legit_no_training}
_POOLS = {  # the mean of a map is a global pool
    *(_aten.max_pool2d_with_indices, _aten.max_pool2d),
    *(_aten.avg_pool2d, _aten.mean),
}
CONVENTIONS = ("conv", "ptflops", "ptflops + core")


@dataclass(frozen=True)
class Counts:
    """Counts of one forward pass of one image.

    Attributes:
        parameters: trainable parameters.
        mac: multiply-adds of the convolutions.
        elementwise: operations that the ptflops convention adds to them.
        core: multiply-adds of the non-local core, counted as in section 4.3 of LRNNet.
    """

    parameters: int
    mac: int
    elementwise: int
    core: int

    @property
    def total(self) -> int:
        """The figure of the papers: the ptflops convention plus the core."""
        return self.mac + self.elementwise + self.core

    def under(self, convention: str) -> int:
        """Multiply-adds under one of CONVENTIONS."""
        by_name = dict(zip(CONVENTIONS, (self.mac, self.mac + self.elementwise, self.total)))
        return by_name[convention]


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.mac = self.elementwise = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        op = func.overloadpacket
        if op is _aten.convolution:
            self.mac += out.numel() * math.prod(args[1].shape[1:])
            self.elementwise += out.numel() if args[2] is not None else 0
        elif op in _NORMS:
            self.elementwise += 2 * out[0].numel()
        elif op is _aten.relu:
            self.elementwise += out.numel()
        elif op in _POOLS and args[0].ndim == 4:
            self.elementwise += args[0].numel()
        return out


@cache
def count(name: str, *, num_classes: int = 19, size: tuple[int, int] = (512, 1024)) -> Counts:
    """Count a registered architecture at an input `size` (height, width), without running it."""
    cores: list[int] = []

    def add_core(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        cores.append(module.literal_macs(*output.shape[2:]))  # type: ignore[operator]

    with torch.device("meta"), torch.no_grad():
        network = build(name, num_classes=num_classes).eval()
        for module in network.modules():
            if hasattr(module, "literal_macs"):
                module.register_forward_hook(add_core)
        with _Counter() as counter:
            network(torch.empty(1, 3, *size))
    parameters = sum(p.numel() for p in network.parameters())
    return Counts(parameters, counter.mac, counter.elementwise, sum(cores))
