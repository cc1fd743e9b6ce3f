# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn models: every architecture with its cost, beside what the papers report; weights at hand."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import positive, print_json
from lrn_ros.errors import UserError, needs
from lrn_ros.metrics.text import table as text_table

if TYPE_CHECKING:
    from lrn_ros.networks.counting import Counts
    from lrn_ros.networks.reported import Reported


_TEACHERS = (
    "efficientnet_lite*_fpn: teachers of the small networks in training; none of the four papers"
    " describes them"
)


@dataclass(frozen=True)
class Weights:
    """A model file under weights/: what its header says."""

    name: str
    architecture: str
    classes: int
    labels: str
    license: str
    val_miou: float | None
    recipe: str
    device: str


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
        help="input size for which multiply-adds are counted (512 1024)",
    )  # fmt: skip
    parser.add_argument(
        "--papers", action="store_true",
        help="the rows of the papers' tables, with what is counted and trained here beside them",
    )  # fmt: skip
    parser.add_argument(
        "--figures", type=Path, metavar="DIR",
        help="run every model under weights/ on --data and draw speed.png and masks.png there, as"
        " Figures 1 and 3 of the LRNNet paper",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="DATASET", help="data set of --figures")
    parser.add_argument("--split", default="val", help="split of --data (%(default)s)")
    parser.add_argument("--images", type=positive, default=4,
                        help="number of images in masks.png (%(default)s)")  # fmt: skip
    parser.add_argument("--backend", default="auto", help="backend for --figures (%(default)s)")
    parser.add_argument("--classes", type=positive, default=19,
                        help="number of classes of the architectures (%(default)s)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the three tables, or what an option asks for."""
    if args.figures is not None:
        return _figures(args)
    with needs("torch", "counting needs torch"):
        from lrn_ros.networks import architectures
        from lrn_ros.networks.counting import count
    height, width = args.size
    if min(height, width) < 64:
        raise UserError(f"--size {height} {width}: networks take 64x64 pixels and up")
    if args.papers:
        return _papers(args.json)
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
    print(_TEACHERS)
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
    """The figures of the papers, beside those that are counted here at the same sizes."""
    from lrn_ros.networks.counting import count
    from lrn_ros.networks.reported import REPORTED

    found = []
    for row in REPORTED:
        if not row.convention or row.multiply_adds is None or row.size is None:
            continue
        counts = count(row.architecture, num_classes=19, size=row.size)
        found.append(Comparison(row, counts.parameters, counts.under(row.convention)))
    return found


def _print_compared(compared: list[Comparison]) -> None:
    head = ("source", "architecture", "size", "convention")
    rows = [
        (
            *(c.reported.source, c.reported.architecture),
            *("{}x{}".format(*(c.reported.size or ())), c.reported.convention),
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
        made = info.provenance
        recipe = made.get("recipe") or {}
        found.append(
            Weights(
                name=path.stem,
                architecture=info.architecture,
                classes=len(info.labels),
                labels=info.labels.name,
                license=info.license,
                val_miou=figures.get("miou"),
                recipe=str(recipe.get("name", "")),
                device=str(made.get("device", "")),
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
                "size": c.reported.size,
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


def _figures(args: argparse.Namespace) -> int:
    """Draw the figures of the LRNNet paper for the models under weights/."""
    from lrn_ros.cli.common import claim_output
    from lrn_ros.model.artifact import weights_folder

    if args.data is None:
        raise UserError("--figures needs --data, the data set that the models are run on")
    with needs("evaluate", "--figures draws with matplotlib"):
        from lrn_ros.report.drawings import draw_figures
    claim_output(args.figures, "models --figures", "--figures")
    models = sorted(weights_folder().glob("*.safetensors"))
    measured = draw_figures(models, args.data, args.split, args.figures, args.images, args.backend)
    if args.json:
        fields = ("name", "parameters", "miou", "fps")
        print_json([{f: getattr(one, f) for f in fields} for one in measured])
        return 0
    head = ("model", "parameters, M", "mIoU, %", "frames/s")
    rows = [(m.name, f"{m.parameters:.3f}", f"{m.miou:.2f}", f"{m.fps:.1f}") for m in measured]
    _table(head, rows, right=3)
    print(f"wrote {args.figures}/: speed.png, masks.png")
    return 0


def _papers(as_json: bool) -> int:
    """Print the rows of the papers' tables, with what is counted and trained here beside them."""
    from lrn_ros.networks.counting import CONVENTIONS, count
    from lrn_ros.networks.reported import PAPERS, REPORTED, UNREAD

    best = {w.architecture: w for w in find_weights() if w.val_miou is not None}
    counts = {
        row: count(row.architecture, num_classes=19, size=row.size or (512, 1024))
        for row in REPORTED
        if row.architecture
    }
    if as_json:
        print_json(
            [
                vars(row)
                | {
                    "parameters_here": counts[row].parameters if row in counts else None,
                    "multiply_adds_here": {c: counts[row].under(c) for c in CONVENTIONS}
                    if row in counts
                    else None,
                    "trained_here": vars(best[row.architecture])
                    if row.architecture in best
                    else None,
                }
                for row in REPORTED
            ]
        )
        return 0
    head = (
        *("table", "network", "here", "size", "params, M", "here", "multiply-adds, G"),
        *("conv", "ptflops", "+ core", "mIoU, %", "of", "trained here", "frames/s", "on", "note"),
    )
    notes = list(dict.fromkeys(row.note for row in REPORTED if row.note))
    for paper in PAPERS:
        rows = [
            _paper_row(r, counts.get(r), best.get(r.architecture), notes)
            for r in REPORTED
            if r.paper == paper
        ]
        print(f"{paper}, as its paper has it")
        _table(head, rows, right=0)
        print()
    _print_per_class()
    print("notes")
    for number, note in enumerate(notes, 1):
        print(f"  {number}  {note}")
    print(f"\n{UNREAD}")
    print("\ntrained here, by recipe and machine")
    for w in best.values():
        print(f"  {w.architecture}: {_trained(w)}, {w.recipe}, {w.device}")
    print("\nspeed here: `lrn benchmark --protocol paper` on the graphics card at hand")
    return 0


def _trained(weights: Weights) -> str:
    return f"{_percent(weights.val_miou)} {weights.labels} val"


def _paper_row(
    row: Reported, counts: Counts | None, trained: Weights | None, notes: list[str]
) -> tuple[str, ...]:
    def shown(value: float | None, form: str = "g") -> str:
        return "" if value is None else format(value, form)

    ours = [""] * 4
    if counts is not None:
        giga = (counts.mac, counts.mac + counts.elementwise, counts.total)
        ours = [f"{counts.parameters / 1e6:.3f}", *(f"{g / 1e9:.3f}" for g in giga)]
    return (
        *(row.source, row.network, row.architecture or "(cited)"),
        "{}x{}".format(*row.size) if row.size else "",
        *(shown(row.parameters), ours[0], shown(row.multiply_adds), *ours[1:]),
        *(shown(row.miou, ".1f"), row.miou_on),
        _trained(trained) if trained else "not trained" if row.architecture else "",
        *(shown(row.fps), row.fps_on),
        str(notes.index(row.note) + 1) if row.note else "",
    )


def _print_per_class() -> None:
    """Print the tables that have a figure for every class."""
    from lrn_ros.networks.reported import CITYSCAPES, REPORTED

    rows = [row for row in REPORTED if row.classes]
    print("LEDNet table 2, IoU in % on the test split of Cityscapes")
    table = [
        (name, *(f"{row.classes[i]:.1f}" for row in rows)) for i, name in enumerate(CITYSCAPES)
    ]
    table.append(("mean of the classes", *(f"{row.miou:.1f}" for row in rows)))
    table.append(("mean of the categories", *(f"{row.category_miou:.1f}" for row in rows)))
    _table(("class", *(row.network for row in rows)), table, right=len(rows))
    print()


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.1f} %"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: int) -> None:
    """Print aligned columns, the last `right` ones to the right."""
    print("\n".join(text_table(head, rows, left=len(head) - right)))
