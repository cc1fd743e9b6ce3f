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
from typing import Any

from lrn_ros.cli.common import duration, positive, print_json
from lrn_ros.errors import UserError, needs


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "train", help="train a recipe, or go on with a stopped run", description=__doc__
    )
    add = parser.add_argument
    add("config", metavar="CONFIG", help="recipe: a name under config/train/, or a YAML file")
    where = "data set folder (default: $LRN_DATA/NAME or data/NAME, NAME the recipe's dataset)"
    add("--data", type=Path, metavar="DIR", help=where)
    add("--output", type=Path, metavar="DIR", help="run folder; default: runs/NAME")
    budget = "end the schedule after this much training, resumed time counted: 75m, 2h, 1h30m"
    add("--max-time", type=duration, metavar="TIME", help=budget)
    add("--steps", type=positive, help="instead of the recipe's")
    change = "change a key of the recipe, such as seed=2 or architecture=lrnnet_b; repeatable"
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help=change)
    add("--devices", type=positive, default=1, help="per node (%(default)s)")
    add("--num-nodes", type=positive, default=1, help="(%(default)s)")
    add("--log", choices=("csv", "tensorboard"), default="csv", help="(%(default)s)")
    add("--restart", action="store_true", help="begin anew, discard the run's checkpoint")
    add("--quiet", action="store_true", help="no progress bar")
    add("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train to the end of the schedule."""
    from lrn_ros.training.recipe import load_recipe, parse_changes

    changes = parse_changes(args.changes)
    if args.steps:
        changes["steps"] = args.steps
    if args.max_time:
        changes["max_minutes"] = args.max_time / 60
    recipe = load_recipe(args.config, changes)
    data = find_data(args.data, recipe.dataset)
    with needs("train", "training"):
        from lrn_ros.training.release import release
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
    if args.restart and first:
        trainer.checkpoint.unlink(missing_ok=True)
    trainer.fabric.barrier()
    if trainer.resume() and first:
        print(f"resumed at step {trainer.state.step} of {recipe.steps}", file=say)
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
    made = release(trainer)
    if first:
        if trainer.clock.shares:
            print(trainer.clock, file=say)
        print(f"val mIoU {100 * made.scores.miou:.2f} %", file=say)
        print(f"wrote {made.model}, {made.curve.name} and {made.card.name}", file=say)
    if first and args.json:
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
    return 0


def find_data(given: Path | None, name: str) -> Path:
    """The data set folder: the given one, else NAME below $LRN_DATA or data/.

    Raises:
        UserError: it is not there; the message says where to put it.
    """
    root = os.environ.get("LRN_DATA")
    folder = given or (Path(root) if root else Path("data")) / name
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
