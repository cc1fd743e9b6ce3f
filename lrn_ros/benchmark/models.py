# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models to be benchmarked: files, and architectures of the registry with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lrn_ros.errors import RunError, UserError, install
from lrn_ros.inference.backends.base import MODULES
from lrn_ros.model.artifact import SUFFIXES, ModelInfo, read_info, resolve_model, save_model
from lrn_ros.model.labels import LabelSet
from lrn_ros.model.onnx_file import read_onnx

_SIZE = (360, 480)  # the size in a random model's header; the benchmark names every size


@dataclass(frozen=True)
class Model:
    """A model under the name it was asked for.

    Attributes:
        name: the name as it was given.
        info: its header; None of somebody else's ONNX file, which has none.
        files: suffix -> file.
        missing: suffix -> why there is no such file.
        random: whether its weights are random.
    """

    name: str
    info: ModelInfo | None
    files: dict[str, Path]
    missing: dict[str, str]
    random: bool = False

    @property
    def val_miou(self) -> float | None:
        """The mIoU on a validation split that the file's header states, 0-1."""
        metrics = self.info.metrics if self.info else {}
        named = [v for k, v in metrics.items() if k.split()[-1] == "val"]
        return named[0].get("miou") if named else None

    def file(self, suffix: str, precision: str) -> Path:
        """The file that runs in a precision: NAME_fp16.onnx, say, where that is beside NAME.onnx.

        Raises:
            KeyError: there is none with this suffix.
        """
        file = self.files[suffix]
        if self.info is None:
            return file
        own = file.with_name(f"{file.stem}_{precision}{suffix}")
        return own if suffix == ".onnx" and own.is_file() else file


def find_models(names: Sequence[str], backends: Sequence[str], folder: Path) -> list[Model]:
    """The models that are named; an architecture's name makes one with random weights.

    Args:
        names: names under weights/, paths of .safetensors or .onnx files (of two beside each
            other with one stem both are used), or names of the registry.
        backends: those that will run them.
        folder: where files of random models are written.

    Raises:
        UserError: neither; the message lists what exists.
    """
    suffixes = {MODULES[b].suffix for b in backends}
    return [_find(name, suffixes, folder) for name in dict.fromkeys(names)]


def other_models(paths: Sequence[Path], taken: Sequence[str]) -> list[Model]:
    """Networks of other projects as ONNX files, under the names of the files.

    Args:
        paths: the files; what they take is looked at where they are run.
        taken: names that are in use.

    Raises:
        UserError: no such file, not ONNX, or two with one name.
    """
    found: list[Model] = []
    for path in paths:
        read_onnx(path)
        if path.stem in (*taken, *(model.name for model in found)):
            raise UserError(f"--onnx {path}: another model is called {path.stem} too: rename it")
        missing = {".safetensors": "somebody else's ONNX file runs with openvino only"}
        found.append(Model(path.stem, None, {".onnx": path}, missing))
    return found


def _find(name: str, suffixes: set[str], folder: Path) -> Model:
    try:
        first = resolve_model(name, SUFFIXES)
    except UserError as error:
        if name.endswith(SUFFIXES):
            raise
        known = _architectures()
        if name in known:
            return _random_model(name, suffixes, folder)
        more = f"; as architectures with random weights: {', '.join(known)}" if known else ""
        raise UserError(f"{error}{more}") from None
    beside = {s: first.with_suffix(s) for s in SUFFIXES}
    files = {s: p for s, p in beside.items() if p.is_file()}
    missing = {s: f"there is no {p}{_hint(s)}" for s, p in beside.items() if s not in files}
    return Model(name, read_info(first), files, missing)


def _hint(suffix: str) -> str:
    return "; lrn export MODEL --format onnx writes it" if suffix == ".onnx" else ""


def _architectures() -> list[str]:
    try:
        from lrn_ros.networks import architectures
    except ImportError as error:
        if error.name != "torch":
            raise
        return []
    return architectures()


def _random_model(name: str, suffixes: set[str], folder: Path) -> Model:
    """An architecture with CamVid's classes, random weights and sane batch statistics."""
    import torch

    from lrn_ros.networks import build

    labels = LabelSet.load("camvid11")
    torch.manual_seed(0)
    network = build(name, num_classes=len(labels)).train()
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim == 4 and not weights.any():  # as built some add nothing
                weights.normal_(std=0.05)
        for _ in range(3):
            network(torch.randn(2, 3, 64, 96))
    info = ModelInfo(
        name=name,
        architecture=name,
        labels=labels,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        size=_SIZE,
        license="none: random weights",
    )
    path = folder / f"{name}.safetensors"
    save_model(path, info, {k: v.numpy() for k, v in network.state_dict().items()})
    files, missing = {path.suffix: path}, {}
    if ".onnx" in suffixes:
        try:
            files[".onnx"] = _export(path)
        except (ImportError, RunError) as error:
            if isinstance(error, ImportError) and (error.name or "").startswith("lrn_ros"):
                raise
            hint = f"; {install('export')}" if isinstance(error, ImportError) else ""
            missing[".onnx"] = f"export of random weights: {error}{hint}"
    return Model(name, info, files, missing, random=True)


def _export(path: Path) -> Path:
    from lrn_ros.export.agreement import scene_images
    from lrn_ros.export.onnx import export_onnx

    out = path.with_suffix(".onnx")
    export_onnx(path, out, images=scene_images((64, 96)))
    return out
