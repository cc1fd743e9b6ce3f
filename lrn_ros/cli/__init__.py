# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command `lrn`: one file per subcommand, which imports heavy packages only when it runs."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from lrn_ros import __version__
from lrn_ros.errors import BackendError, RunError, UserError, one_line

SUBCOMMANDS = (
    "demo",
    "segment",
    "models",
    "train",
    "evaluate",
    "export",
    "benchmark",
    "data",
    "bag",
    "replay",
    "compare",
    "view",
)


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lrn", description="Real-time segmentation of driving scenes for ROS 2.")
    parser.add_argument("--version", action="version", version=f"lrn_ros {__version__}")
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    for name in SUBCOMMANDS:
        importlib.import_module(f"lrn_ros.cli.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 done, 1 failed at run time, 2 wrong usage or input, 130 interrupted.
    """
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed help, version or the error
        return stop.code if isinstance(stop.code, int) else 2
    args.command_line = ("lrn", *(sys.argv[1:] if argv is None else argv))
    _log_to_stderr()
    try:
        return int(args.run(args))
    except (UserError, BackendError) as error:
        print(f"lrn {args.command}: {one_line(error)}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"lrn {args.command}: failed: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"lrn {args.command}: failed: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"lrn {args.command}: interrupted", file=sys.stderr)
        return 130


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _log_to_stderr() -> None:
    """Show the log of the package, such as the progress of a compilation."""
    package = logging.getLogger("lrn_ros")
    if not package.handlers:
        package.setLevel(logging.INFO)
        package.addHandler(_Stderr())
