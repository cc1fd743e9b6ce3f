# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn evaluate: accuracy of a model on a labelled data set, from one confusion matrix."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping
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
from lrn_ros.errors import needs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lrn_ros.data.datasets import Files, Pair
    from lrn_ros.inference.segmenter import Segmenter

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
        " (Cityscapes), or images/SPLIT/ and labels/SPLIT/.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a name under weights/, or a path")
    add("dataset", type=Path, metavar="DATASET", help="folder of images with label PNGs")
    add("--split", default="val", help="(%(default)s)")
    add("--limit", type=positive, help="only the first so many images")
    add("--flip", action="store_true", help="average with the mirror image; takes twice as long")
    scales = "average over network inputs so many times as large, such as 0.75 1 1.25 (1)"
    add("--scales", type=scale, nargs="+", default=_PLAIN, metavar="S", help=scales)
    kinds = f"also on corrupted images, five strengths of each kind: {', '.join(_KINDS)} (all)"
    add("--corrupt", nargs="*", choices=_KINDS, metavar="KIND", help=kinds)
    add("--output", type=Path, metavar="DIR", help=f"folder for {_REPORT} and {_PICTURE}")
    add_segmenter_options(parser)
    add("--json", action="store_true", help="print as JSON, with the matrix")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment every image at its own size and compare; unlabelled pixels do not count."""
    import numpy as np
    from tqdm import tqdm

    from lrn_ros.data.datasets import find_files, read_pair
    from lrn_ros.metrics.confusion import confusion_matrix

    if args.output is not None:
        _check_matplotlib()
    files = find_files(args.dataset, args.split)[: args.limit]
    segmenter = load_segmenter(args)
    if args.output is not None:
        claim_output(args.output, "evaluate")
        for name in (_REPORT, _PICTURE):
            (args.output / name).unlink(missing_ok=True)
    classes = len(segmenter.labels)
    matrices = {_sequence(f): np.zeros((classes, classes + 1), np.int64) for f in files}
    corrupted = _Corrupted(args.corrupt, classes)
    for i, file in enumerate(tqdm(files, unit="image", disable=not sys.stderr.isatty())):
        pair = read_pair(file, segmenter.labels)
        mask = _mask(segmenter, pair.rgb, args)
        matrices[_sequence(file)] += confusion_matrix(pair.label, mask, classes)
        corrupted.add(i, pair, lambda rgb: _mask(segmenter, rgb, args))
    report = _report(segmenter, args, files, matrices) | {"corruptions": corrupted.figures()}
    if args.output is not None:
        _write(args.output, report)
    if args.json:
        print_json(report)
    else:
        _print(report)
        if args.output is not None:
            print(f"wrote {args.output}/: {_REPORT}, {_PICTURE}")
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
        import lrn_ros.report.confusion_picture  # noqa: F401


def _sequence(file: Files) -> str:
    """Its sequence; nothing where the name does not tell one."""
    from lrn_ros.data.datasets import sequence

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
    matrices: Mapping[str, NDArray[np.int64]],
) -> dict[str, Any]:
    from collections import Counter

    import numpy as np

    from lrn_ros.metrics.confusion import scores

    images = Counter(_sequence(f) for f in files)
    matrix = np.sum(list(matrices.values()), axis=0)
    found = scores(matrix)
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
        "pixel_accuracy": found.pixel_accuracy,
        "classes": found.by_class(segmenter.labels.names),
        "sequences": {
            name: {"images": images[name], "miou": scores(matrices[name]).miou}
            for name in sorted(matrices)
            if name
        },
        "confusion": matrix.tolist(),
    }


def _write(folder: Path, report: dict[str, Any]) -> None:
    import numpy as np

    from lrn_ros.report.confusion_picture import draw_confusion

    write_json(folder / _REPORT, report)
    data = f"{Path(report['dataset']).resolve().name} {report['split']}"
    title = f"{report['model']} on {data}: mIoU {_percent(report['miou'])} %"
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
    width = max(18, *(len(n) for n in (*report["classes"], *report["sequences"])))
    columns = ("iou", "precision", "recall", "share")
    heads = ("IoU", *columns[1:])
    print(f"{'class, %':{width}}" + "".join(f" {head:>9}" for head in heads))
    for name, figures in report["classes"].items():
        print(f"{name:{width}}" + "".join(f" {_percent(figures[c]):>9}" for c in columns))
    print(f"{'mIoU':{width}} {_percent(report['miou']):>9} %")
    print(f"{'pixel accuracy':{width}} {_percent(report['pixel_accuracy']):>9} %")
    if report["corruptions"]:
        strengths = "".join(f" {s:>9}" for s in (1, 2, 3, 4, 5, "mean"))
        print(f"\n{'corrupted, mIoU %':{width}}{strengths}")
        for kind, figures in report["corruptions"].items():
            cells = [*figures, sum(figures) / len(figures)]
            print(f"{kind:{width}}" + "".join(f" {_percent(v):>9}" for v in cells))
    # Where every image is a sequence of its own, they tell nothing more.
    if 1 < len(report["sequences"]) < report["images"]:
        print(f"\n{'sequence':{width}} {'mIoU, %':>9} {'images':>9}")
        for name, figures in report["sequences"].items():
            print(f"{name:{width}} {_percent(figures['miou']):>9} {figures['images']:9}")


def _percent(value: float) -> str:
    return f"{100 * value:.2f}" if math.isfinite(value) else "-"
