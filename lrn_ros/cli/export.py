# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn export: a model as one deployable file, compared with torch before it is written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lrn_ros.cli.common import positive, print_json
from lrn_ros.errors import UserError

_FORMATS = ("onnx", "tensorrt", "openvino")


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "export",
        help="a model as an ONNX file, with its agreement with torch",
        description=__doc__,
        epilog="The graph takes image, (N, H, W, 3) uint8 RGB at the network's size, and gives"
        " logits, float32 class scores at the network's stride.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a name under weights/, or a path to a .safetensors file")
    add("--format", choices=_FORMATS, required=True, help="onnx; the others come later")
    add("--precision", choices=("fp32", "fp16"), default="fp32", help="(%(default)s)")
    add(
        "--size", type=positive, nargs=2, metavar=("H", "W"),
        help="fix the network's size and take one image at a time; default: any size, any number",
    )  # fmt: skip
    where = "file to write; default: beside the model, NAME.onnx, with _fp16 and _HxW as asked for"
    add("--output", type=Path, metavar="FILE", help=where)
    data = "compare on the val split of this data set; default: on a few rendered street scenes"
    add("--data", type=Path, metavar="DIR", help=data)
    add("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export, compare, write."""
    from lrn_ros.artifact import read_info, resolve_model

    if args.format != "onnx":
        raise UserError(f"--format {args.format}: not in this version; onnx is")
    model = resolve_model(args.model)
    size = tuple(args.size) if args.size else None
    out = args.output or model.with_name(_name(model.stem, args.precision, size))
    if out.suffix != ".onnx":
        raise UserError(f"--output {out}: the name of an ONNX file ends in .onnx")
    info = read_info(model)
    try:
        from lrn_ros.export.agreement import data_images, scene_images
        from lrn_ros.export.onnx import export_onnx
    except ImportError as error:
        if (error.name or "").startswith("lrn_ros"):
            raise
        raise UserError(f"export: {error}; pip install 'lrn_ros[export]'") from error
    images = data_images(args.data, info.labels) if args.data else scene_images(size or info.size)
    made = export_onnx(model, out, args.precision, size, images=images)
    figures = made.agreement
    if args.json:
        print_json({"model": str(out), "bytes": out.stat().st_size, **vars(made)})
        return 0
    on = f"the val split of {args.data}" if args.data else "rendered street scenes"
    print(f"wrote {out}: {args.precision}, {out.stat().st_size / 1e6:.1f} MB")
    print(
        f"same label as torch fp32 on {100 * figures['same_label']:.3f} % of the pixels of"
        f" {figures['images']} images ({on})"
    )
    if "miou" in figures:
        print(f"mIoU {100 * figures['miou']:.2f} %, torch fp32 {100 * figures['torch_miou']:.2f} %")
    return 0


def _name(stem: str, precision: str, size: tuple[int, int] | None) -> str:
    parts = [stem]
    if precision != "fp32":
        parts.append(precision)
    if size is not None:
        parts.append(f"{size[0]}x{size[1]}")
    return "_".join(parts) + ".onnx"
