# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Computes the display colours of a label set and says how far apart the classes are.

With `--starts 0` it says so of the colours that the set has already.
"""

from __future__ import annotations

import argparse

import numpy as np

from lrn_ros.inference.palette import choose, distances, people, shown
from lrn_ros.model.labels import LabelSet


def main() -> None:
    """Print a YAML line a class, then the smallest distances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", help="a name under config/labels/, or a YAML file")
    parser.add_argument("--starts", type=int, default=20, help="searches (%(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="of a search (%(default)s)")
    parser.add_argument("--candidates", type=int, default=300, help="a class (%(default)s)")
    args = parser.parse_args()
    labels = LabelSet.load(args.labels)
    if args.starts:
        colors = choose(labels, args.starts, args.rounds, args.candidates)
    else:
        colors = shown(labels).colors
    for name, color in zip(labels.names, colors):
        print(f"  - {{name: {name}, display: {list(color)}}}")
    far = distances(np.array(colors, np.uint8))
    pairs = [
        (far[i, j], labels.names[i], labels.names[j]) for i in range(len(far)) for j in range(i)
    ]
    persons = {labels.names[i] for i in people(labels)}
    print("closest", *(f"{d:.1f} {a} - {b}" for d, a, b in sorted(pairs)[:4]), sep="; ")
    alone = sorted(p for p in pairs if len(persons & set(p[1:])) == 1)
    print("closest to people", *(f"{d:.1f} {a} - {b}" for d, a, b in alone[:3]), sep="; ")


if __name__ == "__main__":
    main()
