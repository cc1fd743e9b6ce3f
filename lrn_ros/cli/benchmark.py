# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn benchmark: latency, throughput, memory and agreement of models, side by side."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import claim_output, duration, positive, print_json, write_json
from lrn_ros.errors import UserError, needs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrn_ros.benchmark.figures import Figures
    from lrn_ros.benchmark.measure import Measurement, Plan
    from lrn_ros.benchmark.models import Model

_JSON, _TEXT, _PICTURE = "results.json", "results.md", "latency_accuracy.png"


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "benchmark",
        help="measure latency, throughput, memory and agreement, side by side",
        description=__doc__,
        epilog="Every combination is a process; all are started first and then measured in turns."
        " docs/performance.md says what the figures mean.",
    )
    add = parser.add_argument
    models = "names under weights/, paths, or architectures, which get random weights"
    add("--models", nargs="+", metavar="MODEL", help=f"{models} (lrnnet_c_camvid)")
    protocol = "one image at a time in fp32 on an NVIDIA GPU, every network of the papers at the"
    protocol += " sizes of its paper; --models, --backends and --precisions change that"
    add("--protocol", choices=("paper",), help=protocol)
    add("--backends", nargs="+", metavar="BACKEND", help="default: all; torch fp32 is always run")
    others = "somebody else's networks, in the same run: any ONNX file whose input is one image"
    add("--onnx", nargs="+", type=Path, default=[], metavar="FILE", help=others)
    add("--precisions", nargs="+", metavar="PRECISION", help="default: fp32 fp16 bf16 int8")
    sizes = "of the frames and of the network's input, multiples of 8 (512x1024)"
    add("--sizes", nargs="+", type=_size, default=[(512, 1024)], metavar="HxW", help=sizes)
    add("--threads", type=positive, help="CPU threads of every process; default: usable cores")
    add("--frames", type=positive, default=20, help="frames per round (%(default)s)")
    add("--rounds", type=positive, default=5, help="smallest number of rounds (%(default)s)")
    budget = "rounds are repeated for as long while they differ by more than 10 %% (10m)"
    add("--budget", type=duration, default=600.0, metavar="TIME", help=budget)
    data = "score on the val split of this data set; default: agreement on rendered scenes"
    add("--data", type=Path, metavar="DIR", help=data)
    files = f"folder for {_JSON}, {_TEXT} and {_PICTURE}"
    add("--output", type=Path, metavar="DIR", help=files)
    add("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not match:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; HEIGHTxWIDTH such as 512x1024 works"
        )
    return int(match[1]), int(match[2])


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    from lrn_ros.benchmark.figures import figures
    from lrn_ros.benchmark.measure import measure

    _complete(args)
    with tempfile.TemporaryDirectory(prefix="lrn_benchmark_") as name:
        plan = _plan(args, Path(name))
        if args.output is not None:
            claim_output(args.output, "benchmark")
            for file in (_JSON, _TEXT, _PICTURE):
                (args.output / file).unlink(missing_ok=True)
        found = measure(plan, Path(name), _say)
    rows = figures(plan, found)
    _report(args, plan, found, rows)
    if found.interrupted:
        print("lrn benchmark: interrupted; this is what was measured", file=sys.stderr)
        return 130
    return 0 if rows else 1


def _complete(args: argparse.Namespace) -> None:
    """Check the options and fill in those that depend on the package or the machine."""
    from lrn_ros.inference.backends.base import MODULES, PRECISIONS
    from lrn_ros.inference.geometry import check_network_size
    from lrn_ros.metrics.machine import describe

    if args.protocol:
        _complete_protocol(args)
    args.models = args.models or ["lrnnet_c_camvid"]
    allowed = {"backends": list(MODULES), "precisions": [p for p in PRECISIONS if p != "auto"]}
    for option, known in allowed.items():
        given = getattr(args, option) or known
        setattr(args, option, given)
        for value in given:
            if value not in known:
                raise UserError(f"--{option} {value} is unknown; there are {', '.join(known)}")
    for size in args.sizes:
        check_network_size(size)
    args.threads = args.threads or describe().cores
    if args.output is not None:
        with needs("evaluate", "--output draws with matplotlib"):
            import lrn_ros.benchmark.plot  # noqa: F401


def _complete_protocol(args: argparse.Namespace) -> None:
    """Fill in what `--protocol paper` says; the sizes follow from the models."""
    with needs("torch", "--protocol paper makes its networks with torch"):
        import torch

        from lrn_ros.networks.reported import speed_sizes

    if args.backends is None:
        if not torch.cuda.is_available():
            raise UserError(
                "--protocol paper: no NVIDIA GPU here; `--backends openvino` measures the same"
                " networks and sizes on the CPU"
            )
        args.backends = ["tensorrt", "cuda"]
    args.models = args.models or list(speed_sizes())
    args.precisions = args.precisions or ["fp32"]


def _plan(args: argparse.Namespace, folder: Path) -> Plan:
    from lrn_ros.benchmark.measure import Plan, combine
    from lrn_ros.benchmark.models import find_models, other_models
    from lrn_ros.benchmark.worker import BASELINE
    from lrn_ros.data.layouts import find_files

    if args.data is not None:
        find_files(args.data, "val")
    others = other_models(args.onnx, args.models)
    models = find_models(args.models, (BASELINE[0], *args.backends), folder)
    combinations = []
    for model in models:
        sizes = _sizes_of(model) if args.protocol else args.sizes
        combinations += combine([model.name], args.backends, args.precisions, sizes)
    names = [other.name for other in others]
    combinations += combine([], args.backends, args.precisions, args.sizes, names)
    return Plan(
        [*models, *others],
        combinations,
        args.threads,
        args.frames,
        args.rounds,
        args.data,
        args.budget,
    )


def _sizes_of(model: Model) -> Sequence[tuple[int, int]]:
    """The sizes at which the paper of a model's architecture gives its speed."""
    from lrn_ros.networks.reported import speed_sizes

    known, architecture = speed_sizes(), model.info.architecture if model.info else "stranger"
    if architecture not in known:
        raise UserError(
            f"--protocol paper: {model.name} is a {architecture}, which is in no table of the"
            f" papers; there are {', '.join(known)}"
        )
    return known[architecture]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _command(args: argparse.Namespace) -> str:
    """The command line with every option that matters."""
    parts = ["lrn", "benchmark", "--models", *args.models, "--backends", *args.backends]
    parts += ["--precisions", *args.precisions]
    if args.protocol:
        parts += ["--protocol", args.protocol]
    else:
        parts += ["--sizes", *("{}x{}".format(*s) for s in args.sizes)]
    for option in ("threads", "frames", "rounds"):
        parts += [f"--{option}", str(getattr(args, option))]
    parts += ["--budget", f"{args.budget:g}s"]
    if args.onnx:
        parts += ["--onnx", *map(str, args.onnx)]
    return shlex.join([*parts, "--data", str(args.data)] if args.data else parts)


def _report(args: argparse.Namespace, plan: Plan, found: Measurement, rows: list[Figures]) -> None:
    from dataclasses import asdict

    from lrn_ros.benchmark.figures import limits
    from lrn_ros.benchmark.table import report
    from lrn_ros.benchmark.worker import BASELINE
    from lrn_ros.metrics.machine import describe

    machine, peak, command = describe(), limits(found), _command(args)
    data = {
        "command": command,
        "machine": asdict(machine),
        "baseline": f"{' '.join(BASELINE)}: its bare or eager, whichever is less",
        "interrupted": found.interrupted,
        "limits": asdict(peak) if peak else None,
        "combinations": [_flat(asdict(row)) for row in rows],
        "not_measured": [_flat(asdict(one)) for one in found.skipped],
    }
    text = report(plan, found, rows, peak, machine)
    if args.json:
        print_json(data)
    else:
        print(text)
    if args.output is not None:
        write_json(args.output / _JSON, data)
        page = f"# Benchmark\n\n```sh\n{command}\n```\n\n{text}\n"
        (args.output / _TEXT).write_text(page, encoding="utf-8")
        _say(_draw(args.output / _PICTURE, rows, f"{machine.cpu}, {plan.threads} threads"))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its combination's parts beside the rest."""
    return {**row.pop("combination"), **row}


def _draw(path: Path, rows: list[Figures], machine: str) -> str:
    """Draw what has an accuracy; returns what was written and what is not on the picture."""
    from lrn_ros.benchmark.plot import accuracy, draw_latency

    shown = [r for r in rows if accuracy(r) is not None and r.parameters is not None]
    absent = sorted({r.combination.model for r in rows if r not in shown})
    if shown:
        draw_latency(path, shown, machine)
    wrote = f"wrote {path.parent}/: {_JSON}, {_TEXT}" + (f", {_PICTURE}" if shown else "")
    return wrote + (f"; not drawn, without accuracy: {', '.join(absent)}" if absent else "")
