# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn compare: two replays of the same frames side by side; a release gate."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import points, print_json

if TYPE_CHECKING:
    from lrn_ros.replay.comparison import Comparison, Difference, Run

_FIGURES = (
    ("miou", "mIoU, %"),
    ("pixel_accuracy", "pixels right, %"),
    ("boundary_f", "boundary F-score, %"),
    ("ece", "calibration error, %"),
    ("consistency", "consistency, %"),
    ("flicker", "flicker, %"),
)
_FEW = 10  # blocks below which intervals are rough


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "compare",
        help="two replays of the same frames side by side; a release gate",
        description=__doc__,
        epilog="Exit status: 0 B is as good as A within the margins, 1 it falls behind by more, 2"
        " the runs do not compare. A loss whose 95 % interval of B - A holds gains too is marked:"
        " more frames would tell. Intervals: bootstrap over blocks of one second of consecutive"
        " frames, the same blocks for both.",
    )
    add = parser.add_argument
    add("a", type=Path, metavar="RUN_A", help="folder of lrn replay --output: what there was")
    add("b", type=Path, metavar="RUN_B", help="likewise: what is to be released")
    add("--margin", type=points, default=0.5, metavar="POINTS", help="by which mIoU and temporal"
        " consistency may be lower, percentage points (%(default)s)")  # fmt: skip
    add("--class-margin", type=points, metavar="POINTS",
        help="by which the IoU of any class may be lower; default: it may be anything")  # fmt: skip
    add("--latency-margin", type=points, metavar="PERCENT", help="by which the latency's median and"
        " 95th percentile may be higher; default: they may be anything")  # fmt: skip
    add("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print and judge."""
    from lrn_ros.replay.comparison import Margins, compare, losses, read_run, unlike

    a, b = read_run(args.a), read_run(args.b)
    found = compare(a, b)
    lost = losses(found, Margins(args.margin, args.class_margin, args.latency_margin))
    if args.json:
        models = {n: {"run": str(r.folder), "model": r.results["model"]} for n, r in _sides(a, b)}
        worse = [asdict(loss) for loss in lost]
        print_json({**models, **asdict(found), "unlike": unlike(a, b), "worse": worse})
    else:
        _print(a, b, found)
        if differ := unlike(a, b):
            print(f"note      the runs differ in {', '.join(differ)}: so may latencies")
        if found.unpaired:
            print(
                f"note      {', '.join(found.unpaired)}: not in the ground truth, and answered by"
                " one run alone; left out"
            )
        for loss in lost:
            chance = "" if loss.sure else "; it may be chance, more frames would tell"
            print(f"worse     {loss.text}{chance}")
        print("verdict   " + ("B is worse than A" if lost else "B passes"))
    if found.blocks < _FEW:
        print(
            f"only {found.blocks} blocks of consecutive frames: the intervals are rough",
            file=sys.stderr,
        )
    return 1 if lost else 0


def _sides(a: Run, b: Run) -> tuple[tuple[str, Run], tuple[str, Run]]:
    return ("a", a), ("b", b)


def _print(a: Run, b: Run, found: Comparison) -> None:
    for name, side in _sides(a, b):
        model = side.results["model"]
        print(
            f"{name.upper()}         {side.folder}: {model['name']}, {model['backend']}"
            f" {model['precision']} on {model['device']}"
        )
    print(f"frames    {found.frames}, {found.labelled} with ground truth\n")
    print(f"{'':22} {'A':>9} {'B':>9} {'B - A':>9}   95 % interval")
    for key, title in _FIGURES:
        if key in found.figures:
            print(_row(title, found.figures[key], 100))
    for title, difference in found.classes.items():
        print(_row(f"  IoU of {title}", difference, 100))
    for key, difference in found.latency_ms.items():
        print(_row(f"latency {key.removesuffix('_ms')}, ms", difference, 1))
    print()


def _row(title: str, d: Difference, factor: float) -> str:
    a, b, low, high = (factor * v for v in (d.a, d.b, d.low, d.high))
    interval = f"{low:+.2f} to {high:+.2f}" if math.isfinite(low) else "too few frames"
    return f"{title:22} {a:9.2f} {b:9.2f} {b - a:+9.2f}   {interval}"
