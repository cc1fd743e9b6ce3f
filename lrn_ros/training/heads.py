# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Heads that exist in training only: auxiliary classifier and contrast embedding."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lrn_ros.errors import UserError
from lrn_ros.training.recipe import Recipe


class Outputs(NamedTuple):
    """What a training step sees: logits (B, K, h, w), and what the heads give, or None."""

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
            width = features.shape[1]
            out = num_classes if head == "auxiliary" else int(wanted[head].get("dim", 64))  # type: ignore[union-attr]
            self.heads[head] = nn.Sequential(
                nn.Conv2d(width, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, out, 1),
            )
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
