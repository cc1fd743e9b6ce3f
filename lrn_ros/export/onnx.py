# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX export: uint8 image in, coarse class scores out; normalisation and metadata inside."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from lrn_ros.errors import RunError, UserError
from lrn_ros.export.agreement import Image, RunModel, measure
from lrn_ros.export.quantise import quantise
from lrn_ros.export.shuffles import replace_shuffles
from lrn_ros.inference.backends.torch import load_network
from lrn_ros.inference.geometry import MULTIPLE, check_network_size
from lrn_ros.inference.preprocess import resize
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.model.artifact import KEY, ExportInfo, ModelInfo, write_atomically
from lrn_ros.model.json_text import to_json
from lrn_ros.model.labels import UNLABELLED
from lrn_ros.networks.blocks import fold_normalisation

logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision; nothing does

OPSET = 18
_EXAMPLE = (72, 104)  # a size that nothing divides: no size becomes a constant by accident


@dataclass(frozen=True)
class Precision:
    """Type of weights and activations, and the agreement with torch that an export must reach.

    Attributes:
        dtype: of weights and activations that are not quantised; the keys of the SVN are computed
            in float32.
        same_label: least share of pixels with the same label, 0-1.
        miou_loss: largest loss of mIoU where the images have labels, 0-1.
    """

    dtype: torch.dtype
    same_label: float
    miou_loss: float


PRECISIONS = {
    "fp32": Precision(torch.float32, 0.999, 0.001),
    "fp16": Precision(torch.float16, 0.995, 0.003),
    "int8": Precision(torch.float32, 0.985, 0.01),
}


def export_onnx(
    model: Path,
    out: Path,
    precision: str = "fp32",
    size: tuple[int, int] | None = None,
    *,
    images: Iterable[tuple[Image, Image | None]],
    calibration: Iterable[Image] = (),
) -> ExportInfo:
    """Export a .safetensors model to one self-contained ONNX file; see ExportInfo for its graph.

    Args:
        model: the .safetensors file.
        out: the file to write.
        precision: one of PRECISIONS.
        size: the only (height, width) the graph takes, multiples of 8 from 64 up, with one image
            at a time; None: any size and any number of images.
        images: what the agreement with torch is measured on, see lrn_ros.export.agreement.
        calibration: what "int8" takes its scales from, (H, W, 3) uint8 RGB images of any size that
            are not among `images`; read for "int8" only.

    Returns:
        What the file's metadata says of the export.

    Raises:
        UserError: a bad argument, or a file that is not such a model.
        RunError: the exported graph does not agree with torch; nothing is written.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if size is not None:
        check_network_size(size)
    reference = Segmenter.load(model, backend="torch", precision="fp32", network_size=size)
    seen = []
    if precision == "int8":
        seen = [resize(rgb, reference.geometry(rgb.shape[0], rgb.shape[1])) for rgb in calibration]
        if not seen:
            raise UserError("precision 'int8' needs images to calibrate on")
    network = fold_normalisation(load_network(model, reference.info))
    traced = trace(ImageNetwork(network, reference.info, PRECISIONS[precision].dtype), size)
    graph = replace_shuffles(traced)
    if seen:
        graph = quantise(graph, seen)
    _forget_origin(graph)
    figures = measure(reference, runner(graph), images)
    _check(figures, precision)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    export = ExportInfo(precision, reference.backend.stride, size, digest, figures)
    for key, value in describe(replace(reference.info, export=export)).items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(graph)
    write_atomically(out, graph.SerializeToString())
    return export


def describe(info: ModelInfo) -> dict[str, str]:
    """The metadata of an exported file: KEY for this package, the others for anybody's program.

    docs/onnx.md explains the keys.
    """
    export = info.export
    if export is None:
        raise ValueError(f"{info.name} is not exported")
    count, height, width = (1, *export.size) if export.size else ("N", "H", "W")
    free = "" if export.size else f"; H and W are multiples of {MULTIPLE} from 64 up"
    shrunk = f"{height}/{export.stride}, {width}/{export.stride}"
    return {
        KEY: info.to_json(),
        "input": f"image: uint8 RGB ({count}, {height}, {width}, 3){free}",
        "output": f"logits: float32 ({count}, {len(info.labels)}, {shrunk}), before the softmax",
        "color_order": "RGB",
        "size_multiple": str(MULTIPLE),
        "trained_size": f"{info.size[0]}x{info.size[1]}",
        "stride": str(export.stride),
        "class_names": to_json(info.labels.names),
        "class_colors": to_json(info.labels.colors),
        "unlabelled": str(UNLABELLED),
        "temperature": str(info.temperature),
        "license": info.license,
    }


def _check(figures: dict[str, Any], precision: str) -> None:
    bar = PRECISIONS[precision]
    if figures["same_label"] < bar.same_label:
        raise RunError(
            f"nothing written: {precision} gives {100 * figures['same_label']:.3f} % of the pixels"
            f" of {figures['images']} images the label that torch gives, at least"
            f" {100 * bar.same_label:g} % are needed{_advice(precision, figures)}"
        )
    loss = figures.get("torch_miou", 0.0) - figures.get("miou", 0.0)
    if loss > bar.miou_loss:
        raise RunError(
            f"nothing written: {precision} loses {100 * loss:.2f} points of mIoU, at most"
            f" {100 * bar.miou_loss:g} may be lost{_advice(precision, figures)}"
        )


def _advice(precision: str, figures: dict[str, Any]) -> str:
    """Advice for the user if an export is refused."""
    if precision != "int8":
        return "; fp32 works" if precision == "fp16" else ""
    own = "" if "miou" in figures else " calibrate with --data DIR on images of your own camera, or"
    return f";{own} take more images into its train split, or --precision fp16"


class ImageNetwork(nn.Module):
    """A network with its normalisation in front: uint8 images to float32 coarse scores.

    Args:
        network: a network with the method `coarse`.
        info: description of the model, whose mean and std are used.
        dtype: type of weights and activations; the normalisation and the scores are float32.
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, info: ModelInfo, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network.to(dtype), dtype
        mean, std = torch.tensor(info.mean), torch.tensor(info.std)
        self.register_buffer("gain", 1 / (255 * std))
        self.register_buffer("offset", -mean / std)

    def forward(self, image: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 RGB -> (N, K, h, w) float32."""
        x = image.float() * self.gain + self.offset  # TensorRT transposes no uint8
        x = x.permute(0, 3, 1, 2).to(self.dtype)
        return self.network.coarse(x).float()  # type: ignore[operator]


def trace(module: nn.Module, size: tuple[int, int] | None) -> onnx.ModelProto:
    """The graph of a module from `image`, (N, H, W, 3) uint8, to `logits`.

    Args:
        module: a module in evaluation mode.
        size: see export_onnx.
    """
    image = torch.zeros((1 if size else 2, *(size or _EXAMPLE), 3), dtype=torch.uint8)
    # The least is below the documented 64: nothing in the graph depends on it.
    rows, columns = (Dim(name, min=2) for name in ("rows", "columns"))
    free = {0: Dim("batch", min=1), 1: MULTIPLE * rows, 2: MULTIPLE * columns}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=FutureWarning)
        program = torch.onnx.export(
            module.eval(),
            (image,),
            input_names=["image"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=None if size else {"image": free},
            external_data=False,
            verbose=False,
        )
    graph: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]
    return graph


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes of the source of every node: stack traces and paths."""
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    for part in (graph, model):
        del part.metadata_props[:]
        part.ClearField("doc_string")


def runner(model: onnx.ModelProto) -> RunModel:
    """The graph in onnxruntime on the CPU: (N, H, W, 3) uint8 -> (N, K, h, w) float32."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(image: Image) -> NDArray[np.float32]:
        (logits,) = session.run(["logits"], {"image": image})
        return np.asarray(logits)

    return run
