# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn evaluate: accuracy of a model on a labelled data set, from one confusion matrix."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import (
    add_segmenter_options,
    claim_output,
    load_segmenter,
    positive,
    print_json,
    scale,
    write_json,
)
from lrn_ros.errors import RunError, needs
from lrn_ros.metrics.text import hundredths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lrn_ros.data.datasets import Pair
    from lrn_ros.data.layouts import Files
    from lrn_ros.inference.segmenter import Segmenter
    from lrn_ros.metrics.confusion import ObjectHits
    from lrn_ros.model.labels import LabelSet

    Image = NDArray[np.uint8]

_PLAIN = [1.0]  # scales
# The keys of lrn_ros.data.corruptions, which is imported when it is needed.
_KINDS = ("fog", "rain", "noise", "darkness", "over-exposure", "jpeg", "motion-blur")
_REPORT, _PICTURE = "report.json", "confusion.png"


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "evaluate",
        help="IoU, precision and recall per class, mIoU and pixel accuracy",
        description=__doc__,
        epilog="DATASET holds SPLIT/ and SPLITannot/ (CamVid), leftImg8bit/SPLIT/ and gtFine/SPLIT/"
        " (Cityscapes), images/SPLIT/ and labels/SPLIT/, or another layout of docs/training.md.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a name under weights/, or a path")
    add("dataset", type=Path, metavar="DATASET", help="folder of images with label PNGs")
    add("--split", default="val", help="(%(default)s)")
    add("--limit", type=positive, help="stop after so many images")
    add("--flip", action="store_true", help="average with the mirror image; takes twice as long")
    scales = "average over network inputs so many times as large, such as 0.75 1 1.25 (1)"
    add("--scales", type=scale, nargs="+", default=_PLAIN, metavar="S", help=scales)
    kinds = f"also on corrupted images, five strengths of each kind: {', '.join(_KINDS)} (all)"
    add("--corrupt", nargs="*", choices=_KINDS, metavar="KIND", help=kinds)
    add("--output", type=Path, metavar="DIR", help=f"folder for {_REPORT} and {_PICTURE}")
    add(
        "--predictions",
        type=Path,
        metavar="DIR",
        help="folder for every mask as NAME.png with the data set's own label ids, the form that"
        " Cityscapes' evaluation server takes",
    )
    add_segmenter_options(parser)
    add("--json", action="store_true", help="print as JSON, with the matrix")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment every image at its own size and compare; unlabelled pixels do not count."""
    from tqdm import tqdm

    from lrn_ros.data.datasets import read_instances, read_pair
    from lrn_ros.data.layouts import find_files
    from lrn_ros.metrics.confusion import ObjectHits, confusion_matrix

    if args.output is not None:
        _check_matplotlib()
    files = find_files(args.dataset, args.split)[: args.limit]
    segmenter = load_segmenter(args)
    if args.output is not None:
        claim_output(args.output, "evaluate")
        for name in (_REPORT, _PICTURE):
            (args.output / name).unlink(missing_ok=True)
    classes = len(segmenter.labels)
    matrices: dict[str, list[NDArray[np.int64]]] = {_sequence(f): [] for f in files}
    corrupted, objects = _Corrupted(args.corrupt, classes), ObjectHits(segmenter.labels)
    without = 0  # images without instances
    if args.predictions is not None:
        claim_output(args.predictions, "evaluate --predictions", "--predictions")
    for i, file in enumerate(tqdm(files, unit="image", disable=not sys.stderr.isatty())):
        pair = read_pair(file, segmenter.labels)
        mask = _mask(segmenter, pair.rgb, args)
        matrices[_sequence(file)].append(confusion_matrix(pair.label, mask, classes))
        corrupted.add(i, pair, lambda rgb: _mask(segmenter, rgb, args))
        if segmenter.labels.object_sizes:
            instances = read_instances(file, pair.label.shape)
            objects.add(mask, instances)
            without += instances is None
        if args.predictions is not None:
            _write_prediction(args.predictions / f"{file.name}.png", mask, segmenter.labels)
    if 0 < without < len(files):
        print(
            f"no iIoU: {without} of {len(files)} images have no _instanceIds.png", file=sys.stderr
        )
    report = _report(segmenter, args, files, matrices, objects)
    report |= {"corruptions": corrupted.figures()}
    if args.output is not None:
        _write(args.output, report)
    if args.json:
        print_json(report)
    else:
        _print(report)
        if args.output is not None:
            print(f"wrote {args.output}/: {_REPORT}, {_PICTURE}")
        if args.predictions is not None:
            print(f"wrote {args.predictions}/: {len(files)} predictions as label ids")
    return 0


class _Corrupted:
    """Confusion matrices of corrupted images, by kind and strength.

    Args:
        kinds: None: none; empty: all.
        classes: K.
    """

    def __init__(self, kinds: list[str] | None, classes: int) -> None:
        import numpy as np

        from lrn_ros.data.corruptions import STRENGTHS

        wanted = () if kinds is None else dict.fromkeys(kinds) or _KINDS
        self._matrices = {
            kind: np.zeros((len(STRENGTHS), classes, classes + 1), np.int64) for kind in wanted
        }

    def add(self, index: int, pair: Pair, segment: Callable[[Image], Image]) -> None:
        """Segment an image under every kind and strength."""
        from lrn_ros.data.corruptions import STRENGTHS, corrupt
        from lrn_ros.metrics.confusion import confusion_matrix

        for kind, matrices in self._matrices.items():
            for matrix, strength in zip(matrices, STRENGTHS):
                mask = segment(corrupt(pair.rgb, kind, strength, index))
                matrix += confusion_matrix(pair.label, mask, len(matrix))

    def figures(self) -> dict[str, list[float]]:
        """The mIoU of every kind at strengths 1 to 5."""
        from lrn_ros.metrics.confusion import scores

        return {k: [scores(m).miou for m in matrices] for k, matrices in self._matrices.items()}


def _check_matplotlib() -> None:
    with needs("evaluate", "--output draws with matplotlib"):
        import lrn_ros.report.drawings  # noqa: F401


def _sequence(file: Files) -> str:
    """Its sequence; nothing where the name does not tell one."""
    from lrn_ros.data.layouts import sequence

    return sequence(file.name) if "_" in file.name else ""


def _mask(
    segmenter: Segmenter, rgb: NDArray[np.uint8], args: argparse.Namespace
) -> NDArray[np.uint8]:
    import numpy as np

    from lrn_ros.inference.views import mean_probability

    if not args.flip and args.scales == _PLAIN:
        return segmenter(rgb).mask
    return mean_probability(segmenter, rgb, args.scales, args.flip).argmax(0).astype(np.uint8)


def _report(
    segmenter: Segmenter,
    args: argparse.Namespace,
    files: list[Files],
    matrices: Mapping[str, Sequence[NDArray[np.int64]]],
    objects: ObjectHits,
) -> dict[str, Any]:
    import numpy as np

    from lrn_ros.metrics.confusion import mean, scores
    from lrn_ros.replay.blocks import miou_interval

    sums = {name: np.sum(of_images, axis=0) for name, of_images in matrices.items()}
    matrix = np.sum(list(sums.values()), axis=0)
    found = scores(matrix)
    names = segmenter.labels.names
    per_class = found.by_class(names)
    iiou = objects.iou(matrix)
    for name, value in zip(names, iiou):
        per_class[name]["iiou"] = value
    return {
        "model": segmenter.info.name,
        "architecture": segmenter.info.architecture,
        "license": segmenter.info.license,
        "backend": segmenter.backend.name,
        "precision": segmenter.backend.precision,
        "dataset": str(args.dataset),
        "split": args.split,
        "images": len(files),
        "network_size": args.network_size,
        "scales": args.scales,
        "flip": args.flip,
        "miou": found.miou,
        "miou_interval": miou_interval(list(matrices.values())),
        "pixel_accuracy": found.pixel_accuracy,
        "iiou": mean(iiou),
        "classes": per_class,
        **_categories(segmenter.labels, matrix, objects),
        "sequences": {
            name: {"images": len(matrices[name]), "miou": scores(sums[name]).miou}
            for name in sorted(matrices)
            if name
        },
        "confusion": matrix.tolist(),
    }


def _categories(labels: LabelSet, matrix: NDArray[np.int64], objects: ObjectHits) -> dict[str, Any]:
    """The figures of the categories, as Cityscapes' benchmark has them; nothing without any."""
    from lrn_ros.metrics.confusion import mean, merged, scores

    if not labels.categories:
        return {}
    of_categories = merged(matrix, labels.category_ids)
    found, iiou = scores(of_categories), objects.iou_of_categories(of_categories)
    return {
        "category_miou": found.miou,
        "category_iiou": mean(iiou),
        "categories": {
            name: {"iou": iou, "iiou": instance}
            for name, iou, instance in zip(labels.category_names, found.iou, iiou)
        },
    }


def _write_prediction(path: Path, mask: NDArray[np.uint8], labels: LabelSet) -> None:
    """Write a mask with the label set's own ids, which Cityscapes' evaluation server takes."""
    import cv2
    import numpy as np

    table = np.full(256, min(labels.void, default=labels.ignore), np.uint8)
    table[: len(labels)] = labels.ids or range(len(labels))
    if not cv2.imwrite(str(path), table[mask]):
        raise RunError(f"{path}: cannot be written")


def _write(folder: Path, report: dict[str, Any]) -> None:
    import numpy as np

    from lrn_ros.report.drawings import draw_confusion

    write_json(folder / _REPORT, report)
    data = f"{Path(report['dataset']).resolve().name} {report['split']}"
    title = f"{report['model']} on {data}: mIoU {hundredths(report['miou'], 2)} %"
    matrix = np.array(report["confusion"])
    draw_confusion(folder / _PICTURE, matrix, list(report["classes"]), title)


def _print(report: dict[str, Any]) -> None:
    scales = " ".join(f"{s:g}" for s in report["scales"])
    print(
        f"{report['model']} ({report['backend']} {report['precision']}) on {report['dataset']}"
        f" {report['split']}, {report['images']} images"
        + (f", scales {scales}" if report["scales"] != _PLAIN else "")
        + (", with mirror images" if report["flip"] else "")
    )
    least = 21 if "categories" in report else 18
    width = max(least, *(len(n) for n in (*report["classes"], *report["sequences"])))
    columns = ["iou", "precision", "recall", "share"]
    if math.isfinite(report["iiou"]):
        columns.insert(1, "iiou")
    heads = [{"iou": "IoU", "iiou": "iIoU"}.get(c, c) for c in columns]
    print(f"{'class, %':{width}}" + "".join(f" {head:>9}" for head in heads))
    for name, figures in report["classes"].items():
        print(f"{name:{width}}" + "".join(f" {hundredths(figures[c], 2):>9}" for c in columns))
    for name, figures in report.get("categories", {}).items():
        label = f"category {name}"
        print(f"{label:{width}} {hundredths(figures['iou'], 2):>9}", end="")
        print(f" {hundredths(figures['iiou'], 2):>9}" if "iiou" in columns else "")
    low, high = report["miou_interval"]
    ends = f"{hundredths(low, 2)} to {hundredths(high, 2)}"
    spread = f"   95 % interval {ends}" if math.isfinite(low) else ""
    print(f"{'mIoU':{width}} {hundredths(report['miou'], 2):>9} %{spread}")
    for key in ("category_miou", "iiou", "category_iiou"):
        if math.isfinite(report.get(key, math.nan)):
            label = key.replace("_", " ").replace("iou", "IoU")
            print(f"{label:{width}} {hundredths(report[key], 2):>9} %")
    print(f"{'pixel accuracy':{width}} {hundredths(report['pixel_accuracy'], 2):>9} %")
    if report["corruptions"]:
        strengths = "".join(f" {s:>9}" for s in (1, 2, 3, 4, 5, "mean"))
        print(f"\n{'corrupted, mIoU %':{width}}{strengths}")
        for kind, figures in report["corruptions"].items():
            cells = [*figures, sum(figures) / len(figures)]
            print(f"{kind:{width}}" + "".join(f" {hundredths(v, 2):>9}" for v in cells))
    # Where every image is a sequence of its own, they tell nothing more.
    if 1 < len(report["sequences"]) < report["images"]:
        print(f"\n{'sequence':{width}} {'mIoU, %':>9} {'images':>9}")
        for name, figures in report["sequences"].items():
            print(f"{name:{width}} {hundredths(figures['miou'], 2):>9} {figures['images']:9}")
