# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn export: a model as one deployable file, compared with torch, or compiled ahead for a backend.

onnx writes a file. tensorrt and openvino compile the .onnx file of a model for this machine into
the engine cache, where the node finds it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lrn_ros.cli.common import positive, print_json
from lrn_ros.errors import RunError, UserError, needs

_FORMATS = ("onnx", "tensorrt", "openvino")
_PRECISIONS = ("fp32", "fp16", "int8")


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "export",
        help="write a model as an ONNX file, or compile it ahead for tensorrt or openvino",
        description=__doc__,
        epilog="The ONNX graph takes image, (N, H, W, 3) uint8 RGB at the network's size, and gives"
        " logits, float32 class scores at the network's stride.",
    )
    add = parser.add_argument
    files = (
        "a name under weights/, the path of a model file, or the folder of a training run;"
        " for onnx also 'all': every model under weights/ but the teachers, those stored in float16"
    )
    add("model", metavar="MODEL", help=files)
    add("--format", choices=_FORMATS, default="onnx",
        help="onnx: write a file; else: compile (%(default)s)")  # fmt: skip
    kinds = (
        "fp32, fp16 or int8; default: fp32 for onnx, else the backend's choice; for onnx also all"
    )
    add("--precision", choices=(*_PRECISIONS, "all"), help=kinds)
    add(
        "--size", type=positive, nargs=2, metavar=("H", "W"),
        help="onnx: take one image of this size at a time, default any; else: the network's size to"
        " compile for, default the trained one",
    )  # fmt: skip
    where = (
        "onnx: the file; default: beside the model, NAME.onnx, with _fp16, _int8, _HxW as asked;"
        " else: the folder of the cache, engine_cache_dir of the node; default: the user's"
    )
    add("--output", type=Path, metavar="PATH", help=where)
    data = (
        "onnx: compare on the val split of this data set, and calibrate int8 on its train split;"
        " default: on rendered street scenes"
    )
    add("--data", type=Path, metavar="DIR", help=data)
    force = "onnx: overwrite a file under the package's own weights/"
    add("--force", action="store_true", help=force)
    add("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write files, or compile."""
    size = tuple(args.size) if args.size else None
    every = "all" in (args.model, args.precision)
    if args.format != "onnx":
        if every:
            raise UserError(f"'all' is for --format onnx, not for {args.format}")
        return _compile(args, size)
    if args.output and every:
        raise UserError(f"--output {args.output} names one file, and 'all' writes several")
    reports = []
    for model in _models(args.model):
        for precision in _PRECISIONS if args.precision == "all" else (args.precision or "fp32",):
            reports.append(_write(args, model, precision, size))
    if args.json:
        print_json(reports if every else reports[0])
    return 0


def _models(name: str) -> list[Path]:
    """The .safetensors file of a model, or of every model under weights/ that is for a node."""
    from lrn_ros.model.artifact import read_info, resolve_model, weights_folder

    found = sorted(weights_folder().glob("*.safetensors")) if name == "all" else []
    recipes = {path: read_info(path).provenance.get("recipe", {}) for path in found}
    kept = [path for path, recipe in recipes.items() if recipe.get("storage") != "float16"]
    return kept or [resolve_model(name)]


def _compile(args: argparse.Namespace, size: tuple[int, int] | None) -> int:
    from lrn_ros.inference.cache import EngineCache
    from lrn_ros.inference.segmenter import Segmenter

    if args.data:
        raise UserError(f"--data is for --format onnx, not for {args.format}")
    folder = EngineCache(args.output).folder
    if folder is None:
        raise RunError("there is no folder for the compiled model; --output names another folder")
    precision = args.precision or "auto"
    segmenter = Segmenter.load(
        args.model, args.format, precision, network_size=size, cache_dir=folder
    )
    backend, geometry = segmenter.backend, segmenter.geometry(*(size or segmenter.info.size))
    start = time.perf_counter()
    backend.prepare(geometry)
    seconds = time.perf_counter() - start
    height, width = geometry.network
    if args.json:
        report = {"backend": backend.name, "precision": backend.precision, "seconds": seconds}
        where = {"device": backend.device_name, "size": geometry.network, "folder": str(folder)}
        print_json({"model": args.model, **report, **where})
        return 0
    what = f"{args.model} at {height}x{width} in {backend.precision}"
    print(f"compiled {what} on {backend.device_name} in {seconds:.1f} s, kept in {folder}")
    return 0


def _write(
    args: argparse.Namespace, model: Path, precision: str, size: tuple[int, int] | None
) -> dict[str, Any]:
    """Export, compare, write; what was done."""
    from lrn_ros.model.artifact import read_info, weights_folder

    out = args.output or model.with_name(_name(model.stem, precision, size))
    if out.suffix != ".onnx":
        raise UserError(f"--output {out}: the name of an ONNX file ends in .onnx")
    if out.is_file() and out.resolve().parent == weights_folder().resolve() and not args.force:
        raise UserError(
            f"{out}: a file that came with the package; --output names another, --force overwrites"
        )
    info = read_info(model)
    with needs("export", "export"):
        from lrn_ros.export import agreement
        from lrn_ros.export.onnx import export_onnx
    images: Iterable[Any]
    calibration: Iterable[Any] = ()
    if args.data:
        images = agreement.data_images(args.data, info.labels)
        if precision == "int8":
            calibration = agreement.calibration_images(args.data)
    else:
        images = agreement.scene_images(size or info.size)
        calibration = agreement.calibration_scenes(size or info.size)
    made = export_onnx(model, out, precision, size, images=images, calibration=calibration)
    figures = made.agreement
    report = {"model": str(out), "bytes": out.stat().st_size, **vars(made)}
    if args.json:
        return report
    on = f"the val split of {args.data}" if args.data else "rendered street scenes"
    print(f"wrote {out}: {precision}, {out.stat().st_size / 1e6:.1f} MB")
    print(
        f"same label as torch fp32 on {100 * figures['same_label']:.3f} % of the pixels of"
        f" {figures['images']} images ({on})"
    )
    if "miou" in figures:
        print(f"mIoU {100 * figures['miou']:.2f} %, torch fp32 {100 * figures['torch_miou']:.2f} %")
    return report


def _name(stem: str, precision: str, size: tuple[int, int] | None) -> str:
    parts = [stem]
    if precision != "fp32":
        parts.append(precision)
    if size is not None:
        parts.append(f"{size[0]}x{size[1]}")
    return "_".join(parts) + ".onnx"
