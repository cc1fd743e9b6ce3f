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

from lrn_ros.cli.common import claim_output, frequency, natural, positive, print_json, write_json
from lrn_ros.errors import RunError, UserError

if TYPE_CHECKING:
    from lrn_ros.data.sources import Source
    from lrn_ros.model.artifact import ModelInfo
    from lrn_ros.play.demo import DemoFiles, DemoOptions
    from lrn_ros.replay.recording import Recording

_RATE = 5.0  # Hz
_WRITTEN = ("overlay.mp4", "contact_sheet.png", "latency.json", "summary.json")


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        help="camera, node and recorder over real DDS; writes an overlay video and a report",
        description=__doc__,
    )
    add = parser.add_argument
    add("--input", type=Path, metavar="VIDEO|FOLDER|BAG", help="default: a rendered street scene")
    add("--topic", help="image topic of a bag; default: its only one")
    add("--output", type=Path, default=Path("lrn_demo"), metavar="DIR", help="(%(default)s)")
    add("--frames", type=natural, default=150, help="how many to play, 0: all (%(default)s)")
    add("--rate", type=frequency, help=f"Hz; default: the input's own, else {_RATE:g}")
    add("--size", type=positive, nargs=2, default=(360, 640), metavar=("H", "W"),
        help="of the rendered scene (360 640)")  # fmt: skip
    add("--seed", type=natural, default=0, help="of the rendered scene (%(default)s)")
    add("--model", default="lrnnet_c_camvid", help="a name, or a path (%(default)s)")
    add("--backend", default="auto", help="of the node (%(default)s)")
    add("--precision", default="auto", help="of the node (%(default)s)")
    add("--domain-id", type=natural, help="ROS domain; default: ROS_DOMAIN_ID, else a random one")
    add("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo and print its report."""
    from lrn_ros.model.artifact import SUFFIXES, read_info, resolve_model
    from lrn_ros.play.demo import DemoFiles, DemoOptions, run_demo
    from lrn_ros.play.processes import check_domain, check_ros

    check_ros()
    check_domain(args.domain_id)
    info = read_info(resolve_model(args.model, SUFFIXES))
    source, rate = _source(args, info)
    claim_output(args.output, "demo")
    files = DemoFiles(args.output)
    for old in (files.logs, files.masks, files.labels):
        shutil.rmtree(old, ignore_errors=True)
    for name in _WRITTEN:
        (args.output / name).unlink(missing_ok=True)
    options = DemoOptions(
        args.input, args.topic, args.output, args.frames, rate, tuple(args.size), args.seed,
        args.model, args.backend, args.precision, args.domain_id,
    )  # fmt: skip
    count = min(args.frames or source.count or 0, source.count or args.frames)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say = _Line(f"{source.title} at {rate:g} Hz", count, quiet=args.json)
    complete = run_demo(options, say.update)
    say.close()
    report = _report(options, files, source, info)
    report["complete"] = complete
    write_json(args.output / "summary.json", report)
    if args.json:
        print_json(report)
    else:
        _print(report, args.output)
    if complete and not report["frames"]["answered"]:
        raise RunError(f"no frame was answered; {files.logs}/ may say why")
    return 0 if complete else 130


def _source(args: argparse.Namespace, info: ModelInfo) -> tuple[Source, float]:
    from lrn_ros.data.sources import SceneSource, open_source

    if args.input is not None:
        source = open_source(args.input, info.labels, args.topic)
        return source, args.rate or source.rate or _RATE
    if not args.frames:
        raise UserError("--frames 0: the rendered scene has no end; give a number")
    if min(args.size) < 64:
        raise UserError(f"--size {args.size[0]} {args.size[1]}: at least 64 pixels each")
    rate = args.rate or _RATE
    return SceneSource(args.seed, tuple(args.size), rate), rate


class _Line:
    """One line on stderr that tells how far the run is."""

    def __init__(self, title: str, total: int, quiet: bool) -> None:
        self._total, self._last, self._quiet = total, "", quiet
        if not quiet:
            print(f"lrn demo: {title}; starting camera, node and recorder", file=sys.stderr)

    def update(self, progress: Any) -> None:
        """Rewrite the line, on terminals only."""
        of = f"/{self._total}" if self._total else ""
        text = f"  sent {progress.sent}{of}, answered {progress.answered}"
        if not self._quiet and text != self._last and sys.stderr.isatty() and progress.sent:
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
            self._last = text

    def close(self) -> None:
        """End the line."""
        if self._last:
            print(file=sys.stderr)


def _report(
    options: DemoOptions, files: DemoFiles, source: Source, info: ModelInfo
) -> dict[str, Any]:
    """Score the recording, write latency.json and the contact sheet; the report as plain data."""
    from dataclasses import asdict

    from lrn_ros.metrics.latency import by_stage, rate
    from lrn_ros.metrics.machine import describe
    from lrn_ros.replay.recording import read_recording, score

    recording = read_recording(files.sent, files.received, files.masks)
    accounting = recording.accounting()
    stages = by_stage([f.stages for f in recording.answered])
    report: dict[str, Any] = {
        "input": source.title,
        "rate_hz": options.rate,
        "model": {"name": info.name, "architecture": info.architecture, "license": info.license},
        "backend": recording.backend,
        "machine": asdict(describe()),
        "frames": asdict(accounting) | {"balanced": accounting.balanced},
        "fps": {
            "in": round(rate([f.stamp_ns for f in recording.sent]), 3),
            "out": round(rate([f.stamp_ns for f in recording.answered]), 3),
        },
        "latency_ms": {name: asdict(p) for name, p in stages.items()},
        "accuracy": None,
    }
    index = {f.stamp_ns: f.index for f in recording.sent}
    frames = [
        {"index": index.get(f.stamp_ns), "stamp_ns": f.stamp_ns, **f.stages}
        for f in recording.answered
    ]
    write_json(options.output / "latency.json", report | {"per_frame": frames})
    if source.label_set == info.labels.name:
        found, compared = score(recording, files.labels, info.labels)
        if found is not None:
            report["accuracy"] = {
                "frames": compared,
                "miou": found.miou,
                "pixel_accuracy": found.pixel_accuracy,
                "iou": dict(zip(info.labels.names, found.iou, strict=True)),
            }
    _sheet(options, recording, source, info)
    return report


def _sheet(options: DemoOptions, recording: Recording, source: Source, info: ModelInfo) -> None:
    from lrn_ros.data.contact_sheet import contact_sheet
    from lrn_ros.images.compressed import write_png
    from lrn_ros.inference.palette import shown
    from lrn_ros.replay.recording import sample_rows

    rows = sample_rows(recording, source, options.output / "overlay.mp4")
    if rows:
        title = f"{info.name} on {recording.backend}: {source.title}"
        sheet = contact_sheet(title, rows, shown(info.labels))
        path = options.output / "contact_sheet.png"
        write_png(path, sheet)


def _print(report: dict[str, Any], output: Path) -> None:
    from lrn_ros.metrics.latency import Percentiles, table

    frames, fps = report["frames"], report["fps"]
    causes = ", ".join(f"{cause} {n}" for cause, n in frames["dropped"].items())
    dropped = sum(frames["dropped"].values())
    print(f"model     {report['model']['name']} on {report['backend'] or 'nothing answered'}")
    print(
        f"frames    in {frames['sent']}, out {frames['answered']},"
        f" dropped {dropped}{f' ({causes})' if causes else ''}, lost {frames['lost']}"
    )
    print(f"fps       in {fps['in']:.1f}, out {fps['out']:.1f}")
    stages = {name: Percentiles(**p) for name, p in report["latency_ms"].items()}
    print("\n".join(table(stages)))
    if accuracy := report["accuracy"]:
        print(
            f"accuracy  mIoU {100 * accuracy['miou']:.1f} %, pixels"
            f" {100 * accuracy['pixel_accuracy']:.1f} % ({accuracy['frames']} labelled frames)"
        )
    written = [name for name in _WRITTEN if (output / name).is_file()]
    print(f"wrote     {output}/: {', '.join(written)}, masks/, labels/, log/")
    if not report["complete"]:
        print("interrupted; this is what was recorded until then", file=sys.stderr)
