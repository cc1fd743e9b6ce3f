# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn evaluate: accuracy of a model on a labelled data set, from one confusion matrix."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import add_segmenter_options, load_segmenter, positive, print_json

if TYPE_CHECKING:
    from lrn_ros.evaluation.confusion import Scores
    from lrn_ros.inference.segmenter import Segmenter


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "evaluate", help="per-class IoU, mIoU and pixel accuracy", description=__doc__
    )
    parser.add_argument("model", metavar="MODEL", help="a name under weights/, or a path")
    parser.add_argument(
        "dataset", type=Path, metavar="DATASET", help="folder with SPLIT/ and SPLITannot/"
    )
    parser.add_argument("--split", default="val", help="(%(default)s)")
    parser.add_argument("--limit", type=positive, help="only the first so many images")
    add_segmenter_options(parser)
    parser.add_argument("--json", action="store_true", help="print as JSON, with the matrix")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment every image at its own size and compare; unlabelled pixels do not count."""
    from itertools import islice

    import numpy as np
    from tqdm import tqdm

    from lrn_ros.dataset import image_files, read_pairs, split_folders
    from lrn_ros.evaluation.confusion import confusion_matrix, scores

    images, annotations = split_folders(args.dataset, args.split)
    count = len(image_files(images))
    segmenter = load_segmenter(args)
    classes = len(segmenter.labels)
    pairs = islice(read_pairs(images, annotations, segmenter.labels), args.limit)
    matrix, done = np.zeros((classes, classes + 1), np.int64), 0
    total = min(count, args.limit or count)
    for pair in tqdm(pairs, total=total, unit="image", disable=not sys.stderr.isatty()):
        matrix += confusion_matrix(pair.label, segmenter(pair.rgb).mask, classes)
        done += 1
    report = _report(segmenter, args, done, scores(matrix))
    if args.json:
        print_json(report | {"confusion": matrix.tolist()})
    else:
        _print(report)
    return 0


def _report(
    segmenter: Segmenter, args: argparse.Namespace, images: int, found: Scores
) -> dict[str, Any]:
    return {
        "model": segmenter.info.name,
        "architecture": segmenter.info.architecture,
        "license": segmenter.info.license,
        "backend": segmenter.backend.name,
        "precision": segmenter.backend.precision,
        "dataset": str(args.dataset),
        "split": args.split,
        "images": images,
        "miou": found.miou,
        "pixel_accuracy": found.pixel_accuracy,
        "iou": dict(zip(segmenter.labels.names, found.iou, strict=True)),
    }


def _print(report: dict[str, Any]) -> None:
    print(
        f"{report['model']} ({report['backend']} {report['precision']}) on"
        f" {report['dataset']} {report['split']}, {report['images']} images"
    )
    width = max(14, *(len(n) for n in report["iou"]))
    for name, iou in report["iou"].items():
        print(f"{name:{width}} {100 * iou:6.2f} %" if iou == iou else f"{name:{width}}  absent")
    print(f"{'mIoU':{width}} {100 * report['miou']:6.2f} %")
    print(f"{'pixel accuracy':{width}} {100 * report['pixel_accuracy']:6.2f} %")
