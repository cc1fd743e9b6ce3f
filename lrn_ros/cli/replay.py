# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn replay: a recorded bag through the model; accuracy, speed, steadiness and a report."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import (
    add_segmenter_options,
    claim_output,
    interrupt_once,
    positive,
    print_json,
)
from lrn_ros.cli.replay_realtime import (
    STAMPS,
    add_realtime_options,
    check_mode,
    play_bags,
    print_realtime,
)
from lrn_ros.errors import RunError, UserError, needs
from lrn_ros.metrics.text import number, percent

if TYPE_CHECKING:
    from lrn_ros.replay.figures import ModelUse, Results
    from lrn_ros.replay.job import Job
    from lrn_ros.replay.realtime import Played
    from lrn_ros.replay.run import Outcome

REPORT = "report.html"


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "replay",
        help="run a model over a recorded bag: accuracy, speed, steadiness, a report",
        description=__doc__,
        epilog=STAMPS,
    )
    add = parser.add_argument
    add("bags", type=Path, nargs="+", metavar="BAG", help="rosbag2 folders or storage files")
    add("--topic", action="append", metavar="TOPIC", help="image topic; may be given several times;"
        " default: one image topic of every camera in the bag")  # fmt: skip
    add("--output", type=Path, default=Path("lrn_replay"), metavar="DIR", help="(%(default)s)")
    add("--model", default="lrnnet_c_camvid", help="a name, or a path (%(default)s)")
    add("--ground-truth", metavar="DIR|TOPIC",
        help="the labels: a topic of the bag, or a folder of images named by stamp or frame number;"
        " default: the bag's own label topic")  # fmt: skip
    add("--labels", metavar="SET", help="label set of the ground truth, a name or a YAML file;"
        " default: that of the bag, or else that of the model")  # fmt: skip
    add("--mapping", metavar="NAME|FILE", help="translates other classes to the model's,"
        " such as cityscapes19_to_camvid11")  # fmt: skip
    add("--tolerance", type=seconds, metavar="S",
        help="largest difference between the stamps of an image and its label (0.001)")  # fmt: skip
    add("--start", type=seconds, default=0.0, metavar="S", help="seconds of the bag to skip")
    add("--duration", type=some_seconds, metavar="S", help="seconds of the bag to replay")
    add("--thorough", action="store_true",
        help="compute boundary, calibration and temporal figures for every frame, however long it"
        " takes"
        )  # fmt: skip
    add("--temporal-smoothing", action="store_true", help="average over frames, as the node can")
    add("--workers", type=positive, metavar="N", help="number of bags to replay side by side (1);"
        " latencies are then those of a busy machine")  # fmt: skip
    add("--scheduler", metavar="ADDRESS", help="address of a Dask cluster that shares this file"
        " system, such as tcp://host:8786; instead of --workers")  # fmt: skip
    add_realtime_options(parser)
    add_segmenter_options(parser)
    add("--open", action="store_true", help="open the report in a browser")
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


def some_seconds(text: str) -> float:
    """A number of seconds above 0."""
    value = seconds(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Replay and report."""
    with needs("bags", "replaying bags"):
        from lrn_ros.replay.accuracy import read_part
        from lrn_ros.replay.realtime import figures
        from lrn_ros.replay.records import write_record
        from lrn_ros.replay.results import RESULTS, merge
        from lrn_ros.replay.run import Outcome
        from lrn_ros.report.page import write_report

    check_mode(args)
    jobs = _jobs(args)
    total, model = _total(jobs), _model(args.model)  # before anything is written
    claim_output(args.output, "replay")
    interrupt_once()
    accurate, timed = args.mode != "realtime", args.mode != "accuracy"
    outcome = _run(args, jobs, total) if accurate else Outcome()
    if outcome.interrupted and not outcome.done:
        raise KeyboardInterrupt
    failed, played = dict(outcome.failed), True
    runs: list[Played] = []
    if timed and not outcome.interrupted:
        for old in (RESULTS, REPORT):
            (args.output / old).unlink(missing_ok=True)
        runs, played = play_bags(args, [j for j in jobs if j.name not in failed], failed)
    parts = [read_part(j.name, j.folder) for j in jobs if j.name in outcome.done]
    if not parts and not runs:
        if not played:
            raise KeyboardInterrupt
        raise RunError(f"no bag could be replayed; {' and '.join(map(': '.join, failed.items()))}")
    results = merge(
        parts,
        model,
        figures(runs) if runs else None,
        failed,
        not outcome.interrupted and played,
        args.output,
        args.command_line,
    )
    write_record(args.output / RESULTS, results)
    write_report(args.output / REPORT, results, parts)
    return _tell(args, results)


def _tell(args: argparse.Namespace, results: Results) -> int:
    """Print the results and open the report; returns the exit status."""
    from lrn_ros.replay.records import sealed

    if args.json:
        print_json(sealed(results))
    else:
        print_results(results, args.output)
    if args.open and not webbrowser.open((args.output / REPORT).resolve().as_uri()):
        print("lrn replay: no browser to open the report with", file=sys.stderr)
    for failed in results.failed:
        print(f"lrn replay: {failed.bag} failed: {failed.error}", file=sys.stderr)
    return (1 if results.failed else 0) if results.complete else 130


def _total(jobs: list[Job]) -> int | None:
    """Number of images of all bags; None if a part is replayed: to count it would be to read it.

    Where there are several bags, one that cannot be opened comes up later.
    """
    from lrn_ros.data.bags.times import Extent

    total = 0
    for job in jobs:
        try:
            total += _count(job)
        except (UserError, OSError):
            if len(jobs) == 1:
                raise
    return total if jobs[0].extent == Extent() else None


def _count(job: Job) -> int:
    """How many images the bag has; UserError: none in the part that is to be replayed."""
    from lrn_ros.replay.job import open_bag

    bag = open_bag(job.bag)
    topic = bag.image_topic(job.topic)
    if next(bag.part(topic, job.extent), None) is None:
        raise UserError(
            f"--start {job.extent.start_s:g}: {job.bag} has no image of {topic} in that part"
        )
    return bag.topics[topic].count


def _model(name: str) -> ModelUse:
    from lrn_ros.model.artifact import SUFFIXES, read_info, resolve_model
    from lrn_ros.replay.figures import ModelUse
    from lrn_ros.replay.job import model_digests

    info = read_info(resolve_model(name, SUFFIXES))
    return ModelUse(info.name, info.architecture, info.license, model_digests(name))


def _jobs(args: argparse.Namespace) -> list[Job]:
    from lrn_ros.data.bags.times import Extent
    from lrn_ros.replay.job import Job, ModelOptions
    from lrn_ros.replay.results import RESULTS
    from lrn_ros.replay.scoring import TruthOptions

    size = tuple(args.network_size) if args.network_size else None
    model = ModelOptions(args.model, args.backend, args.precision, size, args.threads)
    tolerance = TruthOptions.tolerance_s if args.tolerance is None else args.tolerance
    truth = TruthOptions(args.ground_truth, args.labels, args.mapping, tolerance)
    jobs = []
    for name, bag in zip(_names(args.bags), args.bags):
        topics = _topics(bag, args)
        for topic in topics:
            short = (topic or "").strip("/").replace("/", "_")
            camera = f"{name}_{short}" if len(topics) > 1 else name
            jobs.append(
                Job(
                    name=camera,
                    bag=bag,
                    folder=args.output / "bags" / camera,
                    topic=topic,
                    model=model,
                    truth=truth,
                    extent=Extent(args.start, args.duration),
                    thorough=args.thorough,
                    smoothing=args.temporal_smoothing,
                    stale=(args.output / RESULTS, args.output / REPORT),
                    group=name,
                )
            )
    return jobs


def _topics(path: Path, args: argparse.Namespace) -> list[str | None]:
    """The image topics of a bag that are replayed; None: the job will report what is wrong.

    Raises:
        UserError: a label topic is given for several cameras.
    """
    from lrn_ros.replay.job import open_bag

    if args.topic and len(args.topic) == 1:
        return list(args.topic)
    try:
        bag = open_bag(path)
    except (UserError, OSError):
        return [None]
    found: list[str | None] = list(dict.fromkeys(args.topic or bag.image_topics()))
    for name, why in () if args.topic else bag.left_out.items():
        print(f"lrn replay: {path}: {name} is left out: {why}; --topic takes it", file=sys.stderr)
    if len(found) > 1 and args.ground_truth and not Path(args.ground_truth).is_dir():
        raise UserError(
            f"--ground-truth {args.ground_truth}: it belongs to one camera, and there are"
            f" {', '.join(map(str, found))}; --topic names one of them"
        )
    return found or [None]


def _names(bags: list[Path]) -> list[str]:
    """Names of the bags, with numbers if two bags have the same name."""
    names = [bag.resolve().stem if bag.is_file() else bag.resolve().name for bag in bags]
    if len(set(names)) == len(names):
        return names
    return [f"{i}_{name}" for i, name in enumerate(names)]


def _run(args: argparse.Namespace, jobs: list[Job], total: int | None) -> Outcome:
    """Run the model over all bags that an earlier run has not completed."""
    from tqdm import tqdm

    from lrn_ros.replay.run import Workers, run_jobs

    with tqdm(total=total, unit="frame", disable=not sys.stderr.isatty()) as bar:
        outcome = run_jobs(jobs, Workers(args.workers or 1, args.scheduler), bar.update)
    if outcome.reused:
        names = ", ".join(outcome.reused)
        print(f"lrn replay: {names}: taken from an earlier run", file=sys.stderr)
    return outcome


def print_results(results: Results, output: Path) -> None:
    """Print the figures, the findings and the place of the report."""
    from lrn_ros.metrics.latency import table

    if results.frames:
        fps = number(results.throughput.fps)
        print(f"frames    {results.frames}, {fps} per second, one worker")
    if accuracy := results.accuracy:
        print(
            f"accuracy  mIoU {percent(accuracy.miou, 2)}, pixels"
            f" {percent(accuracy.pixel_accuracy, 2)} ({accuracy.frames} labelled frames),"
            f" {percent(accuracy.unlabelled)} of the pixels unlabelled"
        )
        if sampled := accuracy.boundary.frames:
            print(
                f"          boundaries {percent(accuracy.boundary.f_score)}, calibration error"
                f" {percent(accuracy.calibration.ece)} ({sampled} frames)"
            )
    if temporal := results.temporal:
        print(
            f"steady    {percent(temporal.consistency)} consistent, flicker"
            f" {percent(temporal.flicker, 2)} ({temporal.pairs} pairs)"
        )
    if results.latency_ms:
        print("latency of the model, while frames are read and scored beside it:")
        print("\n".join(table(results.latency_ms)))
    if results.realtime:
        print_realtime(results.realtime)
    for finding in results.findings:
        print(f"finding   {finding.bag}: {finding.text}")
    print(f"report    {output / REPORT}")
    if not results.complete:
        print("interrupted; these are the results until then", file=sys.stderr)
