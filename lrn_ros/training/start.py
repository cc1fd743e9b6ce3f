# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Prepares a training run: devices, network, optimizer, held-out drives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers import CSVLogger
from torch import nn

from lrn_ros.data.layouts import Files, find_files, sequence
from lrn_ros.errors import UserError
from lrn_ros.model.artifact import read_info, read_weights, resolve_model
from lrn_ros.model.labels import LabelSet
from lrn_ros.networks import build
from lrn_ros.paths import share_folder
from lrn_ros.training.losses import TrainingNetwork
from lrn_ros.training.pretrained import IMAGENET, SUFFIXES, imagenet_file, load_encoder
from lrn_ros.training.recipe import Recipe


def make_fabric(
    recipe: Recipe, output: Path, devices: int, num_nodes: int, tensorboard: bool
) -> Fabric:
    """Devices, precision and logger; see Trainer for the arguments.

    Raises:
        UserError: the machine does not have the recipe's precision, or not so many devices.
    """
    on_cpu = not torch.cuda.is_available()
    if recipe.precision == "16-mixed" and on_cpu:
        raise UserError("precision 16-mixed needs a GPU; bf16-mixed and 32-true work on a CPU")
    if not on_cpu and devices > torch.cuda.device_count():
        raise UserError(f"--devices {devices}: this machine has {torch.cuda.device_count()} GPUs")
    if tensorboard:
        from lightning.fabric.loggers import TensorBoardLogger

        try:
            logger: Any = TensorBoardLogger(output, name="log")
        except ModuleNotFoundError as error:
            raise UserError("--log tensorboard: pip install tensorboard") from error
    else:
        logger = CSVLogger(str(output), name="log", flush_logs_every_n_steps=1)
    return Fabric(
        accelerator="cpu" if on_cpu else "cuda",
        devices=devices,
        num_nodes=num_nodes,
        precision=recipe.precision,  # type: ignore[arg-type]
        loggers=[logger],
    )


def find_split_files(root: Path, recipe: Recipe) -> tuple[list[Files], list[Files]]:
    """The files to train on, and those to validate on: the split "val", or the held-out sequences.

    Raises:
        UserError: see lrn_ros.data.datasets.find_files; or a held-out sequence is not among the
            files, or none would be left.
    """
    train = find_files(root, recipe.train_split)
    if not recipe.holdout:
        return train, find_files(root, "val")
    known, wanted = {sequence(f.name) for f in train}, set(recipe.holdout)
    if not wanted < known:
        raise UserError(
            f"holdout {sorted(wanted)}: name some, not all, of the sequences"
            f" {', '.join(sorted(known))}"
        )
    held = [f for f in train if sequence(f.name) in wanted]
    return [f for f in train if sequence(f.name) not in wanted], held


def make_network(recipe: Recipe, labels: LabelSet) -> tuple[nn.Module, set[str]]:
    """The recipe's network, and the names of the tensors that come from `init`.

    Raises:
        UserError: the architecture does not have an option, or `init` does not fit.
    """
    torch.manual_seed(recipe.seed)
    try:
        network = build(recipe.architecture, num_classes=len(labels), **recipe.options)
    except (TypeError, ValueError) as error:
        raise UserError(f"recipe {recipe.name!r}: {error}") from error
    loaded: set[str] = set()
    if recipe.init == IMAGENET:
        loaded = load_encoder(network, imagenet_file(recipe.architecture))
    elif recipe.init.endswith(SUFFIXES):
        loaded = load_encoder(network, Path(recipe.init).expanduser())
    elif recipe.init:
        loaded = _load_model(network, recipe, labels)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = recipe.bn_momentum
    if recipe.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, loaded


def check_layout(network: nn.Module, recipe: Recipe, device: torch.device) -> None:
    """Refuse the memory layout with which torch's CPU code computes wrong gradients.

    In torch 2.13 the weight gradient of a dilated depthwise convolution in bfloat16 is wrong on
    a CPU where activations are channels-last; contiguous activations and float32 are right.

    Raises:
        UserError: the recipe asks for it.
    """
    if not recipe.channels_last or recipe.precision != "bf16-mixed" or device.type != "cpu":
        return
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and max(module.dilation) > 1:
            raise UserError(
                f"channels_last with bf16-mixed on a CPU: torch computes wrong gradients for the"
                f" dilated depthwise convolution {name}; channels_last: false works"
            )


def _load_model(network: nn.Module, recipe: Recipe, labels: LabelSet) -> set[str]:
    """Start from the weights of a model file that the network has with the same shape.

    If the classes differ, the layer that distinguishes them starts anew.
    """
    try:
        path = resolve_model(recipe.init, (".safetensors",))
    except UserError as error:
        maker = Path(recipe.init).stem
        if not (share_folder() / "config" / "train" / f"{maker}.yaml").is_file():
            raise UserError(f"init: {error}") from error
        raise UserError(
            f"init: {error}; `lrn train {maker}` makes it,"
            " --set 'init=\"\"' starts from random weights"
        ) from error
    info, weights = read_info(path), read_weights(path)
    own = network.state_dict()
    fitting = {
        name: torch.from_numpy(array)
        for name, array in weights.items()
        if name in own and own[name].shape == array.shape
    }
    if info.labels.names != labels.names:
        head = [n for n in sorted(fitting) if n.startswith("classifier.")]
        by_class = [n for n in head if len(fitting[n]) == len(labels)]
        for name in by_class[-2:]:  # weights and biases of the last layer
            del fitting[name]
    left = sorted(name for name in set(own) - set(fitting) if own[name].ndim)
    if any(not name.startswith(("svn.", "classifier.", "decoder.")) for name in left):
        raise UserError(
            f"init {path} is a {info.architecture}, whose weights do not fit {recipe.architecture}"
            f" ({left[0]} and {len(left) - 1} more)"
        )
    network.load_state_dict(fitting, strict=False)
    return set(fitting)


def make_optimizer(
    network: TrainingNetwork, recipe: Recipe, loaded: set[str]
) -> torch.optim.Optimizer:
    """The recipe's optimizer; the recipe's `decayed` says which tensors decay.

    The schedule's rate is multiplied by the key `share` of every group.

    Args:
        network: the network that is trained.
        recipe: its keys from optimizer to weight_decay, and pretrained_lr.
        loaded: names of the tensors of `network.network` that come from `init`.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        given = name.removeprefix("network.") in loaded
        decays = recipe.decayed == "all" or parameter.ndim > 1
        groups.setdefault((decays, given), []).append(parameter)
    arguments = [
        {
            "params": parameters,
            "weight_decay": recipe.weight_decay if decayed else 0.0,
            "share": recipe.pretrained_lr if given else 1.0,
        }
        for (decayed, given), parameters in groups.items()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(arguments, recipe.lr, momentum=recipe.momentum)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer](
        arguments, recipe.lr
    )
