# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A training recipe: one YAML file under config/train/ is all a run depends on besides its data."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lrn_ros.errors import UserError
from lrn_ros.paths import read_config


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        name: name of the model file that results.
        architecture: name in the registry.
        options: keyword arguments of the architecture.
        labels: label set, by name or YAML file.
        license: goes into the model's header.
        steps: optimiser steps of the whole schedule.
        batch: images per step and device.
        crops: [until, height, width] in order: the crop size while progress (0-1) is below until.
        optimizer: "sgd" or "adamw".
        lr: peak learning rate.
        momentum: of SGD.
        weight_decay: on convolution weights only, not on biases and batch norm.
        warmup: steps of linear warm-up.
        power: exponent of the poly schedule.
        clip: gradient norm limit, 0 for none.
        ema: decay of the weight average that is evaluated and released, 0 for none.
        class_weights: "none" or "log": (1 / ln(1.1 + p)) ** weight_power for pixel share p.
        weight_power: see class_weights.
        loss_stride: the loss is taken at 1/loss_stride of the crop's resolution.
        scale: [lowest, highest] random scale, drawn log-uniformly.
        class_centred: share of crops centred on a pixel of a uniformly drawn class.
        colour: strength of the colour augmentation, 0 for none.
        degrade: probability of blur, and of noise.
        scene_share: share of rendered street scenes among the images.
        scene_frames: how many scenes are rendered before training starts.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        seed: of everything.
        eval_every: steps between evaluations on the validation set.
    """

    name: str
    architecture: str
    labels: str
    license: str
    steps: int
    options: dict[str, Any] = field(default_factory=dict)
    batch: int = 8
    crops: list[list[float]] = field(default_factory=lambda: [[1.0, 256, 352]])
    optimizer: str = "adamw"
    lr: float = 3e-3
    momentum: float = 0.9
    weight_decay: float = 1e-2
    warmup: int = 200
    power: float = 0.9
    clip: float = 0.0
    ema: float = 0.998
    class_weights: str = "log"
    weight_power: float = 0.5
    loss_stride: int = 1
    scale: list[float] = field(default_factory=lambda: [0.5, 2.0])
    class_centred: float = 0.0
    colour: float = 0.4
    degrade: float = 0.0
    scene_share: float = 0.0
    scene_frames: int = 64
    precision: str = "32-true"
    seed: int = 1
    eval_every: int = 500

    def __post_init__(self) -> None:
        checks: list[tuple[bool, str]] = [
            (self.steps > 0, "steps must be positive"),
            (self.batch > 0, "batch must be positive"),
            (self.optimizer in ("sgd", "adamw"), "optimizer is sgd or adamw"),
            (self.class_weights in ("none", "log"), "class_weights is none or log"),
            (self.precision in ("32-true", "bf16-mixed", "16-mixed"), "unknown precision"),
            (0 <= self.ema < 1, "ema is in [0, 1)"),
            (0 <= self.scene_share <= 1, "scene_share is in [0, 1]"),
            (0 <= self.class_centred <= 1, "class_centred is in [0, 1]"),
            (len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1], "scale is [low, high]"),
            (self.loss_stride in (1, 2, 4, 8), "loss_stride is 1, 2, 4 or 8"),
            (bool(self.crops) and all(len(c) == 3 for c in self.crops), "crops: [until, h, w]"),
            (
                all(n % 8 == 0 and n >= 64 for c in self.crops for n in c[1:]),
                "crop sides are multiples of 8 from 64 up",
            ),
        ]
        for ok, message in checks:
            if not ok:
                raise UserError(f"recipe {self.name!r}: {message}")

    def crop_at(self, progress: float) -> tuple[int, int]:
        """Crop (height, width) at a progress of 0-1 through the run."""
        for until, height, width in self.crops:
            if progress < until:
                return int(height), int(width)
        return int(self.crops[-1][1]), int(self.crops[-1][2])


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe by name (config/train/NAME.yaml) or from a YAML file.

    Raises:
        UserError: unreadable, an unknown or missing key, a value out of range.
    """
    data, path = read_config("train", name_or_path, "recipe")
    if not isinstance(data, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys to values")
    known_keys = {f.name for f in fields(Recipe)}
    if unknown := sorted(set(data) - known_keys):
        raise UserError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(known_keys)}")
    try:
        return Recipe(**data)
    except TypeError as error:
        raise UserError(f"{path}: {error}") from error
