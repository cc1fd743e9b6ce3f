# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real-time mode of lrn replay: its options, its runs, what is printed of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import natural, positive, speed
from lrn_ros.errors import RunError, UserError

if TYPE_CHECKING:
    from lrn_ros.replay.figures import Realtime
    from lrn_ros.replay.job import Job
    from lrn_ros.replay.realtime import Played

STAMPS = (
    "Real time plays the recorded messages into segment_node over DDS, in processes of their own,"
    " and tells where every frame went. Stamps become the time of publishing, so that transport and"
    " end-to-end latency are those of this machine; with --clock they stay as recorded and the node"
    " follows /clock. A subscriber takes the masks: `delivered` is from publishing an image to the"
    " arrival of its mask. The ROS domain is ROS_DOMAIN_ID if that is set, else a random one, so"
    " that no other node meets the recorded images."
)
_ONLY_REALTIME = ("rate", "loop", "clock", "domain_id")
_ONLY_ACCURACY = (
    "ground_truth", "labels", "mapping", "tolerance", "thorough", "workers", "scheduler",
)  # fmt: skip


def add_realtime_options(parser: argparse.ArgumentParser) -> None:
    """--mode and what belongs to real time."""
    add = parser.add_argument
    add("--mode", choices=("accuracy", "realtime", "both"), default="both",
        help="every frame straight through the model; played as recorded into the node; one after"
        " the other (%(default)s)")  # fmt: skip
    add("--rate", type=speed, metavar="X", help="real time: so many times as fast as recorded,"
        " 0.1 to 10 (1)")  # fmt: skip
    add("--loop", type=positive, metavar="N", help="real time: play so many times (1)")
    add("--clock", action="store_true", help="real time: publish /clock and leave the stamps as"
        " recorded; they go on from loop to loop")  # fmt: skip
    add("--domain-id", type=natural, help="real time: ROS domain")


def check_mode(args: argparse.Namespace) -> None:
    """Refuse what the mode cannot do.

    Raises:
        UserError: an option of the other mode is given, one that the node does not take, or
            rclpy is missing.
    """
    for mode, names in (("accuracy", _ONLY_REALTIME), ("realtime", _ONLY_ACCURACY)):
        given = [n for n in names if getattr(args, n) is not None and getattr(args, n) is not False]
        if args.mode == mode and given:
            option = given[0].replace("_", "-")
            other = "realtime" if mode == "accuracy" else "accuracy"
            raise UserError(f"--{option} is for --mode {other} or both, not for {mode}")
    if args.mode != "accuracy":
        _check_node(args)


def _check_node(args: argparse.Namespace) -> None:
    from lrn_ros.play.processes import check_domain, check_ros
    from lrn_ros.ros.parameters import check

    try:
        check_ros()
    except UserError as error:
        raise UserError(f"{error}; --mode accuracy needs no ROS") from None
    check_domain(args.domain_id)
    for name in ("backend", "precision"):
        check(name, getattr(args, name))
    check("network_size", args.network_size or (0, 0))


def play_bags(
    args: argparse.Namespace, jobs: list[Job], failed: dict[str, str]
) -> tuple[list[Played], bool]:
    """Play the bags one after the other, until Ctrl-C.

    Returns:
        those that were played, the last one perhaps not to its end, and False after Ctrl-C; what
        has failed with others is put into `failed` by name.
    """
    runs: list[Played] = []
    try:
        complete = all(_play_bag(args, job, runs, failed) for job in jobs)
    except KeyboardInterrupt:
        complete = False
    return runs, complete


def _play_bag(
    args: argparse.Namespace, job: Job, runs: list[Played], failed: dict[str, str]
) -> bool:
    """Play a bag and add it to `runs` or to `failed`; False after Ctrl-C."""
    from lrn_ros.metrics.machine import measure_pace
    from lrn_ros.replay.figures import PlayedAs
    from lrn_ros.replay.job import open_bag
    from lrn_ros.replay.realtime import read_played

    folder = args.output / "realtime" / job.name
    try:
        bag = open_bag(job.bag)
        topic = bag.image_topic(job.topic)
        before = measure_pace()
        complete = _play(args, job, bag, topic, folder)
    except (UserError, RunError, OSError) as error:
        failed[job.name] = str(error)
        return True
    rate = args.rate or 1.0
    how = PlayedAs(
        name=job.name, path=str(job.bag), topic=topic, rate=rate, loops=args.loop or 1,
        clock=args.clock, start_s=args.start, duration_s=args.duration,
        asked_fps=round(rate * bag.rate(topic), 3), complete=complete,
        before=before, after=measure_pace(), folder=f"realtime/{job.name}",
    )  # fmt: skip
    runs.append(read_played(folder, how))
    return complete


def _play(args: argparse.Namespace, job: Job, bag: Any, topic: str, folder: Path) -> bool:
    from tqdm import tqdm

    from lrn_ros.data.bags.extent import Extent
    from lrn_ros.play.replay import PlayOptions, play_bag

    rate, loops = args.rate or 1.0, args.loop or 1
    total = bag.topics[topic].count * loops if job.extent == Extent() else None
    options = PlayOptions(
        topic, job.model, job.smoothing, job.extent, rate, loops, args.clock, args.domain_id
    )
    seen = sys.stderr.isatty()
    if not seen:
        print(f"lrn replay: playing {job.name} at {rate:g} times its speed", file=sys.stderr)
    with tqdm(total=total, unit="frame", disable=not seen, desc="starting the node") as bar:

        def report(progress: Any) -> None:
            if progress.sent:
                bar.set_description(job.name, refresh=False)
                bar.set_postfix(answered=progress.answered, refresh=False)
            bar.update(progress.sent - bar.n)

        return play_bag(bag, options, folder, report)


def print_realtime(realtime: Realtime) -> None:
    """Print the accounts and the latency."""
    from lrn_ros.metrics.latency import table

    for bag in realtime.bags:
        frames = bag.frames
        fates = {"answered": frames.answered, **frames.dropped, "idle": frames.idle}
        fates["unaccounted"] = frames.unaccounted
        text = ", ".join(f"{fate} {n}" for fate, n in fates.items() if n)
        print(f"real time {bag.played.name}: published {frames.published}: {text or 'nothing'}")
        print(
            f"          {bag.fps_in:.1f} a second in ({bag.played.asked_fps:g} asked),"
            f" {bag.fps_out:.1f} out; on {bag.backend or 'nothing answered'}"
        )
    print("\n".join(table(realtime.latency_ms)))
