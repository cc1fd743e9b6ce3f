# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn compare: two replays of the same frames side by side; a release gate."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import points, print_json
from lrn_ros.errors import needs

if TYPE_CHECKING:
    from lrn_ros.replay.comparison import Difference, ReplayRun, RunComparison
    from lrn_ros.replay.gate import Judgement, Margins

FIGURES = (
    ("miou", "mIoU, %"),
    ("pixel_accuracy", "pixels right, %"),
    ("boundary_f", "boundary F-score, %"),
    ("ece", "calibration error, %"),
    ("consistency", "consistency, %"),
    ("flicker", "flicker, %"),
)
_PAIRS = ("consistency", "flicker")
_MIN_BLOCKS = 10  # with fewer blocks the intervals are rough


def class_margin(text: str) -> tuple[str | None, float]:
    """POINTS, or NAME=POINTS."""
    name, _, number = text.rpartition("=")
    return name or None, points(number)


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "compare",
        help="compare two replays of the same frames; a release gate",
        description=__doc__,
        epilog="Exit status: 0 B is as good as A within the margins; 1 B falls behind by more; 2"
        " there is no verdict, because a results folder is damaged, the runs do not compare, or"
        " there are too few frames for the margins. Intervals are those of 95 %, from a bootstrap"
        " over blocks of one second of consecutive frames, the same blocks for both runs.",
    )
    add = parser.add_argument
    add("a", type=Path, metavar="RUN_A", help="folder of lrn replay --output: the old model")
    add("b", type=Path, metavar="RUN_B", help="folder of lrn replay --output: the new model")
    add("--margin", type=points, default=0.5, metavar="POINTS", help="by which mIoU and temporal"
        " consistency may be lower, percentage points (%(default)s)")  # fmt: skip
    add("--class-margin", type=class_margin, action="append", metavar="[CLASS=]POINTS",
        help="by which the IoU of a class, or of every class, may be lower; may be given several"
        " times; default: 3 points for pedestrian, person, bicyclist, rider and car")  # fmt: skip
    for name, what in (
        ("boundary", "boundary F-score may be lower"),
        ("flicker", "flicker may be higher"),
        ("drop", "share of images that real time does not answer may be higher"),
    ):
        add(f"--{name}-margin", type=points, metavar="POINTS",
            help=f"by which the {what}; default: no limit")  # fmt: skip
    add("--latency-margin", type=points, metavar="PERCENT",
        help="by which the median and the 95th percentile of the end-to-end latency in real time"
        " may be higher; default: no limit")  # fmt: skip
    add("--allow", action="append", default=[], choices=("version", "network-size"),
        help="compare runs that differ in this; may be given several times")  # fmt: skip
    add("--rerun", action="store_true", help="play the bags again in real time, both models in"
        " turns, and compare these latencies and drops")  # fmt: skip
    add("--html", type=Path, metavar="FILE", help="write a page with all results, and the worst"
        " changes as pictures")  # fmt: skip
    add("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print and judge."""
    with needs("bags", "comparing replays"):
        from lrn_ros.replay.comparison import compare, read_run
        from lrn_ros.replay.gate import Verdict, judge, verdict
        from lrn_ros.replay.records import to_data

    margins = _margins(args)
    a, b = read_run(args.a), read_run(args.b)
    found = compare(a, b, args.allow)
    if args.rerun:
        from lrn_ros.cli.replay_realtime import play_in_turns
        from lrn_ros.play.processes import check_ros

        check_ros()
        a, b = play_in_turns(a, b)
        found = compare(a, b, args.allow)
    judgements = judge(found, margins)
    state = verdict(judgements)
    said = _verdict(state, judgements)
    if args.html:
        with needs("bags", "--html"):
            from lrn_ros.report.comparison import write_comparison

        write_comparison(args.html, a, b, found, judgements, said, rows(found))
    if args.json:
        print_json({
            **{
                    name: {"run": str(side.folder), "model": to_data(side.results.model)}
                    for name, side in _sides(a, b)
                },
            **to_data(found),
            "unlike": _unlike(a, b),
            "judgements": [to_data(j) | {"state": j.state.value} for j in judgements],
            "worse": [j.text for j in judgements if j.state is Verdict.WORSE],
            "verdict": said,
        })  # fmt: skip
    else:
        _print(a, b, found, judgements)
        print(f"verdict   {said}")
    if found.blocks < _MIN_BLOCKS:
        print(
            f"only {found.blocks} blocks of consecutive frames: the intervals are rough",
            file=sys.stderr,
        )
    return {Verdict.PASSES: 0, Verdict.WORSE: 1}.get(state, 2)


def _margins(args: argparse.Namespace) -> Margins:
    from lrn_ros.replay.gate import Margins

    given = args.class_margin or []
    every = [p for name, p in given if name is None]
    return Margins(
        args.margin,
        {name: p for name, p in given if name is not None} if given else None,
        every[-1] if every else None,
        args.boundary_margin,
        args.flicker_margin,
        args.drop_margin,
        args.latency_margin,
    )


def _verdict(state: Any, judgements: list[Judgement]) -> str:
    from lrn_ros.replay.gate import Verdict

    if state is Verdict.PASSES:
        return "B passes"
    if state is Verdict.WORSE:
        return "B is worse than A"
    names = ", ".join(j.name for j in judgements if j.needed and j.state is state)
    why = "too few frames" if state is Verdict.TOO_FEW else "the machine's pace changed"
    return f"none: {why} for {names}"


def _sides(a: ReplayRun, b: ReplayRun) -> tuple[tuple[str, ReplayRun], tuple[str, ReplayRun]]:
    return ("a", a), ("b", b)


def _unlike(a: ReplayRun, b: ReplayRun) -> list[str]:
    from lrn_ros.replay.comparison import unlike

    return unlike(a, b)


def _print(a: ReplayRun, b: ReplayRun, found: RunComparison, judgements: list[Judgement]) -> None:
    from lrn_ros.metrics.text import table
    from lrn_ros.replay.gate import Verdict

    for name, side in _sides(a, b):
        model = side.results.model
        print(
            f"{name.upper()}         {side.folder}: {model.name}, {model.backend}"
            f" {model.precision} on {model.device}"
        )
    print(f"frames    {found.frames}, {found.labelled} with ground truth\n")
    print("\n".join(table(("", "A", "B", "B - A", "95 % interval", "of"), rows(found))) + "\n")
    if differ := _unlike(a, b):
        print(f"note      the runs differ in {', '.join(differ)}: latencies may differ for this")
    if found.unpaired:
        print(
            f"note      {', '.join(found.unpaired)}: not in the ground truth, and answered by"
            " one run alone; left out"
        )
    for judgement in judgements:
        if judgement.state is not Verdict.PASSES:
            word = "worse" if judgement.state is Verdict.WORSE else "undecided"
            print(f"{word:9} {judgement.text}")


def rows(found: RunComparison) -> list[list[str]]:
    """The figures of a comparison as rows of text: name, A, B, B - A, interval, samples."""
    lines = []
    for key, title in FIGURES:
        if key in found.figures:
            unit = "pairs" if key in _PAIRS else "frames"
            lines.append(_row(title, found.figures[key], 100, unit))
    lines += [_row(f"  IoU of {n}, %", d, 100, "frames") for n, d in found.classes.items()]
    for key, difference in found.latency_ms.items():
        name = f"model alone {key.removesuffix('_ms')}, ms"
        lines.append(_row(name, difference, 1, "frames"))
    for key, difference in found.realtime.items():
        if key == "unanswered":
            lines.append(_row("real time, unanswered, %", difference, 100, "images"))
        else:
            name = f"real time, end to end {key.removesuffix('_ms')}, ms"
            lines.append(_row(name, difference, 1, "answers"))
    return lines


def _row(title: str, d: Difference, factor: float, unit: str) -> list[str]:
    a, b, low, high = (factor * v for v in (d.a, d.b, d.low, d.high))
    interval = f"{low:+.2f} to {high:+.2f}" if math.isfinite(low) else "too few frames"
    return [title, f"{a:.2f}", f"{b:.2f}", f"{b - a:+.2f}", interval, f"{d.samples} {unit}"]
