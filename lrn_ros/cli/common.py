# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shared parts of the subcommands: argument types, options of the Segmenter, output folders."""

from __future__ import annotations

import argparse
import logging
import math
import re
import signal
from pathlib import Path
from typing import Any

from lrn_ros.errors import UserError
from lrn_ros.inference.backends import MODULES, PRECISIONS
from lrn_ros.model.json_text import to_json

_MARKER = ".lrn_output"
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def duration(text: str) -> float:
    """Seconds of a duration such as 90s, 75m, 2h or 1h30m; a bare number is seconds."""
    match = _DURATION.fullmatch(text.strip())
    parts = match.groups() if match else ()
    if any(parts):
        seconds = sum(float(p or 0) * unit for p, unit in zip(parts, (3600, 60, 1), strict=True))
    elif re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        seconds = float(text)
    else:
        seconds = 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; 90s, 75m, 2h or 1h30m work")
    return seconds


def positive(text: str) -> int:
    """A whole number from 1 up."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """A whole number from 0 up."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
    return value


def frequency(text: str) -> float:
    """A rate in Hz, above 0 and at most 1000."""
    return _number(text, 1e-3, 1000.0)


def share(text: str) -> float:
    """A number from 0 to 1."""
    return _number(text, 0.0, 1.0)


def points(text: str) -> float:
    """A number of percentage points, or percent, from 0 to 100."""
    return _number(text, 0.0, 100.0)


def scale(text: str) -> float:
    """A factor from 0.1 to 4."""
    return _number(text, 0.1, 4.0)


def speed(text: str) -> float:
    """A factor from 0.1 to 10."""
    return _number(text, 0.1, 10.0)


def _number(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
    return value


def add_segmenter_options(parser: argparse.ArgumentParser) -> None:
    """--backend, --precision, --network-size, --threads."""
    backends, precisions = ", ".join(("auto", *MODULES)), ", ".join(PRECISIONS)
    parser.add_argument("--backend", default="auto", help=f"one of {backends} (%(default)s)")
    parser.add_argument("--precision", default="auto", help=f"one of {precisions} (%(default)s)")
    parser.add_argument(
        "--network-size", type=positive, nargs=2, metavar=("H", "W"),
        help="size at which the network runs, multiples of 8; default: the trained short side",
    )  # fmt: skip
    parser.add_argument("--threads", type=positive, help="CPU threads of the backend")


def load_segmenter(args: argparse.Namespace) -> Any:
    """The Segmenter that the options name; logs its backend, and backends that would be faster."""
    from lrn_ros.inference.backends import MODULES
    from lrn_ros.inference.segmenter import Segmenter

    size = tuple(args.network_size) if args.network_size else None
    segmenter = Segmenter.load(
        args.model,
        backend=args.backend,
        precision=args.precision,
        network_size=size,
        threads=args.threads,
    )
    log, backend = logging.getLogger("lrn_ros"), segmenter.backend
    log.info("backend %s %s on %s", backend.name, backend.precision, backend.device_name)
    for name, reason in segmenter.passed_over:
        if not MODULES[name].needs_driver:  # without a driver they cannot work on this machine
            log.warning("backend %s would be faster: %s", name, reason)
    return segmenter


def claim_output(folder: Path, command: str, option: str = "--output") -> None:
    """Make an output folder, or reuse a folder that the same command made before.

    Raises:
        UserError: it holds files that this command did not write.
    """
    marker = folder / _MARKER
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{option} {folder}: is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()):
        owner = marker.read_text(encoding="utf-8").strip() if marker.is_file() else ""
        if owner != command:
            whose = f"written by lrn {owner}" if owner else "with files of others"
            raise UserError(
                f"{option} {folder}: a folder {whose}, nothing was overwritten;"
                " name a new or empty folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(f"{command}\n", encoding="utf-8")


def interrupt_once() -> None:
    """Let the first SIGINT or SIGTERM raise KeyboardInterrupt; a SIGINT after it does nothing.

    What was done can be written then: `ros2 launch` sends SIGINT and the terminal sends it, too. A
    SIGINT that is ignored stays ignored.
    """

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)


def print_json(data: Any) -> None:
    """Print as JSON; NaN becomes null."""
    print(to_json(data, indent=2))


def write_json(path: Path, data: Any) -> None:
    """Write as JSON, as print_json does; a reader sees the old file or the new one."""
    from lrn_ros.model.artifact import write_atomically  # imports OpenCV

    write_atomically(path, f"{to_json(data, indent=2)}\n".encode())
