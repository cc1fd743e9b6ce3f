# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The real-time mode of lrn replay: its options, its runs, what is printed of it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from lrn_ros.cli.common import natural, positive, speed
from lrn_ros.errors import RunError, UserError

if TYPE_CHECKING:
    from lrn_ros.play.processes import Progress
    from lrn_ros.play.session import PlayOptions
    from lrn_ros.replay.accuracy import Part
    from lrn_ros.replay.comparison import ReplayRun
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
        help="accuracy: every frame straight through the model; realtime: the bag is played into"
        " the node as recorded; both: one after"
        " the other (%(default)s)")  # fmt: skip
    add("--rate", type=speed, metavar="X", help="real time: speed relative to the recording,"
        " 0.1 to 10 (1)")  # fmt: skip
    add("--loop", type=positive, metavar="N", help="real time: how many times to play (1)")
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
    """Play the bags one after the other, all topics of a bag at once, until Ctrl-C.

    Returns:
        what was played, the last bag perhaps not to its end, and False after Ctrl-C; what has
        failed with other bags is put into `failed` by name.
    """
    from lrn_ros.play.session import PlayOptions

    runs: list[Played] = []
    rate, loops = args.rate or 1.0, args.loop or 1
    try:
        for name, cameras in _together(jobs):
            first = cameras[0]
            options = PlayOptions(
                first.model, first.smoothing, first.extent, rate, loops, args.clock, args.domain_id
            )
            try:
                played = play_jobs(cameras, options, args.output, f"realtime/{name}")
            except (UserError, RunError, OSError) as error:
                failed |= dict.fromkeys((job.name for job in cameras), str(error))
                continue
            runs += played
            if not all(run.how.complete for run in played):
                return runs, False
    except KeyboardInterrupt:
        return runs, False
    return runs, True


def _together(jobs: Sequence[Job]) -> Iterator[tuple[str, list[Job]]]:
    """The jobs that one node can play at once, with a name: of one bag, and of one message type."""
    from lrn_ros.replay.job import open_bag

    for path, group in groupby(jobs, lambda job: job.bag):
        kinds: dict[str, list[Job]] = {}
        try:
            bag = open_bag(path)
            for job in group:
                kind = bag.topics[bag.image_topic(job.topic)].type
                kinds.setdefault(kind, []).append(job)
        except (UserError, OSError):  # whoever plays it will say what is wrong
            kinds = {"": [job for job in jobs if job.bag == path]}
        for number, cameras in enumerate(kinds.values()):
            yield cameras[0].group + (f"_{number}" if number else ""), cameras


def play_jobs(
    jobs: Sequence[Job], options: PlayOptions, output: Path, folder: str, interleaved: bool = False
) -> list[Played]:
    """Play topics of one bag at once, and read what came of it.

    Args:
        jobs: jobs of the topics.
        options: how.
        output: folder of the results.
        folder: folder of the run, below `output`.
        interleaved: see PlayedAs.
    """
    from lrn_ros.metrics.machine import measure_pace
    from lrn_ros.play.session import cameras_of, play_bag
    from lrn_ros.replay.figures import PlayedAs
    from lrn_ros.replay.job import open_bag
    from lrn_ros.replay.realtime import read_played

    bag = open_bag(jobs[0].bag)
    topics = [bag.image_topic(job.topic) for job in jobs]
    total = sum(bag.topics[topic].count for topic in topics) * options.loops
    before = measure_pace()
    with progress_bar(jobs[0].group, total, f"at {options.rate:g} times its speed") as report:
        complete = play_bag(jobs[0].bag, topics, options, output / folder, report)
    extent, after = options.extent, measure_pace()
    return [
        read_played(
            output / folder,
            PlayedAs(
                name=job.name, path=str(job.bag), topic=topic, rate=options.rate,
                loops=options.loops, clock=options.clock, start_s=extent.start_s,
                duration_s=extent.duration_s, asked_fps=round(options.rate * bag.rate(topic), 3),
                complete=complete, before=before, after=after, folder=folder, camera=camera,
                interleaved=interleaved, notes=tuple(bag.notes),
            ),
            camera,
        )
        for job, (camera, topic) in zip(jobs, cameras_of(topics).items())
    ]  # fmt: skip


@contextmanager
def progress_bar(name: str, total: int | None, how: str) -> Iterator[Callable[[Progress], None]]:
    """Tells on stderr how far a run is; what is given is called with its progress."""
    from tqdm import tqdm

    seen = sys.stderr.isatty()
    if not seen:
        print(f"lrn: playing {name} {how}", file=sys.stderr)
    with tqdm(total=total, unit="frame", disable=not seen, desc="starting the node") as bar:

        def report(progress: Progress) -> None:
            if progress.sent:
                bar.set_description(name, refresh=False)
                bar.set_postfix(answered=progress.answered, refresh=False)
            bar.update(progress.sent - bar.n)

        yield report


def play_in_turns(a: ReplayRun, b: ReplayRun, turns: int = 2) -> tuple[ReplayRun, ReplayRun]:
    """Both runs with real time measured again: A, B, B, A and so on, bag by bag.

    Raises:
        UserError: a bag or a model is not there any more, or a model's file is another one.
    """
    from lrn_ros.replay.job import model_digests

    sides: tuple[dict[str, Played], dict[str, Played]] = ({}, {})
    for run in (a, b):
        for part in run.parts.values():
            settings = part.record.settings
            name = settings["model"]["model"]
            if model_digests(name) != settings["model_files"]:
                raise UserError(f"{run.folder}: the files of {name} are not those of the run")
    with tempfile.TemporaryDirectory(prefix="lrn_compare_") as folder:
        for turn in range(turns):
            for side in (0, 1) if turn % 2 == 0 else (1, 0):
                for bag, group in groupby((a, b)[side].parts.values(), lambda p: p.record.bag):
                    jobs, options = _jobs_of(list(group), Path(bag))
                    for name, cameras in _together(jobs):
                        where = f"{turn}/{side}/{name}"
                        for played in play_jobs(cameras, options, Path(folder), where, True):
                            sides[side][f"{played.how.name}, turn {turn + 1}"] = played
    return replace(a, played=sides[0]), replace(b, played=sides[1])


def _jobs_of(parts: list[Part], bag: Path) -> tuple[list[Job], PlayOptions]:
    """The jobs that parts were made by, as far as real time needs them, and how to play them."""
    from lrn_ros.data.bags.times import Extent
    from lrn_ros.play.session import PlayOptions
    from lrn_ros.replay.job import Job, ModelOptions
    from lrn_ros.replay.scoring import TruthOptions

    settings = parts[0].record.settings
    model, size = settings["model"], settings["model"]["network_size"]
    options = ModelOptions(**{**model, "network_size": tuple(size) if size else None})
    extent = Extent(**settings["extent"])
    jobs = [
        Job(
            part.name, Path(settings["bag"]), part.files.folder, part.record.topic, options,
            TruthOptions(), extent, False, group=parts[0].name,
        )
        for part in parts
    ]  # fmt: skip
    return jobs, PlayOptions(options, settings["smoothing"], extent)


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
            f"          {bag.fps_in:.1f} per second in ({bag.played.asked_fps:g} asked),"
            f" {bag.fps_out:.1f} out; on {bag.backend or 'nothing answered'}"
        )
    print("\n".join(table(realtime.latency_ms)))
