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
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrn_ros.cli.common import duration, positive
from lrn_ros.errors import UserError


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "train", help="train a recipe, or go on with a stopped run", description=__doc__
    )
    add = parser.add_argument
    add("config", metavar="CONFIG", help="recipe: a name under config/train/, or a YAML file")
    where = "train/ trainannot/ val/ valannot/ (default: $LRN_DATA/camvid or data/camvid)"
    add("--data", type=Path, metavar="DIR", help=where)
    add("--output", type=Path, metavar="DIR", help="run folder; default: runs/NAME")
    budget = "end the schedule after this much training, resumed time counted: 75m, 2h, 1h30m"
    add("--max-time", type=duration, metavar="TIME", help=budget)
    add("--steps", type=positive, help="instead of the recipe's")
    add("--devices", type=positive, default=1, help="per node (%(default)s)")
    add("--num-nodes", type=positive, default=1, help="(%(default)s)")
    add("--restart", action="store_true", help="begin anew, discard the run's checkpoint")
    add("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train to the end of the schedule."""
    from lrn_ros.training.recipe import load_recipe

    recipe = load_recipe(args.config)
    if args.steps:
        recipe = replace(recipe, steps=args.steps)
    data = find_data(args.data)
    try:
        from lrn_ros.training.trainer import Trainer
    except ImportError as error:
        if (error.name or "").startswith("lrn_ros"):
            raise
        raise UserError(f"training: {error}; pip install 'lrn_ros[train]'") from error
    trainer = Trainer(
        recipe,
        data,
        args.output or Path("runs") / recipe.name,
        max_time=args.max_time,
        devices=args.devices,
        num_nodes=args.num_nodes,
        progress=not args.quiet,
    )
    if args.restart:
        trainer.checkpoint.unlink(missing_ok=True)
    if trainer.resume():
        print(f"resumed at step {trainer.state.step} of {recipe.steps}")
    with _interrupt_after_step() as stopped:
        try:
            trainer.fit(stop=lambda: bool(stopped))
        except KeyboardInterrupt:
            print(
                f"stopped at step {trainer.state.step}, saved {trainer.checkpoint};"
                " the same command goes on from there",
                file=sys.stderr,
            )
            raise
    return 0


def find_data(given: Path | None) -> Path:
    """The data set folder.

    Raises:
        UserError: it is not there; the message says where to put it.
    """
    root = os.environ.get("LRN_DATA")
    folder = given or (Path(root) if root else Path("data")) / "camvid"
    missing = [n for n in ("train", "trainannot", "val", "valannot") if not (folder / n).is_dir()]
    if missing:
        raise UserError(
            f"data set {folder}: no folder {missing[0]}/; it holds train/ trainannot/ val/"
            " valannot/ (images, and label PNGs of the same names: SegNet's CamVid); put it there,"
            " or name another with --data DIR or $LRN_DATA (the folder above camvid/)"
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
