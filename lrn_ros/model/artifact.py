# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model on disk: one file with a header that describes the model. Nothing is unpickled.

A .safetensors file holds the weights. An .onnx file, which `lrn export` makes from it, holds the
graph with the weights.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lrn_ros.errors import UserError
from lrn_ros.model.json_text import to_json
from lrn_ros.model.labels import LabelSet
from lrn_ros.model.onnx_file import Tensor, read_onnx
from lrn_ros.paths import share_folder

SUFFIXES = (".safetensors", ".onnx")
KEY = "lrn_ros"  # the name of the metadata entry with the header, in both formats
_VERSION = 1
_MAX_HEADER = 1 << 20  # bytes; the headers of this package have a few kilobytes


@dataclass(frozen=True)
class ExportInfo:
    """The part of the metadata that only an exported model has.

    The graph takes `image`, (N, H, W, 3) uint8 RGB at the network's size, and gives `logits`,
    (N, K, ceil(H / stride), ceil(W / stride)) float32 class scores. H and W are multiples of 8.

    Attributes:
        precision: the precision of weights and activations, "fp32", "fp16" or "int8".
        stride: pixels of the network's input per cell of the scores.
        size: the only (height, width) at which the graph runs, with N = 1; None: any size from 64
            up and any N.
        source_sha256: digest of the .safetensors file from which the graph was made.
        agreement: how far the graph agrees with torch in fp32, see lrn_ros.export.agreement.
    """

    precision: str
    stride: int
    size: tuple[int, int] | None
    source_sha256: str
    agreement: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelInfo:
    """The description of a model, as the header of its file has it.

    Attributes:
        name: stem of the file, for logs.
        architecture: name in the registry of lrn_ros.networks.
        options: keyword arguments of the architecture beyond the number of classes.
        labels: the classes that the model predicts.
        mean: mean per channel of the RGB input in 0-1, which is subtracted first.
        std: divisor per channel, applied after the mean.
        size: (height, width) in pixels at which the model was trained.
        license: for what the weights may be used.
        temperature: the scores are divided by this number before the softmax that gives the
            confidence, so that confidences are probabilities (Guo et al., ICML 2017, section 4.2).
            It does not change masks.
        provenance: data, recipe, seed, steps, versions.
        metrics: figures measured on named data, e.g. {"camvid val": {"miou": 0.64}}.
        export: facts of an exported file; None for a .safetensors file.
    """

    name: str
    architecture: str
    labels: LabelSet
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: tuple[int, int]
    license: str
    temperature: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    export: ExportInfo | None = None

    def to_json(self) -> str:
        """The header's text."""
        data = asdict(self) | {"labels": self.labels.to_dict(), "version": _VERSION}
        return to_json(data)

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelInfo:
        """Parse a header's text; `where` names the file in errors."""
        if len(text) > _MAX_HEADER:
            raise UserError(
                f"{where}: the model header has {len(text)} characters; at most {_MAX_HEADER} work"
            )
        try:
            # Earlier versions wrote NaN, which is no JSON, for the figure of an absent class.
            data = json.loads(text, parse_constant=lambda name: None)
            if data["version"] != _VERSION:
                raise UserError(
                    f"{where}: the model file has version {data['version']}, this package reads"
                    f" version {_VERSION}"
                )
            info = cls(
                name=str(data["name"]),
                architecture=str(data["architecture"]),
                options=dict(data["options"]),
                labels=LabelSet.from_dict(data["labels"], where),
                mean=_triple(data["mean"]),
                std=_triple(data["std"]),
                size=(int(data["size"][0]), int(data["size"][1])),
                license=str(data["license"]),
                temperature=float(data.get("temperature", 1.0)),
                provenance=dict(data["provenance"]),
                metrics=dict(data["metrics"]),
                export=_export_info(data["export"]) if data.get("export") else None,
            )
        except UserError:
            raise
        except (
            *(KeyError, TypeError, ValueError, IndexError, AttributeError),
            *(RecursionError, OverflowError),
        ) as error:
            text = " ".join(repr(error).split())[:200]
            raise UserError(f"{where}: damaged model header ({text})") from error
        if min(info.size) < 8 or min(info.std) <= 0:
            raise UserError(f"{where}: trained size {info.size} or std {info.std} is impossible")
        if not 0 < info.temperature < math.inf:
            raise UserError(f"{where}: temperature {info.temperature} is impossible")
        return info


def _triple(values: Any) -> tuple[float, float, float]:
    r, g, b = (float(v) for v in values)
    if not all(map(math.isfinite, (r, g, b))):
        raise ValueError(f"{values} is not finite")
    return (r, g, b)


def _export_info(data: Any) -> ExportInfo:
    size = data["size"]
    return ExportInfo(
        precision=str(data["precision"]),
        stride=int(data["stride"]),
        size=(int(size[0]), int(size[1])) if size is not None else None,
        source_sha256=str(data["source_sha256"]),
        agreement=dict(data["agreement"]),
    )


def save_model(path: str | Path, info: ModelInfo, weights: Mapping[str, NDArray[Any]]) -> None:
    """Write a model file atomically: a reader sees the old file or the new file, never a part.

    Raises:
        UserError: a tensor holds NaN or an infinity; nothing is written.
    """
    if bad := not_finite(weights):
        raise UserError(f"{path}: not written: {bad[0]} holds NaN or infinity")
    data = save({k: np.ascontiguousarray(v) for k, v in weights.items()}, {KEY: info.to_json()})
    write_atomically(Path(path), data)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a temporary file beside `path` and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_info(path: Path) -> ModelInfo:
    """Read the description of a model from its .safetensors or .onnx file.

    Raises:
        UserError: there is no such file, the file does not have the format that its suffix says, or
            it is not a model of this package.
    """
    if path.suffix == ".onnx":
        return _read_onnx_info(path)
    _check_header(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a safetensors file: {error}") from error
    if KEY not in metadata:
        raise UserError(f"{path}: a safetensors file, but not a model of lrn_ros")
    return ModelInfo.from_json(metadata[KEY], str(path))


def _read_onnx_info(path: Path) -> ModelInfo:
    file = read_onnx(path)
    if KEY not in file.metadata:
        raise UserError(
            f"{path}: an ONNX file, but not a model of lrn_ros; lrn export MODEL --format onnx"
            " makes one"
        )
    info = ModelInfo.from_json(file.metadata[KEY], str(path))
    if info.export is None:
        raise UserError(f"{path}: damaged model header (it says nothing about the export)")
    batch, height, width = (1, *info.export.size) if info.export.size else (None, None, None)
    image = Tensor("image", "uint8", (batch, height, width, 3))
    given = " ".join(map(str, file.inputs)), " ".join(map(str, file.outputs))
    named = [(t.name, t.dtype, t.shape[1:2], len(t.shape)) for t in file.outputs]
    if file.inputs != (image,) or named != [("logits", "float32", (len(info.labels),), 4)]:
        raise UserError(
            f"{path}: takes {given[0] or 'nothing'} and gives {given[1] or 'nothing'}; a model of"
            f" lrn_ros takes {image} and gives logits float32 (?, {len(info.labels)}, ?, ?)"
        )
    return info


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read a model file's tensors, name -> array.

    Raises:
        UserError: the file is missing or damaged, or a tensor holds NaN or an infinity.
    """
    _check_header(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a safetensors file: {error}") from error
    if bad := not_finite(weights):
        raise UserError(
            f"{path}: {len(bad)} of its tensors hold NaN or infinity, {bad[0]} first: the training"
            " diverged; train again with a lower learning rate"
        )
    return weights


def not_finite(weights: Mapping[str, NDArray[Any]]) -> list[str]:
    """The names of the tensors that hold NaN or an infinity."""
    return [n for n, a in weights.items() if a.dtype.kind == "f" and not np.isfinite(a).all()]


def _check_header(path: Path) -> None:
    """Refuse a file that cannot be a model file before a library maps it."""
    if not path.is_file():
        raise UserError(f"{path}: no such model file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if path.stat().st_size < 10 or length > min(_MAX_HEADER, path.stat().st_size - 8):
        raise UserError(f"{path}: truncated, or not a safetensors file")


def weights_folder() -> Path:
    """The package's own weights/ folder."""
    return share_folder() / "weights"


def resolve_model(
    name_or_path: str | Path, suffixes: tuple[str, ...] = (".safetensors",), variant: str = ""
) -> Path:
    """The file of a model.

    Args:
        name_or_path: a name under weights/; the path of a .safetensors or .onnx file, which stands
            for the files of the same name beside it too; or the folder of a training run.
        suffixes: the formats that are wanted. A path with one of these suffixes is taken as it is;
            otherwise the first suffix is taken for which there is a file.
        variant: the precision of the wanted export, such as "fp16" for NAME_fp16.onnx; empty:
            NAME.onnx. A path that is taken as it is may have any precision.

    Raises:
        UserError: no such model; the message lists the names that exist.
    """
    text = str(name_or_path)
    path = Path(text).expanduser()
    if text.endswith(SUFFIXES):
        if not path.is_file():
            raise UserError(f"model {text!r}: no such file")
        if text.endswith(suffixes):
            return path
        bases = _bases(path)
    elif text and path.name == text and any(weights_folder().glob(f"{glob.escape(text)}.*")):
        bases = [weights_folder() / text]
    elif text and path.is_dir():
        bases = [path / _only_model(path)]
    else:
        known = sorted({_stem(p) for s in suffixes for p in weights_folder().glob(f"*{s}")})
        raise UserError(
            f"unknown model {text!r}; known: {', '.join(known) or 'none'}, or a path to a"
            f" {' or '.join(suffixes)} file or to the folder of a training run"
        )
    ending = f"_{variant}" if variant else ""
    names = [f"{base.name}{ending}{suffix}" for base in bases for suffix in suffixes]
    for name in names:
        if (bases[0].parent / name).is_file():
            return bases[0].parent / name
    raise UserError(f"model {text!r}: there is no {' or '.join(names)} in {bases[0].parent}")


def model_files(name_or_path: str | Path) -> list[Path]:
    """All files of a model, sorted; backend and precision decide which of them runs.

    Raises:
        UserError: no such model.
    """
    found = resolve_model(name_or_path, SUFFIXES)
    base = _bases(found)[-1].name
    ends = [f"{end}{suffix}" for end in ("", "_*") for suffix in SUFFIXES]
    files = {p for end in ends for p in found.parent.glob(f"{glob.escape(base)}{end}")}
    return sorted(p for p in files if _bases(p)[-1].name == base)


def check_origin(path: Path, info: ModelInfo) -> None:
    """Refuse an export that was not made from the .safetensors file beside it.

    Args:
        path: the .onnx file. If there is no .safetensors file beside it, nothing is compared.
        info: the description in that .onnx file.

    Raises:
        UserError: the two files do not belong together, as after a new training without an export.
    """
    if info.export is None:
        return
    sources = (_with_suffix(base, ".safetensors") for base in _bases(path))
    source = next((file for file in sources if file.is_file()), None)
    if source is None:
        return
    if hashlib.sha256(source.read_bytes()).hexdigest() != info.export.source_sha256:
        kind = info.export.precision
        size = info.export.size
        options = f" --precision {kind}" if kind != "fp32" else ""
        options += f" --size {size[0]} {size[1]}" if size else ""
        raise UserError(
            f"{path} is stale: it was not made from {source.name} beside it, which is another"
            f" model; export that one with: lrn export {source} --format onnx{options}"
        )


# The endings that `lrn export` appends to a model's name: _fp16, _int8, _HxW.
_EXPORT_ENDING = re.compile(r"(?:_(?:fp16|int8))?(?:_\d+x\d+)?$")


def _bases(path: Path) -> list[Path]:
    """The path of a model file without its suffix, and also without the ending of an export."""
    stem = _stem(path)
    return [path.with_name(s) for s in dict.fromkeys((stem, _EXPORT_ENDING.sub("", stem) or stem))]


def _stem(path: Path) -> str:
    """A model file's name without its suffix; a name may have dots."""
    return path.name.removesuffix(".safetensors").removesuffix(".onnx")


def _with_suffix(base: Path, suffix: str) -> Path:
    return base.with_name(f"{base.name}{suffix}")


def _only_model(folder: Path) -> str:
    """The name of the one model in a folder."""
    weights = {_stem(p) for p in folder.glob("*.safetensors")}
    names = sorted(weights or {_bases(p)[-1].name for p in folder.glob("*.onnx")})
    if not names:
        raise UserError(
            f"model {str(folder)!r}: the folder has no .safetensors or .onnx file; lrn train writes"
            " the model when the training ends"
        )
    if len(names) > 1:
        raise UserError(
            f"model {str(folder)!r}: the folder has several models, {', '.join(names)}; name one of"
            " the files"
        )
    return names[0]
