# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A training recipe: one YAML file under config/train/ is all a run depends on besides its data."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from lrn_ros.errors import UserError
from lrn_ros.paths import read_config

UNSET = "unset"  # the licence of a model whose maker has not named one
# The keys that belong to one data set or one machine; a recipe never takes them from its base.
OWN_KEYS = (
    *("name", "labels", "license", "dataset", "size", "train_split", "holdout"),
    *("max_minutes", "scene_share", "scene_frames"),
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TAKEN = re.compile(r".*(\.safetensors|\.onnx|_fp16|_fp32|_int8|_bf16|_\d+x\d+)")
# Mean and standard deviation of the RGB images of ImageNet, the usual normalisation of the field.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_PATH_SUFFIXES = (".yaml", ".yml", ".safetensors", ".onnx", ".pth", ".pt", ".tar")
_WHOLE = {"until": 1.0, "crop": [256, 352], "scale": [0.5, 2.0]}


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        name: name of the model file that results: letters, digits, ., _ and -, without an ending
            that `lrn export` appends to a name, such as _fp16.
        architecture: name in the registry.
        options: keyword arguments of the architecture.
        init: what to start from; empty: random weights. A model, by its name under weights/ or its
            path, whose classifier is left out where the classes differ; "imagenet", the weights of
            the encoder that an installed package carries; or the encoder's official checkpoint, a
            .pth, .pt or .tar file. See lrn_ros.training.pretrained.
        pretrained_lr: the rate of the tensors that `init` gave, as a share of the others' rate.
        labels: label set, by name or YAML file.
        dataset: the data set where `--data` is not given: a folder's name below $LRN_DATA or data/,
            or its path, with a slash in it.
        size: [height, width] that images are resized to when read, a multiple of 8 each; empty:
            their own size, which must be the same for all. See lrn_ros.data.datasets.read_pair for
            images of another shape.
        data: "memory": the decoded images are held in memory; "stream": on disk, in the run's
            folder, for sets that are larger than the memory.
        train_split: name of the split that is trained on.
        holdout: sequences of the training split that are kept out of it and replace the validation
            split: an estimate for an unseen drive; empty: none.
        license: what the weights may be used for; it goes into the model's header.
        temperature: goes into the model's header, see ModelInfo; 0: it is fitted on the validation
            set, which is right for a held-out drive and flatters on images like those learned.
        storage: "float32" or "float16", the numbers in the model file: half the size for a large
            model, whose figures are then those of the rounded weights.
        steps: optimiser steps of the whole schedule.
        max_minutes: ends the schedule early after so much training; 0: steps alone count.
        batch: images per step and device.
        stages: mappings {until, crop: [height, width], scale: [low, high]} in order. A stage holds
            while the progress (0-1) is below `until`. The scale of an image is drawn log-uniformly
            between low and high. With `scales: [...]` instead of `scale`, it is one of these.
        sampling: "replacement", where every image of every step is drawn from all images; or
            "epoch", where each image is used once before any is used again. The rest that fills
            no step is left out of that epoch.
        optimizer: "sgd", "adam" or "adamw".
        lr: peak learning rate.
        momentum: momentum of SGD.
        weight_decay: strength of the decay.
        decayed: "weights": the decay is on tensors of two and more dimensions, which leaves out
            biases and batch norm; "all": it is on every parameter.
        schedule: "poly", "one_cycle" or "step"; see lrn_ros.training.schedule.
        lr_every: steps for which the learning rate stays the same: the steps of an epoch, where
            the schedule is said to count epochs.
        warmup: steps of linear warm-up.
        power: exponent of the poly schedule.
        milestones: shares of the run after which "step" divides the rate by 10.
        clip: gradient norm limit, 0 for none.
        ema: decay of the weight average that is evaluated and released, 0 for none.
        class_weights: "none", "log" or "median"; see lrn_ros.training.losses.
        weight_power: see class_weights.
        weight_offset: see class_weights.
        loss_stride: the loss is taken at 1/loss_stride of the crop's resolution.
        ohem: {threshold, keep} to learn from the hardest pixels only, or nothing.
        lovasz: how many times the Lovász-Softmax loss is added to the cross entropy, 0 for none;
            see lrn_ros.training.losses.lovasz.
        auxiliary: {layer, weight} for a second classifier on an inner layer, or nothing. Its
            optional key `head` is a kind of lrn_ros.training.losses.HEADS.
        contrastive: {layer, weight, temperature, samples, dim} for the pixel contrast loss on an
            inner layer, or nothing; `head` as above.
        teacher: {model, weight, temperature} to learn from a trained model as well, or nothing:
            the loss is (1 - weight) times the loss on labels plus weight times the distillation
            loss of lrn_ros.training.teacher. A list of models is averaged.
        bn_momentum: share of the new batch in the running statistics of batch norm.
        bn_freeze: progress (0-1) from which batch norm keeps its statistics: for small batches.
        sequence_balance: 0: every image is drawn equally often; 1: every sequence (the part of a
            file's name before the first underscore) is.
        class_centred: share of crops centred on a pixel of a uniformly drawn class.
        class_mix: probability that a crop receives objects of rare classes from another crop.
        flip: probability that an image is mirrored, left for right.
        shift: largest shift of an image in each direction, in whole pixels of the data set's
            images; what comes in at the border is black and unlabelled.
        rotate: largest rotation, degrees.
        aspect: largest change of the width against the height, as a natural logarithm.
        colour: strength of the colour augmentation, 0 for none.
        style: probability that an image takes the mean and spread of each colour channel from an
            image of another sequence.
        degrade: probability of blur, and of noise.
        scene_share: share of rendered street scenes among the images.
        scene_frames: how many scenes are rendered before training starts.
        mean: per channel, what is subtracted from an RGB image in 0-1 before the network sees it.
        std: per channel, what the difference is divided by.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        channels_last: keep the channels of a pixel side by side in memory; faster for networks of
            dense convolutions, see lrn_ros.training.start.check_layout for where it is refused.
        compile: compile forward and backward pass with torch.compile, once for every crop size;
            pays on a GPU after a minute.
        seed: seed of all random numbers.
        eval_every: steps between evaluations on the validation set.
        patience: the run ends after so many evaluations without a better mIoU; 0: never.
        keep_best: release the weights of the evaluation with the best mIoU, not those of the end;
            the figure then flatters, as it was chosen by.
    """

    name: str
    architecture: str
    labels: str
    steps: int
    license: str = UNSET
    temperature: float = 0.0
    storage: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    init: str = ""
    pretrained_lr: float = 1.0
    dataset: str = "camvid"
    size: list[int] = field(default_factory=list)
    data: str = "memory"
    train_split: str = "train"
    holdout: list[str] = field(default_factory=list)
    max_minutes: float = 0.0
    batch: int = 8
    stages: list[dict[str, Any]] = field(default_factory=lambda: [dict(_WHOLE)])
    sampling: str = "replacement"
    optimizer: str = "adamw"
    lr: float = 3e-3
    momentum: float = 0.9
    weight_decay: float = 1e-2
    decayed: str = "weights"
    schedule: str = "poly"
    lr_every: int = 1
    warmup: int = 200
    power: float = 0.9
    milestones: list[float] = field(default_factory=list)
    clip: float = 0.0
    ema: float = 0.998
    class_weights: str = "log"
    weight_power: float = 0.5
    weight_offset: float = 1.1
    loss_stride: int = 1
    ohem: dict[str, Any] | None = None
    lovasz: float = 0.0
    auxiliary: dict[str, Any] | None = None
    contrastive: dict[str, Any] | None = None
    teacher: dict[str, Any] | None = None
    bn_momentum: float = 0.1
    bn_freeze: float = 1.0
    sequence_balance: float = 0.0
    class_centred: float = 0.0
    class_mix: float = 0.0
    flip: float = 0.5
    shift: int = 0
    rotate: float = 3.0
    aspect: float = 0.1
    colour: float = 0.4
    style: float = 0.0
    degrade: float = 0.0
    scene_share: float = 0.0
    scene_frames: int = 64
    mean: list[float] = field(default_factory=lambda: list(IMAGENET_MEAN))
    std: list[float] = field(default_factory=lambda: list(IMAGENET_STD))
    precision: str = "32-true"
    channels_last: bool = False
    compile: bool = False
    seed: int = 1
    eval_every: int = 500
    patience: int = 0
    keep_best: bool = False

    def __post_init__(self) -> None:
        problem = self._take_types()
        try:
            problem = problem or self._problem()
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            problem = f"a value has the wrong form: {error}"
        if problem:
            raise UserError(f"recipe {self.name!r}: {problem}")

    def _take_types(self) -> str:
        """Bring every value to its key's type; what is wrong, empty when nothing is."""
        for key in fields(self):
            try:
                value = _typed(getattr(self, key.name), str(key.type))
            except (TypeError, ValueError, OverflowError):
                what = _KINDS.get(str(key.type).partition(" | ")[0].partition("[")[0], key.type)
                return f"{key.name} is {getattr(self, key.name)!r}; {what} works"
            object.__setattr__(self, key.name, value)
        return ""

    def _problem(self) -> str:
        """The fault of the recipe as a text; empty: none."""
        if not _NAME.fullmatch(self.name):
            return f"name is {self.name!r}; letters, digits, ., _ and - work, no folder"
        if taken := _TAKEN.fullmatch(self.name):
            return f"name is {self.name!r}; it must not end with {taken[1]}: exports are named so"
        for key, allowed in _ONE_OF.items():
            if getattr(self, key) not in allowed:
                return f"{key} is {getattr(self, key)!r}; {', '.join(map(str, allowed))} work"
        for key in _POSITIVE:
            if getattr(self, key) < 1:
                return f"{key} must be positive"
        for key in _SHARES:
            if not 0 <= getattr(self, key) <= 1:
                return f"{key} is {getattr(self, key)}; 0 to 1 works"
        for key in _NOT_NEGATIVE:
            if getattr(self, key) < 0:
                return f"{key} must not be negative"
        if self.ema == 1:
            return "ema must be below 1"
        if self.size and (len(self.size) != 2 or any(n % 8 or n < 64 for n in self.size)):
            return "size is [height, width], multiples of 8 from 64 up"
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            return "mean and std are three numbers each, those of std positive"
        if self.schedule == "step" and not self.milestones:
            return "schedule step needs milestones"
        if self.sampling == "epoch" and (self.scene_share or self.sequence_balance):
            return "sampling epoch takes neither scene_share nor sequence_balance"
        if problem := self._problem_of_a_loss():
            return problem
        if not self.stages:
            return "stages: at least one"
        return next((p for p in map(_stage_problem, self.stages) if p), "")

    def _problem_of_a_loss(self) -> str:
        """The fault of a key that is a mapping, as a text; empty: none."""
        for key, needed in _MAPPINGS.items():
            value = getattr(self, key)
            optional = {"head"} if key in ("auxiliary", "contrastive") else set()
            if value is not None and set(value) - optional != needed:
                return f"{key} has the keys {', '.join(sorted(needed))}"
            if optional and value and value.get("head", HEADS[0]) not in HEADS:
                return f"{key}: head is {value['head']!r}; {', '.join(HEADS)} work"
        if self.teacher is not None:
            if not 0 < self.teacher["weight"] <= 1:
                return f"teacher: weight is {self.teacher['weight']}; above 0, up to 1 works"
            if not self.teacher["temperature"] > 0:
                return f"teacher: temperature is {self.teacher['temperature']}; it is positive"
        return ""

    def stage_at(self, progress: float) -> Stage:
        """Crop size and scale range at a progress of 0-1 through the run."""
        now = next((s for s in self.stages if progress < s["until"]), self.stages[-1])
        scales = tuple(now.get("scales", ()))
        return Stage(tuple(now["crop"]), tuple(now.get("scale", (1.0, 1.0))), scales)


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "list": "a list in brackets",
    "dict": "a mapping {key: value}",
}


def _typed(value: Any, kind: str) -> Any:
    """The value as the type that an annotation of Recipe names.

    YAML 1.1 reads 1e-3, without a dot, as a text; such a text stands for its number.

    Raises:
        TypeError, ValueError, OverflowError: it is none.
    """
    kind, _, optional = kind.partition(" | ")
    if value is None and optional == "None":
        return None
    if kind == "float":
        number = _number(value)
        return value if isinstance(value, (int, float)) else number
    if kind == "int":
        number = _number(value)
        if number != int(number):
            raise ValueError(value)
        return int(number)
    if kind == "str" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)  # a drive that is called 0016, a name that is a year
    outer, _, inner = kind.rstrip("]").partition("[")
    types: dict[str, Any] = {"str": str, "bool": bool, "list": list, "dict": dict}
    if not isinstance(value, types[outer]):
        raise TypeError(value)
    if outer == "list" and isinstance(value, list) and inner in _KINDS:
        return [_typed(item, inner) for item in value]
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        crop: (height, width) of the crops.
        scale: (low, high) of the random scale.
        scales: the scales to choose from instead; empty: `scale` holds.
    """

    crop: tuple[int, int]
    scale: tuple[float, float]
    scales: tuple[float, ...] = ()


# Kinds of a head that exists in training only; see lrn_ros.training.losses.
HEADS = ("two_convolutions", "convolution", "separable")

_ONE_OF = {
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("poly", "one_cycle", "step"),
    "sampling": ("replacement", "epoch"),
    "decayed": ("weights", "all"),
    "class_weights": ("none", "log", "median"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "loss_stride": (1, 2, 4, 8),
    "data": ("memory", "stream"),
    "storage": ("float32", "float16"),
}
_POSITIVE = ("steps", "batch", "eval_every", "lr_every")
_SHARES = (
    *("ema", "bn_momentum", "bn_freeze", "sequence_balance", "class_centred", "class_mix"),
    *("flip", "degrade", "scene_share", "style", "pretrained_lr"),
)
_NOT_NEGATIVE = (
    *("lr", "weight_decay", "warmup", "clip", "colour", "temperature", "shift", "rotate", "aspect"),
    *("weight_power", "lovasz", "max_minutes", "seed", "patience"),
)
_MAPPINGS = {
    "ohem": {"threshold", "keep"},
    "auxiliary": {"layer", "weight"},
    "contrastive": {"layer", "weight", "temperature", "samples", "dim"},
    "teacher": {"model", "weight", "temperature"},
}


def _stage_problem(stage: Any) -> str:
    """The fault of a stage of a recipe, as a text; empty: none."""
    known = ({"until", "crop", "scale"}, {"until", "crop", "scales"})
    if not isinstance(stage, dict) or set(stage) not in known:
        return f"stages: a stage has the keys until, crop and scale or scales, got {stage}"
    crop, scale, scales = stage["crop"], stage.get("scale", [1.0, 1.0]), stage.get("scales", [1.0])
    try:
        _typed(stage["until"], "float")
        _typed(crop, "list[int]")
        _typed(scale, "list[float]")
        _typed(scales, "list[float]")
    except (TypeError, ValueError, OverflowError):
        return f"stages: until is a number, crop, scale and scales are numbers, got {stage}"
    if len(crop) != 2 or any(n % 8 or n < 64 for n in crop):
        return f"crop is [height, width], multiples of 8 from 64 up, got {crop}"
    if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
        return f"scale is [low, high], got {scale}"
    if not scales or min(scales) <= 0:
        return f"scales are positive numbers, at least one, got {scales}"
    return ""


def load_recipe(name_or_path: str | Path, changes: dict[str, Any] | None = None) -> Recipe:
    """Read a recipe by name (config/train/NAME.yaml) or from a YAML file.

    Paths in it are relative to its folder, or else to the working directory. The key `base` names
    another recipe whose keys hold where this one is silent, except those of OWN_KEYS. A changed
    label set leaves a licence behind that is not changed with it.

    Args:
        name_or_path: the recipe.
        changes: values that replace the recipe's.

    Raises:
        UserError: unreadable, an unknown or missing key, a value out of range.
    """
    data, path = _read(name_or_path, ())
    changes = changes or {}
    if changes.get("labels", data.get("labels")) != data.get("labels"):
        data.pop("license", None)
    data |= changes
    known_keys = {f.name for f in fields(Recipe)}
    if unknown := sorted(set(data) - known_keys):
        raise UserError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(known_keys)}")
    try:
        return Recipe(**data)
    except TypeError as error:
        raise UserError(
            f"{path}: {' '.join(str(error).split()).replace('Recipe.__init__()', '')}"
        ) from error


def _read(name_or_path: str | Path, below: tuple[Path, ...]) -> tuple[dict[str, Any], Path]:
    """A recipe's keys with those of its bases."""
    data, path = read_config("train", name_or_path, "recipe")
    if not isinstance(data, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys to values")
    if path in below:
        raise UserError(f"{path}: the recipe is its own base")
    base = _beside(path, data.pop("base", None))
    for key in ("labels", "init", "dataset"):
        if key in data:
            data[key] = _beside(path, data[key])
    if base is None:
        return data, path
    found, _ = _read(str(base), (*below, path))
    return {k: v for k, v in found.items() if k not in OWN_KEYS} | data, path


def _beside(recipe: Path, value: Any) -> Any:
    """A path in a recipe, which is relative to the recipe's folder; what is none, as it is."""
    is_path = isinstance(value, str) and ("/" in value or Path(value).suffix in _PATH_SUFFIXES)
    there = recipe.parent / Path(value).expanduser() if is_path else None
    if there is None or not there.exists():
        return value
    return str(there) if "/" in str(there) else f"./{there}"  # a path, not a name


def parse_changes(texts: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE arguments; values are YAML.

    >>> parse_changes(["seed=3", "architecture=lrnnet_b", "ohem={threshold: 0.7, keep: 0.1}"])
    {'seed': 3, 'architecture': 'lrnnet_b', 'ohem': {'threshold': 0.7, 'keep': 0.1}}

    Raises:
        UserError: no KEY=, or no YAML behind it.
    """
    changes = {}
    for text in texts:
        key, sign, value = text.partition("=")
        try:
            changes[key.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise UserError(f"--set {text[:80]}: the value is no YAML") from None
        if not sign or not key.strip():
            raise UserError(f"--set {text}: KEY=VALUE is expected, such as seed=2")
    return changes
