# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn models: every architecture with its cost, beside what the papers report; weights at hand."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import positive, print_json
from lrn_ros.errors import UserError, needs

if TYPE_CHECKING:
    from lrn_ros.networks.counting import Counts
    from lrn_ros.networks.reported import Reported


@dataclass(frozen=True)
class Weights:
    """A model file under weights/: what its header says."""

    name: str
    architecture: str
    classes: int
    license: str
    val_miou: float | None


@dataclass(frozen=True)
class Comparison:
    """A row of a paper beside what is counted here."""

    reported: Reported
    parameters: int
    multiply_adds: int


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "models",
        help="architectures with parameters and multiply-adds, and the weights at hand",
        description=__doc__,
        epilog="conv: multiply-adds of the convolutions; ptflops: with normalisation, activations"
        " and pooling as that tool counts them; core: of the non-local module; total: all three."
        " Reported figures are compared with those counted at the papers' sizes, 19 classes.",
    )
    parser.add_argument(
        "--size", type=positive, nargs=2, default=(512, 1024), metavar=("H", "W"),
        help="input size counted at (512 1024)",
    )  # fmt: skip
    parser.add_argument("--classes", type=positive, default=19, help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the three tables."""
    with needs("torch", "counting needs torch"):
        from lrn_ros.networks import architectures
        from lrn_ros.networks.counting import count
    height, width = args.size
    if min(height, width) < 64:
        raise UserError(f"--size {height} {width}: networks take 64x64 pixels and up")
    names = architectures()
    counts = {n: count(n, num_classes=args.classes, size=(height, width)) for n in names}
    compared = compare()
    weights = find_weights()
    if args.json:
        print_json(_as_data(counts, compared, weights, args))
        return 0
    print(f"{args.classes} classes, {height}x{width} (multiply-adds in billions)")
    rows = [
        (n, f"{c.parameters:,}", f"{c.mac / 1e9:.4f}", f"{c.total / 1e9:.4f}")
        for n, c in counts.items()
    ]
    _table(("architecture", "parameters", "conv", "total"), rows, right=3)
    print("\nreported and reproduced, 19 classes (millions, billions)")
    _print_compared(compared)
    print("\nweights")
    found = [
        (w.name, w.architecture, str(w.classes), _percent(w.val_miou), w.license) for w in weights
    ]
    if found:
        _table(("name", "architecture", "classes", "val mIoU", "licence"), found, right=0)
    else:
        print("none")
    return 0


def compare() -> list[Comparison]:
    """What the papers report, beside what is counted at their sizes."""
    from lrn_ros.networks.counting import count
    from lrn_ros.networks.reported import REPORTED

    found = []
    for row in REPORTED:
        counts = count(row.architecture, num_classes=19, size=row.size)
        found.append(Comparison(row, counts.parameters, counts.under(row.convention)))
    return found


def _print_compared(compared: list[Comparison]) -> None:
    head = ("source", "architecture", "size", "convention")
    rows = [
        (
            *(c.reported.source, c.reported.architecture),
            *("{}x{}".format(*c.reported.size), c.reported.convention),
            *_beside(c.reported.parameters, c.parameters / 1e6),
            *_beside(c.reported.multiply_adds, c.multiply_adds / 1e9),
        )
        for c in compared
    ]
    _table((*head, "parameters", "ours", "", "multiply-adds", "ours", ""), rows, right=6)


def _beside(reported: float | None, ours: float) -> tuple[str, str, str]:
    """Cells for a reported figure, ours, and how far ours is from it."""
    if reported is None:
        return "", f"{ours:.3f}", ""
    return f"{reported:g}", f"{ours:.3f}", f"{100 * (ours / reported - 1):+.1f} %"


def find_weights() -> list[Weights]:
    """The model files under weights/."""
    from lrn_ros.model.artifact import read_info, weights_folder

    found = []
    for path in sorted(weights_folder().glob("*.safetensors")):
        info = read_info(path)
        figures: dict[str, float] = next(
            (v for k, v in info.metrics.items() if k.split()[-1] == "val"), {}
        )
        found.append(
            Weights(
                path.stem, info.architecture, len(info.labels), info.license, figures.get("miou")
            )
        )
    return found


def _as_data(
    counts: dict[str, Counts],
    compared: list[Comparison],
    weights: list[Weights],
    args: argparse.Namespace,
) -> dict[str, Any]:
    return {
        "size": list(args.size),
        "classes": args.classes,
        "architectures": [
            {
                "name": n,
                "parameters": c.parameters,
                "conv_multiply_adds": c.mac,
                "total_multiply_adds": c.total,
            }
            for n, c in counts.items()
        ],
        "reported": [
            {
                "source": c.reported.source,
                "architecture": c.reported.architecture,
                "size": list(c.reported.size),
                "convention": c.reported.convention,
                "parameters_reported_millions": c.reported.parameters,
                "parameters": c.parameters,
                "multiply_adds_reported_billions": c.reported.multiply_adds,
                "multiply_adds": c.multiply_adds,
            }
            for c in compared
        ],
        "weights": [vars(w) for w in weights],
    }


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.1f} %"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: int) -> None:
    """Print aligned columns, the last `right` ones to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if i >= len(head) - right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
