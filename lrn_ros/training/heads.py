# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Heads that exist in training only: auxiliary classifier and contrast embedding."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lrn_ros.errors import UserError
from lrn_ros.networks.blocks import he_initialise
from lrn_ros.networks.ndnet import separable
from lrn_ros.training.recipe import HEADS, Recipe

SEPARABLE_WIDTH = 128  # channels inside NDNet's auxiliary head


def make_head(kind: str, channels: int, outputs: int) -> nn.Sequential:
    """A head that maps (B, channels, h, w) to (B, outputs, h, w).

    Args:
        kind: "two_convolutions": two 1x1 convolutions with BN and ReLU between them;
            "convolution": one 1x1 convolution, the embedding of FRM's contrast loss; "separable": a
            separable convolution to 128 channels, ReLU and a 1x1 convolution, the auxiliary
            classifier of NDNet's official code, initialised as there.
        channels: channels of the input.
        outputs: channels of the output.
    """
    if kind == "convolution":
        return nn.Sequential(nn.Conv2d(channels, outputs, 1))
    if kind == "separable":
        head = nn.Sequential(
            *separable(channels, SEPARABLE_WIDTH), nn.ReLU(), nn.Conv2d(SEPARABLE_WIDTH, outputs, 1)
        )
        he_initialise(head)
        return head
    return nn.Sequential(
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, outputs, 1),
    )


class Outputs(NamedTuple):
    """Outputs of a training step: logits (B, K, h, w) and those of the heads, None without one."""

    logits: Tensor
    auxiliary: Tensor | None
    embedding: Tensor | None


class TrainingNetwork(nn.Module):
    """A network with the heads of its recipe on inner layers, by their module names.

    Args:
        network: has `coarse(x)`.
        recipe: its `auxiliary` and `contrastive` say which layers.
        num_classes: K.

    Raises:
        UserError: the network has no such layer, with those it has.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self._seen: dict[str, Tensor] = {}
        self.heads = nn.ModuleDict()
        wanted = {"auxiliary": recipe.auxiliary, "contrastive": recipe.contrastive}
        for head, options in wanted.items():
            if options is not None:
                self._listen(head, options["layer"])
        if self._seen or any(wanted.values()):
            self._build(wanted, num_classes)

    def _listen(self, head: str, layer: str) -> None:
        modules = dict(self.network.named_modules())
        if not layer or layer not in modules:
            known = [n for n in modules if n and n.count(".") < 2]
            raise UserError(f"{head}: no layer {layer!r}; there are {', '.join(known)}")

        def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self._seen[head] = output

        modules[layer].register_forward_hook(note)

    def _build(self, wanted: dict[str, dict[str, Any] | None], num_classes: int) -> None:
        training = self.network.training
        with torch.no_grad():
            self.network.eval().coarse(torch.zeros(1, 3, 64, 64))  # type: ignore[operator]
        self.network.train(training)
        for head, features in self._seen.items():
            options = wanted[head] or {}
            outputs = num_classes if head == "auxiliary" else int(options["dim"])
            kind = options.get("head", HEADS[0])
            self.heads[head] = make_head(kind, features.shape[1], outputs)
        self._seen.clear()

    def forward(self, x: Tensor) -> Outputs:
        """(B, 3, H, W) normalised images -> Outputs."""
        logits = self.network.coarse(x)  # type: ignore[operator]
        found = {name: head(self._seen[name]) for name, head in self.heads.items()}
        self._seen.clear()
        return Outputs(logits, found.get("auxiliary"), found.get("contrastive"))


def freeze_batch_norm(network: nn.Module) -> None:
    """Let batch normalisation use its running statistics and leave them alone, until `.train()`."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
