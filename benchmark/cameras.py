# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The masks that the node gives for several cameras together, beside those for one camera.

python benchmark/cameras.py --cameras 4

A node under one camera and a node under several take turns, with as many images a second in all,
more than either can take; else this is said, and the exit status is 1. The ratio is that of the
medians.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from statistics import median

from soak import soak

from lrn_ros.metrics.machine import describe


def main() -> int:
    """Print the figures; returns 1 if several cameras get less than one, or if one starves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cameras", type=int, default=4, help="number of cameras (%(default)s)")
    add("--rate", type=float, default=40.0, help="images per second of all cameras (%(default)s)")
    add("--size", type=int, nargs=2, default=(720, 1280), metavar=("H", "W"))
    add("--seconds", type=float, default=20.0, help="seconds of a turn (%(default)s)")
    add("--turns", type=int, default=5, help="number of turns (%(default)s)")
    add("--backend", default="auto")
    args = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], args.cameras: []}
    least = 1.0  # of a camera, by its fair share
    kept_up = False
    for turn in range(args.turns):
        for count in list(rates)[:: -1 if turn % 2 else 1]:
            parameters = {"backend": args.backend}
            rate = args.rate / count
            found = soak(args.seconds, rate, tuple(args.size), parameters, count=count)
            rates[count].append(found.per_second)
            kept_up |= not found.dropped.get("superseded")
            least = min(least, min(found.by_camera) * count / found.published)
    ratio = median(rates[args.cameras]) / median(rates[1])
    figures = {
        "machine": asdict(describe()),
        "backend": found.backend,
        "per_second": rates,
        "ratio": ratio,
        "least_share": least,
    }
    print(json.dumps(figures, indent=2))
    if kept_up:
        print("the node kept up, so this is the cameras' rate: a higher --rate", file=sys.stderr)
    return int(kept_up or ratio < 0.98 or least < 0.8)  # a few percent are the machine's


if __name__ == "__main__":
    sys.exit(main())
