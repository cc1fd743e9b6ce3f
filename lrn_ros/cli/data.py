# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn data: what is wrong with a data set, and other layouts into the package's."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import natural, print_json, share
from lrn_ros.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lrn_ros.data.check import Report, SplitFigures
    from lrn_ros.data.layouts import Files
    from lrn_ros.model.labels import LabelSet

_PICTURED = 12  # images of the contact sheet


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "data", help="check a data set, or convert one", description=__doc__
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_check(actions)
    _add_convert(actions)


def _add_check(actions: Any) -> None:
    parser = actions.add_parser(
        "check",
        help="say what is wrong with a data set",
        description="Read every image and label of a data set and say what is suspicious: classes"
        " that never occur, unlabelled pixels, duplicates between the splits, sizes.",
        epilog="Exit status: 0 fit to train on, 1 what `lrn train` refuses, 2 cannot be read.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="the data set; layouts: docs/training.md")
    sets = "label set, a name or a YAML file; default: FOLDER/labels.yaml"
    add("--labels", metavar="SET", help=sets)
    sheet = "write a contact sheet of images with their labels laid over to this PNG or JPEG"
    add("--sheet", type=Path, metavar="FILE", help=sheet)
    add("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=_check)


def _add_convert(actions: Any) -> None:
    parser = actions.add_parser(
        "convert",
        help="convert other layouts and kinds of masks to images/, labels/ and labels.yaml",
        description="Convert images with masks: of ids, of colours, with a palette, of 0 and 255,"
        " with instance ids; split or not; named NAME.png, NAME_mask.png or NAME_L.png.",
    )
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="folder with images and masks, at any depth")
    add("--output", type=Path, required=True, metavar="DIR", help="the new data set's folder")
    sets = "label set with the masks' colours or ids; default: one that SOURCE brings, else made"
    add("--labels", metavar="SET", help=sets)
    ids = "names of the ids in the masks, such as 0=background 255=road"
    add("--ids", nargs="+", default=[], metavar="ID=NAME", help=ids)
    add("--void", nargs="+", default=[], metavar="NAME", help="classes that become unlabelled")
    instances = "masks hold CLASS * N + NUMBER, as Cityscapes' instanceIds with N = 1000"
    add("--instances", type=natural, default=0, metavar="N", help=instances)
    split = "where SOURCE has no splits: whole drives validate, or the end of every drive (auto)"
    add("--split", choices=("auto", "drive", "time"), default="auto", help=split)
    add("--val", type=share, default=0.2, help="share of the images that validate (%(default)s)")
    add("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=_convert)


def _check(args: argparse.Namespace) -> int:
    from lrn_ros.data.check import check_folder, without_partner
    from lrn_ros.data.datasets import LABELS_FILE
    from lrn_ros.data.layouts import find_files, split_names, unlabelled_splits
    from lrn_ros.model.labels import LabelSet

    own = args.folder / LABELS_FILE
    if args.labels is None and args.folder.is_dir() and not own.is_file():
        raise UserError(f"there is no file {own}; name the label set with --labels SET")
    label_set = LabelSet.load(args.labels or own)
    found = {split: find_files(args.folder, split) for split in split_names(args.folder)}
    report, _ = check_folder(found, label_set)
    notes = without_partner(found, unlabelled_splits(args.folder))
    report = replace(report, findings=(*report.findings, *notes))
    if args.sheet is not None:
        _draw(args.sheet, found, label_set)
    if args.json:
        print_json(asdict(report) | {"refused": bool(report.refused or report.unreadable)})
    else:
        _print(report)
        if args.sheet is not None:
            print(f"wrote {args.sheet}")
    if report.unreadable:
        return 2
    return 1 if report.refused else 0


def _print(report: Report) -> None:
    """Figures by class and split, then the findings."""
    for split in report.splits:
        sizes = ", ".join(f"{n} of {h}x{w}" for h, w, n in split.sizes[:4])
        more = f" and {len(split.sizes) - 4} more sizes" if len(split.sizes) > 4 else ""
        void = f"{100 * split.void:.1f} % unlabelled"
        print(f"{split.name}: {split.images} images ({sizes}{more}), {void}")
    if report.splits:
        _print_classes(report.splits)
    for line in report.unreadable:
        print(f"cannot be read: {line}")
    for finding in report.findings:
        print(f"{'refused' if finding.refused else 'note'}: {finding.text}")
    if not report.unreadable and not report.findings:
        print("nothing suspicious")


def _print_classes(splits: Sequence[SplitFigures]) -> None:
    width = max(14, *(len(c.name) for c in splits[0].classes))
    heads = "".join(f" {s.name[:8]:>9} {'images':>7}" for s in splits)
    print(f"{'class, % of pixels':{width}}{heads}")
    for row in zip(*(s.classes for s in splits)):
        cells = "".join(f" {100 * c.share:9.2f} {c.images:7}" for c in row)
        print(f"{row[0].name:{max(width, 18)}}{cells}")


def _draw(path: Path, found: Mapping[str, Sequence[Files]], label_set: LabelSet) -> None:
    """A contact sheet of images that are spread evenly over the splits."""
    from lrn_ros.data.contact_sheet import Row, contact_sheet
    from lrn_ros.data.datasets import read_pair
    from lrn_ros.images.compressed import encode_jpeg, encode_png
    from lrn_ros.inference.overlay import blend, colorize
    from lrn_ros.model.artifact import write_atomically

    encode = {".png": encode_png, ".jpg": encode_jpeg, ".jpeg": encode_jpeg}
    if path.suffix.lower() not in encode:
        raise UserError(f"--sheet {path}: the name of a picture ends in .png or .jpg")
    rows = []
    for split, files in found.items():
        count = min(len(files), max(1, _PICTURED // len(found)))
        for i in range(count):
            try:
                pair = read_pair(files[i * len(files) // count], label_set)
            except UserError as error:
                print(error, file=sys.stderr)
                continue
            color = colorize(pair.label, label_set.lookup())
            overlay = blend(pair.rgb, color, pair.label, 0.5)
            rows.append(Row(f"{split}/{pair.name}", pair.rgb, overlay, pair.label))
    sheet = contact_sheet("images, labels laid over, labels", rows, label_set)
    write_atomically(path, encode[path.suffix.lower()](sheet))


def _convert(args: argparse.Namespace) -> int:
    from lrn_ros.data.convert import Options, convert
    from lrn_ros.model.labels import LabelSet

    options = Options(
        labels=LabelSet.load(args.labels) if args.labels else None,
        ids=dict(map(_id_name, args.ids)),
        void=tuple(args.void),
        instances=args.instances,
        split=args.split,
        val=args.val,
    )
    made = convert(args.source, args.output, options)
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "labels": made.labels.to_dict(),
                "images": dict(made.images),
                "split_by": made.split_by,
                "without_mask": [str(p) for p in made.alone],
            }
        )
        return 0
    counts = ", ".join(f"{split} {n}" for split, n in sorted(made.images.items()))
    how = {"source": "the source's own splits", "drive": "split by drive", "time": "split by time"}
    print(f"wrote {args.output}: {counts} images ({how[made.split_by]})")
    print(f"classes in labels.yaml: {', '.join(made.labels.names)}")
    if made.alone:
        print(f"left out, without a mask: {len(made.alone)} images, such as {made.alone[0]}")
    print(f"next: lrn data check {args.output}")
    return 0


def _id_name(text: str) -> tuple[int, str]:
    number, _, name = text.partition("=")
    if not number.isdigit() or not name or int(number) > 255:
        raise UserError(f"--ids {text}: ID=NAME is expected, such as 255=road")
    return int(number), name
