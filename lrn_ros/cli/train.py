# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn train: trains a recipe; a run that was stopped goes on where it was."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import duration, positive, print_json
from lrn_ros.errors import UserError, needs

if TYPE_CHECKING:
    from lrn_ros.data.check import Report
    from lrn_ros.training.trainer import Trainer


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "train", help="train a recipe, or go on with a stopped run", description=__doc__
    )
    add = parser.add_argument
    recipe = "recipe: a name under config/train/, or a YAML file"
    add("config", metavar="CONFIG", nargs="?", help=recipe)
    new = "write a recipe for the data set of --data to NAME.yaml, and end"
    add("--new", metavar="NAME", help=new)
    sets = (
        "with --new: the label set; default: the data set's labels.yaml, else one made of its ids"
    )
    add("--labels", metavar="SET", help=sets)
    where = "data set folder (default: $LRN_DATA/NAME or data/NAME, NAME the recipe's dataset)"
    add("--data", type=Path, metavar="DIR", help=where)
    add("--output", type=Path, metavar="DIR", help="run folder; default: runs/NAME")
    budget = "end the schedule after this much training, resumed time counted: 75m, 2h, 1h30m"
    add("--max-time", type=duration, metavar="TIME", help=budget)
    add("--steps", type=positive, help="number of steps, in place of the recipe's")
    change = "change a key of the recipe, such as seed=2 or architecture=lrnnet_b; repeatable"
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help=change)
    add("--devices", type=positive, default=1, help="number of GPUs per machine (%(default)s)")
    add("--num-nodes", type=positive, default=1, help="number of machines (%(default)s)")
    add("--log", choices=("csv", "tensorboard"), default="csv",
        help="format of the log (%(default)s)")  # fmt: skip
    add("--restart", action="store_true", help="begin anew and discard the run's checkpoint")
    add("--anyway", action="store_true", help="train although the check of the data refuses it")
    add("--quiet", action="store_true", help="print only the start and the end")
    add("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train to the end of the schedule, or write a recipe."""
    if bool(args.new) == bool(args.config):
        raise UserError("name a recipe to train, or --new NAME to write one")
    if args.new:
        return _write_recipe(args)
    if args.labels:
        raise UserError("--labels works only with --new; for a recipe use --set labels=SET")
    return _train(args)


def _write_recipe(args: argparse.Namespace) -> int:
    """Look through the data and write a recipe that fits them."""
    from lrn_ros.training.template import write_recipe

    if args.data is None:
        raise UserError("--new: name the data set with --data DIR")
    made = write_recipe(args.new, args.data, args.labels, args.max_time)
    for line in made.remarks:
        print(f"note: {line}")
    print(f"wrote {', '.join(map(str, made.files))}; next: lrn train {made.files[0]}")
    return 0


def _train(args: argparse.Namespace) -> int:
    from lrn_ros.training.recipe import load_recipe, parse_changes

    changes = parse_changes(args.changes)
    if args.steps:
        changes["steps"] = args.steps
    if args.max_time:
        changes["max_minutes"] = args.max_time / 60
    recipe = load_recipe(args.config, changes)
    data = find_data(args.data, recipe.dataset)
    with needs("train", "training"):
        from lrn_ros.training.trainer import Trainer
    trainer = Trainer(
        recipe,
        data,
        args.output or Path("runs") / recipe.name,
        devices=args.devices,
        num_nodes=args.num_nodes,
        progress=not args.quiet,
        tensorboard=args.log == "tensorboard",
    )
    say = sys.stderr if args.json else sys.stdout
    first = trainer.fabric.is_global_zero
    if first:
        _heed(trainer.report, args.anyway)
    if args.restart and first:
        trainer.checkpoint.unlink(missing_ok=True)
    trainer.fabric.barrier()
    resumed = trainer.resume()
    if first:
        print(_start_line(trainer, resumed), file=say)
    with _interrupt_after_step() as stopped:
        try:
            trainer.fit(stop=lambda: bool(stopped))
        except KeyboardInterrupt:
            if first:
                print(
                    f"stopped at step {trainer.state.step}, saved {trainer.checkpoint};"
                    " the same command goes on from there",
                    file=sys.stderr,
                )
            raise
    _finish(trainer, args.json)
    return 0


def _heed(report: Report, anyway: bool) -> None:
    """Say what the check of the data found.

    Raises:
        UserError: something that is refused, unless `anyway`.
    """
    if report.refused and not anyway:
        raise UserError(
            f"the data set is refused: {'; '.join(report.refused)} (lrn data check shows more;"
            " --anyway trains all the same)"
        )
    for finding in report.findings:
        print(f"data: {finding.text}", file=sys.stderr)


def _start_line(trainer: Trainer, resumed: bool) -> str:
    recipe, state = trainer.recipe, trainer.state
    if resumed:
        return f"resumed at step {state.step} of {recipe.steps}"
    budget = f" or {recipe.max_minutes:g} minutes" if recipe.max_minutes else ""
    height, width = trainer.size
    return (
        f"training {recipe.name}, {recipe.architecture}: {len(trainer.train)} images of"
        f" {height}x{width}, {len(trainer.val)} to validate on, {len(trainer.labels)} classes,"
        f" {recipe.steps} steps of {recipe.batch}{budget}; Ctrl-C stops, the same command goes on"
    )


def _finish(trainer: Trainer, json: bool) -> None:
    """Release the model and say how good it is."""
    from lrn_ros.training.progress import class_line
    from lrn_ros.training.release import release

    made = release(trainer)
    if not trainer.fabric.is_global_zero:
        return
    say = sys.stderr if json else sys.stdout
    if trainer.clock.shares:
        print(trainer.clock, file=say)
    print(class_line(made.scores, trainer.labels), file=say)
    print(f"wrote {made.model}, {made.curve.name} and {made.card.name}", file=say)
    if json:
        print_json(
            {
                "model": str(made.model),
                "steps": trainer.state.step,
                "seconds": trainer.state.elapsed,
                "images_per_second": trainer.clock.images_per_second,
                "forward_images_per_second": trainer.clock.forward_images_per_second(),
                "shares": trainer.clock.shares,
                "val": {
                    "miou": made.scores.miou,
                    "pixel_accuracy": made.scores.pixel_accuracy,
                    "iou": dict(zip(trainer.labels.names, made.scores.iou, strict=True)),
                },
            }
        )


def find_data(given: Path | None, name: str) -> Path:
    """The data set folder: the given one, else NAME below $LRN_DATA or data/.

    Raises:
        UserError: it is not there; the message says where to put it.
    """
    root = os.environ.get("LRN_DATA")
    named = Path(name) if "/" in name else (Path(root) if root else Path("data")) / name
    folder = given or named
    if not folder.is_dir():
        raise UserError(
            f"data set {folder}: no such folder; put the data there, or name another folder with"
            f" --data DIR or $LRN_DATA (the folder above {name}/)"
        )
    return folder


@contextmanager
def _interrupt_after_step() -> Iterator[list[int]]:
    """Turn Ctrl-C into an entry of a list, so that a step is never cut; the second one is real."""
    stopped: list[int] = []

    def note(number: int, frame: Any) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)
        print("stopping after this step; Ctrl-C again to lose it", file=sys.stderr)

    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
