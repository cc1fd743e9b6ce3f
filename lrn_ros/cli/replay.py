# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn replay: a recorded bag through the model; accuracy, speed, steadiness and a report."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import (
    add_segmenter_options,
    claim_output,
    plain,
    print_json,
    write_json,
)

if TYPE_CHECKING:
    from lrn_ros.evaluation.replay_job import Job

_REPORT = "report.html"


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "replay",
        help="a recorded bag through the model: accuracy, speed, steadiness, a report",
        description=__doc__,
    )
    add = parser.add_argument
    add("bags", type=Path, nargs="+", metavar="BAG", help="rosbag2 folders or storage files")
    add("--topic", help="image topic; default: the only one")
    add("--output", type=Path, default=Path("lrn_replay"), metavar="DIR", help="(%(default)s)")
    add("--model", default="lrnnet_c_camvid", help="a name, or a path (%(default)s)")
    add("--ground-truth", metavar="DIR|TOPIC",
        help="labels: a topic of the bag, or a folder of images named by stamp or frame number;"
        " default: the bag's own label topic")  # fmt: skip
    add("--labels", metavar="SET", help="label set of the ground truth, a name or a YAML file;"
        " default: what the bag says, else the model's")  # fmt: skip
    add("--mapping", metavar="NAME|FILE", help="brings other classes and the model's together,"
        " such as cityscapes19_to_camvid11")  # fmt: skip
    add("--tolerance", type=seconds, default=0.001, metavar="S",
        help="between the stamps of an image and its label (%(default)s)")  # fmt: skip
    add("--start", type=seconds, default=0.0, metavar="S", help="skip so much of the bag")
    add("--duration", type=seconds, metavar="S", help="replay only so much of it")
    add("--thorough", action="store_true",
        help="boundary, calibration and temporal figures of every frame, not once a second"
        )  # fmt: skip
    add_segmenter_options(parser)
    add("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=run)


def seconds(text: str) -> float:
    """A number of seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return value


def run(args: argparse.Namespace) -> int:
    """Replay and report."""
    from lrn_ros.evaluation.replay_job import open_bag
    from lrn_ros.evaluation.part import read_part
    from lrn_ros.evaluation.report import write_report
    from lrn_ros.evaluation.results import RESULTS, merge

    jobs = _jobs(args)
    total = 0
    for job in jobs:  # before anything is written
        bag = open_bag(job.bag)
        total += bag.topics[bag.image_topic(job.topic)].count
    claim_output(args.output, "replay")
    complete = _run(jobs, total)
    parts = [read_part(job.name, job.folder) for job in jobs if job.folder.is_dir()]
    results = merge(parts)
    write_json(args.output / RESULTS, results)
    write_report(args.output / _REPORT, plain(results), parts)
    if args.json:
        print_json(results)
    else:
        _print(results, args.output)
    return 0 if complete else 130


def _jobs(args: argparse.Namespace) -> list[Job]:
    from lrn_ros.evaluation.replay import Extent
    from lrn_ros.evaluation.replay_job import Job, ModelOptions
    from lrn_ros.evaluation.scoring import TruthOptions

    size = tuple(args.network_size) if args.network_size else None
    model = ModelOptions(args.model, args.backend, args.precision, size, args.threads)
    truth = TruthOptions(args.ground_truth, args.labels, args.mapping, args.tolerance)
    names = _names(args.bags)
    return [
        Job(
            name=name,
            bag=bag,
            folder=args.output / "bags" / name,
            topic=args.topic,
            model=model,
            truth=truth,
            extent=Extent(args.start, args.duration),
            thorough=args.thorough,
        )
        for name, bag in zip(names, args.bags)
    ]


def _names(bags: list[Path]) -> list[str]:
    """Names of the bags, numbered where two have the same."""
    names = [bag.resolve().stem if bag.is_file() else bag.resolve().name for bag in bags]
    twice = {n for n in names if names.count(n) > 1}
    return [f"{n}_{i}" if n in twice else n for i, n in enumerate(names)]


def _run(jobs: list[Job], total: int) -> bool:
    """Run one after the other; whether all are complete."""
    from tqdm import tqdm

    from lrn_ros.evaluation.replay_job import run_job

    with tqdm(total=total, unit="frame", disable=not sys.stderr.isatty()) as bar:
        for job in jobs:
            if not run_job(job, bar.update):
                return False
    return True


def _print(results: dict[str, Any], output: Path) -> None:
    from lrn_ros.evaluation.latency import Percentiles, table

    print(f"frames    {results['frames']}, {_number(results['throughput']['fps'])} a second")
    if accuracy := results["accuracy"]:
        ece = _number(accuracy["calibration"]["ece"], 100)
        print(
            f"accuracy  mIoU {_number(accuracy['miou'], 100, 2)} %, pixels"
            f" {_number(accuracy['pixel_accuracy'], 100, 2)} % ({accuracy['frames']} labelled"
            f" frames); boundaries {_number(accuracy['boundary']['f_score'], 100)} %, calibration"
            f" error {ece} %"
        )
    if temporal := results["temporal"]:
        print(
            f"steady    {_number(temporal['consistency'], 100)} % consistent, flicker"
            f" {_number(temporal['flicker'], 100, 2)} % ({temporal['pairs']} pairs)"
        )
    print("\n".join(table({k: Percentiles(**p) for k, p in results["latency_ms"].items()})))
    for finding in results["findings"]:
        print(f"finding   {finding['bag']}: {finding['text']}")
    print(f"report    {output / _REPORT}")
    if not results["complete"]:
        print("interrupted; this is what was replayed until then", file=sys.stderr)


def _number(value: float | None, scale: float = 1.0, digits: int = 1) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{scale * value:.{digits}f}"
