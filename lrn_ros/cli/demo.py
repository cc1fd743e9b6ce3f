# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn demo: camera, node and recorder over real DDS; overlay video, contact sheet and figures."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import claim_output, frequency, natural, positive, print_json
from lrn_ros.cli.replay import REPORT, print_results
from lrn_ros.cli.replay_realtime import progress_bar
from lrn_ros.errors import RunError, UserError, install, needs

if TYPE_CHECKING:
    from lrn_ros.data.sources import Source
    from lrn_ros.model.artifact import ModelInfo
    from lrn_ros.replay.figures import Results
    from lrn_ros.replay.realtime import Played
    from lrn_ros.replay.recording import RecordedFrame

_RATE = 5.0  # Hz
_NAME = "demo"  # the name of the bag in the results
_PICTURES = ("overlay.mp4", "contact_sheet.png", "demo.mcap")


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        help="run camera, node and recorder over DDS; writes an overlay video and a report",
        description=__doc__,
    )
    add = parser.add_argument
    add("--input", type=Path, metavar="VIDEO|FOLDER|BAG", help="what to play; default: a rendered"
        " street scene")  # fmt: skip
    add("--topic", help="image topic of a bag; default: its only one")
    add("--output", type=Path, default=Path("lrn_demo"), metavar="DIR", help="(%(default)s)")
    add("--frames", type=natural, default=150, help="number of frames; 0: all (%(default)s)")
    add("--rate", type=frequency, help=f"rate in Hz; default: that of the input, or {_RATE:g}")
    add("--size", type=positive, nargs=2, default=(360, 640), metavar=("H", "W"),
        help="size of the rendered scene (360 640)")  # fmt: skip
    add("--seed", type=natural, default=0, help="seed of the rendered scene (%(default)s)")
    add("--model", default="lrnnet_c_camvid", help="a name, or a path (%(default)s)")
    add("--backend", default="auto", help="backend of the node (%(default)s)")
    add("--precision", default="auto", help="precision of the node (%(default)s)")
    add("--domain-id", type=natural, help="ROS domain; default: ROS_DOMAIN_ID, else a random one")
    add("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Play the source into the node as `lrn replay --mode realtime` plays a bag, and report."""
    from lrn_ros.metrics.machine import measure_pace
    from lrn_ros.model.artifact import SUFFIXES, read_info, resolve_model
    from lrn_ros.play.processes import NODE, check_domain, check_ros, environment

    check_ros()
    with needs("bags", "the demo"):
        import jinja2  # noqa: F401

        from lrn_ros.play.session import DEMO_TOPIC, PlayOptions, SourceOptions, play_source
        from lrn_ros.replay.figures import PlayedAs
        from lrn_ros.replay.job import ModelOptions
        from lrn_ros.replay.realtime import read_played
        from lrn_ros.replay.records import sealed
        from lrn_ros.replay.results import RESULTS

    check_domain(args.domain_id)
    info = read_info(resolve_model(args.model, SUFFIXES))
    source, rate = _source(args, info)
    claim_output(args.output, "demo")
    out, folder = args.output, f"realtime/{_NAME}"
    for old in ("masks", "labels"):
        shutil.rmtree(out / old, ignore_errors=True)
    for name in (*_PICTURES, RESULTS, REPORT):
        (out / name).unlink(missing_ok=True)
    domain = int(environment(args.domain_id)["ROS_DOMAIN_ID"])
    options = PlayOptions(ModelOptions(args.model, args.backend, args.precision), domain_id=domain)
    played = SourceOptions(
        args.input, args.topic, args.frames, rate, tuple(args.size), args.seed, out
    )
    count = min(args.frames or source.count or 0, source.count or args.frames)
    if source.count and count < source.count:
        cut = f"the first {count} of {source.count} frames are played; --frames 0 plays all"
        print(cut, file=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    watch = f"watch: ROS_DOMAIN_ID={domain} lrn view {NODE}; images are on {DEMO_TOPIC}"
    print(f"{watch}, on this machine only", file=sys.stderr)
    before = measure_pace()
    with progress_bar(source.title, count or None, f"at {rate:g} Hz") as report:
        complete = play_source(played, options, out / folder, report)
    how = PlayedAs(
        name=_NAME, path=source.title, topic=args.topic or "", rate=1.0, loops=1, clock=False,
        start_s=0.0, duration_s=None, asked_fps=rate, complete=complete, before=before,
        after=measure_pace(), folder=folder,
    )  # fmt: skip
    results = _results(args, read_played(out / folder, how), source, info)
    if args.json:
        print_json(sealed(results))
    else:
        print_results(results, out)
        written = [name for name in _PICTURES if (out / name).is_file()]
        print(f"pictures  {out}/: {', '.join(written)}, masks/, labels/; logs in {folder}/")
    if complete and results.realtime and not results.realtime.frames.answered:
        raise RunError(f"no frame was answered; {out / folder}/ may say why")
    return 0 if complete else 130


def _source(args: argparse.Namespace, info: ModelInfo) -> tuple[Source, float]:
    from lrn_ros.data.sources import SceneSource, open_source

    if args.input is not None:
        source = open_source(args.input, info.labels, args.topic)
        return source, args.rate or source.rate or _RATE
    if not args.frames:
        raise UserError("--frames 0: the rendered scene has no end; give a number")
    if min(args.size) < 64:
        raise UserError(
            f"--size {args.size[0]} {args.size[1]}: both numbers must be at least 64 pixels"
        )
    rate = args.rate or _RATE
    return SceneSource(args.seed, tuple(args.size), rate), rate


def _results(args: argparse.Namespace, played: Played, source: Source, info: ModelInfo) -> Results:
    """Score the recorded frames; write results, report and contact sheet."""
    from dataclasses import replace

    from lrn_ros.replay.figures import ModelUse
    from lrn_ros.replay.job import model_digests
    from lrn_ros.replay.realtime import PlayFiles, figures
    from lrn_ros.replay.recording import read_recorded, score
    from lrn_ros.replay.records import write_record
    from lrn_ros.replay.results import RESULTS, merge
    from lrn_ros.report.page import write_report

    out, complete = args.output, played.how.complete
    model = ModelUse(info.name, info.architecture, info.license, model_digests(args.model))
    results = merge(
        [], model, figures([played]), {}, complete, folder=out, command=args.command_line
    )
    frames = read_recorded(PlayFiles(out / played.how.folder), out / "masks")
    if source.label_set == info.labels.name:
        accuracy = score(frames, out / "labels", info.labels).accuracy(info.labels.names)
        results = replace(results, accuracy=accuracy, labels=info.labels)
    write_record(out / RESULTS, results)
    write_report(out / REPORT, results, [])
    _sheet(out, frames, source, info, played)
    _mcap(out, frames, source, info, played)
    return results


def _sheet(
    output: Path, frames: list[RecordedFrame], source: Source, info: ModelInfo, played: Played
) -> None:
    from lrn_ros.data.contact_sheet import contact_sheet
    from lrn_ros.images.compressed import write_png
    from lrn_ros.inference.palette import shown
    from lrn_ros.replay.realtime import PlayFiles
    from lrn_ros.replay.recording import sample_rows

    files = PlayFiles(output / played.how.folder)
    if rows := sample_rows(frames, source, output, files, info.labels):
        title = f"{info.name} on {played.backend}: {source.title}"
        write_png(output / _PICTURES[1], contact_sheet(title, rows, shown(info.labels)))


def _mcap(
    output: Path, frames: list[RecordedFrame], source: Source, info: ModelInfo, played: Played
) -> None:
    """Write the recorded frames as a file for Foxglove and Lichtblick."""
    import importlib.util

    if importlib.util.find_spec("rosbags") is None:
        print(f"{_PICTURES[2]} is left out, it needs: {install('bags')}", file=sys.stderr)
        return
    from lrn_ros.inference.palette import shown
    from lrn_ros.replay.realtime import PlayFiles
    from lrn_ros.view.messages import recorded_views, write_mcap

    views = recorded_views(frames, source, PlayFiles(output / played.how.folder), played.backend)
    write_mcap(output / _PICTURES[2], views, shown(info.labels))
