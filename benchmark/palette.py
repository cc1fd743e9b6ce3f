# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Computes the display colours of a label set and says how far apart the classes are.

The search begins with the colours that the set has, then with random ones. All colours move at
once to where the smallest distance grows most: the distances are replaced by their tangents, and a
linear program finds the step. With `--seconds 0` the command says how far apart the colours are
that the set has already. Needs scipy.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_matrix, kron, vstack

from lrn_ros.inference import palette
from lrn_ros.inference.palette import ciede2000, deal, distances, limits, people, seen_colors, shown
from lrn_ros.model.labels import LabelSet

_Floats = NDArray[np.float64]


class Climb:
    """Local search for the largest smallest distance, as a share of the one that is wanted.

    Args:
        labels: their number, people and quiet classes count.
        people_apart: wanted between people and others.
        free: without limits for single classes, to see what is reachable at all.
    """

    def __init__(self, labels: LabelSet, people_apart: float, free: bool) -> None:
        count = len(labels)
        self._first, self._second = np.triu_indices(count, 1)
        self._wanted = palette.wanted(labels, people_apart)[self._first, self._second]
        self._lowest, self._highest, self._sides = limits(labels)
        if free:
            self._lowest[:], self._highest[:], self._sides[:] = 0, 255, 1000
        self._limits = vstack([kron(np.eye(count), palette.SIDES)])
        self._limits.resize((len(palette.SIDES) * count, 3 * count + 1))

    def draw(self, rng: np.random.Generator) -> _Floats:
        """(K, 3) random colours."""
        return rng.uniform(self._lowest, self._highest)

    def run(self, colors: _Floats) -> tuple[_Floats, float]:
        """(K, 3) colours at a local optimum near these, and their smallest share."""
        share, reach, small = -1.0, 60.0, 0  # the first step brings the colours into their limits
        while reach > 0.3 and small < 5:
            step = self._step(colors, reach)
            now = -1.0 if step is None else float(self._shares(colors + step).min())
            if step is None or now <= share:
                reach /= 2.5
                continue
            small = small + 1 if now - share < 5e-4 else 0
            colors, share, reach = colors + step, now, min(1.5 * reach, 60.0)
        return colors, share

    def _shares(self, colors: _Floats) -> _Floats:
        """(scenes * sights, pairs) distances as shares of those that are wanted."""
        seen = seen_colors(colors)
        return ciede2000(seen[:, self._first], seen[:, self._second]) / self._wanted

    def _step(self, colors: _Floats, reach: float) -> _Floats | None:
        """The best step while the distances are linear; None: there is none."""
        shares, seen = self._shares(colors), seen_colors(colors)
        view, pair = np.nonzero(shares < 1.8 * shares.min() + 0.2)
        first, second = self._first[pair], self._second[pair]
        slopes = np.empty((len(pair), 6))
        for channel in range(3):
            moved = seen_colors(colors + 0.25 * np.eye(3)[channel])
            for column, (a, b) in ((channel, (moved, seen)), (3 + channel, (seen, moved))):
                there = ciede2000(a[view, first], b[view, second]) / self._wanted[pair]
                slopes[:, column] = (there - shares[view, pair]) / 0.25
        rows = np.repeat(np.arange(len(pair)), 7)
        channels = np.arange(3)
        columns = np.concatenate(
            [3 * first[:, None] + channels, 3 * second[:, None] + channels,
             np.full((len(pair), 1), colors.size)], 1,
        )  # fmt: skip
        values = np.concatenate([-slopes, np.ones((len(pair), 1))], 1)
        tangents = coo_matrix(
            (values.ravel(), (rows, columns.ravel())), (len(pair), colors.size + 1)
        )
        left = (self._sides - colors @ palette.SIDES.T).ravel()
        least = np.maximum(self._lowest - colors, -reach).ravel()
        most = np.minimum(self._highest - colors, reach).ravel()
        found = linprog(
            [0.0] * colors.size + [-1.0],
            A_ub=vstack([tangents, self._limits]),
            b_ub=np.concatenate([shares[view, pair], left]),
            bounds=[*zip(least, most), (None, None)],
        )
        return found.x[:-1].reshape(colors.shape) if found.success else None


def main() -> None:
    """Print a YAML line a class, then the smallest distances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", help="a name under config/labels/, or a YAML file")
    parser.add_argument("--seconds", type=float, default=60, help="of searching (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the search (%(default)s)")
    parser.add_argument("--people", type=float, default=palette.PEOPLE_APART,
        help="distance that is wanted between people and others (%(default)s)")  # fmt: skip
    parser.add_argument("--free", action="store_true", help="people, sky and road like the others")
    args = parser.parse_args()
    labels = LabelSet.load(args.labels)
    colors = shown(labels).colors
    if args.seconds:
        climb, rng = Climb(labels, args.people, args.free), np.random.default_rng(args.seed)
        end, ends = time.monotonic() + args.seconds, [climb.run(np.array(colors, float))]
        while time.monotonic() < end:
            ends.append(climb.run(climb.draw(rng)))
        best = max(range(len(ends)), key=lambda i: ends[i][1])
        found = ends[best][0].round().astype(int)
        colors = deal(found, labels) if best else tuple(map(tuple, found.tolist()))
        print(f"the best of {len(ends)} searches; from the set's own colours: {best == 0}")
    for name, color in zip(labels.names, colors):
        print(f"  - {{name: {name}, display: {list(color)}}}")
    persons = {labels.names[i] for i in people(labels)}
    for alpha in (0.5, 0.7):
        far = distances(np.array(colors, float), alpha)
        pairs = [
            (far[i, j], labels.names[i], labels.names[j]) for i in range(len(far)) for j in range(i)
        ]
        print(f"overlay_alpha {alpha}")
        print("  closest", *(f"{d:.1f} {a} - {b}" for d, a, b in sorted(pairs)[:4]), sep="; ")
        alone = sorted(p for p in pairs if len(persons & set(p[1:])) == 1)
        print("  to people", *(f"{d:.1f} {a} - {b}" for d, a, b in alone[:3]), sep="; ")


if __name__ == "__main__":
    main()
