# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Builds every architecture in every precision for several GPUs with TensorRT for RTX.

python benchmark/engines.py --output benchmark/engines.md     # needs no GPU; a quarter of an hour
python benchmark/engines.py --architectures lrnnet_c --gpus SM89 --size 512 1024
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from lrn_ros.export.onnx import ImageNetwork, trace
from lrn_ros.export.quantise import quantise
from lrn_ros.export.shuffles import replace_shuffles
from lrn_ros.inference.backends.base import BackendError
from lrn_ros.inference.engine_build import PRODUCT, build, parse, trt
from lrn_ros.model.artifact import ModelInfo
from lrn_ros.model.labels import LabelSet
from lrn_ros.networks import architectures
from lrn_ros.networks import build as build_network
from lrn_ros.networks.blocks import fold_normalisation

GPUS = {"SM80": (8, 0), "SM86": (8, 6), "SM89": (8, 9), "SM120": (12, 0), "SM121": (12, 1)}
SIZE = 64, 96
_TYPES = {"fp32": "FLOAT", "fp16": "HALF"}


@dataclass(frozen=True)
class Row:
    """The result for an architecture in a precision.

    Attributes:
        convolutions: in the ONNX graph.
        typed: those that TensorRT's network has in the precision: with an output of that type, for
            int8 with image and weights that come from int8.
        engines: by GPU the engine's size in bytes, or why there is none.
    """

    architecture: str
    precision: str
    convolutions: int
    typed: int
    engines: dict[str, int | str]

    @property
    def is_whole(self) -> bool:
        """Whether every engine was built, with every convolution in the precision."""
        built = all(isinstance(size, int) for size in self.engines.values())
        return built and self.typed == self.convolutions


def measure(architecture: str, gpus: list[str], size: tuple[int, int] = SIZE) -> Iterator[Row]:
    """Build the engines of an architecture with random weights and eleven classes.

    Args:
        architecture: one of lrn_ros.networks.
        gpus: names in GPUS.
        size: (height, width) of the network's input.
    """
    with tempfile.TemporaryDirectory(prefix="lrn_ros.") as folder:
        for precision, graph in _graphs(architecture, size):
            path = Path(folder, f"{architecture}_{precision}.onnx")
            onnx.save(graph, path)
            engines = {gpu: _build(path, (1, *size), GPUS[gpu]) for gpu in gpus}
            convolutions = sum(node.op_type == "Conv" for node in graph.graph.node)
            typed = _typed(path, (1, *size), precision)
            yield Row(architecture, precision, convolutions, typed, engines)


def _graphs(architecture: str, size: tuple[int, int]) -> Iterator[tuple[str, onnx.ModelProto]]:
    full = _trace(architecture, torch.float32, size)
    yield "fp32", full
    yield "fp16", _trace(architecture, torch.float16, size)
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    yield "int8", quantise(full, [rgb])


def _trace(architecture: str, dtype: torch.dtype, size: tuple[int, int]) -> onnx.ModelProto:
    labels, grey = LabelSet.load("camvid11"), (0.5, 0.5, 0.5)
    info = ModelInfo("random", architecture, labels, grey, grey, size, "none: random weights")
    network = build_network(architecture, num_classes=len(labels)).eval()
    return replace_shuffles(trace(ImageNetwork(fold_normalisation(network), info, dtype), size))


def _build(path: Path, shape: tuple[int, int, int], capability: tuple[int, int]) -> int | str:
    try:
        return len(build(path, shape, capability))
    except BackendError as error:
        return str(error)


def _typed(path: Path, shape: tuple[int, int, int], precision: str) -> int:
    _, network = parse(path, shape)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    convolutions = [layer for layer in layers if layer.type == trt.LayerType.CONVOLUTION]
    if precision != "int8":
        return sum(c.get_output(0).dtype.name == _TYPES[precision] for c in convolutions)
    dequantised = [layer for layer in layers if layer.type == trt.LayerType.DEQUANTIZE]
    from_int8 = {
        d.get_output(0).name for d in dequantised if d.get_input(0).dtype == trt.DataType.INT8
    }
    return sum({c.get_input(i).name for i in (0, 1)} <= from_int8 for c in convolutions)


def _line(row: Row) -> str:
    sizes = [f"{n / 1e6:.1f}" if isinstance(n, int) else "none" for n in row.engines.values()]
    typed = f"{row.typed} of {row.convolutions}"
    cells = row.architecture, row.precision, typed, *sizes
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", nargs="+", default=architectures(), metavar="NAME")
    parser.add_argument("--gpus", nargs="+", choices=GPUS, default=list(GPUS))
    size = "of the network's input (64 96)"
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("H", "W"), help=size)
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="also write the table to this file"
    )
    args = parser.parse_args()
    head = ["architecture", "precision", "convolutions in it", *args.gpus]
    shape = "1x{}x{}".format(*args.size)
    lines = [
        f"Engines of {PRODUCT} for an input of {shape}, in MB: built, not run.\n",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    print("\n".join(lines), flush=True)
    failed = []
    for name in args.architectures:
        for row in measure(name, args.gpus, tuple(args.size)):
            lines.append(_line(row))
            print(lines[-1], flush=True)
            failed += [] if row.is_whole else [row]
    for row in failed:
        reasons = [why for why in row.engines.values() if isinstance(why, str)]
        print(f"{row.architecture} {row.precision}: {'; '.join(reasons)}", file=sys.stderr)
    if args.output:
        args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
