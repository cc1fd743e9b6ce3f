# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Named architectures: a decorator registers a builder, `build` calls it by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}


def register(name: str, **options: Any) -> Callable[..., Any]:
    """Register a builder under `name`. Its `options` are passed to it at every build."""

    def decorate(builder: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        if name in _BUILDERS:
            raise ValueError(f"architecture {name!r} is registered twice")
        _BUILDERS[name] = lambda **given: builder(**{**options, **given})
        return builder

    return decorate


def build(name: str, *, num_classes: int, **options: Any) -> nn.Module:
    """Build a registered architecture with random weights.

    Returns a module that maps (B, 3, H, W) float images to (B, num_classes, H, W) logits; its
    `coarse(x)` gives the logits before upsampling and `stride` the factor between the two.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    if name not in _BUILDERS:
        raise ValueError(f"unknown architecture {name!r}; known: {', '.join(architectures())}")
    return _BUILDERS[name](num_classes=num_classes, **options)


def architectures() -> list[str]:
    """Names of all registered architectures, in order of registration."""
    return list(_BUILDERS)
