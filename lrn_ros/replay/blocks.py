# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bootstrap over blocks of consecutive frames, for figures of two runs over the same frames.

Neighbouring frames fail alike, so single frames would count as more evidence than they are. Blocks
keep neighbours together (Kuensch, "The jackknife and the bootstrap for general stationary
observations", Annals of Statistics 17, 1989). The last frame of a bag is followed by its first one,
so that every frame is drawn equally often (Politis and Romano, "A circular block-resampling
procedure for stationary data", 1992). A bag that is too short for two blocks is drawn as a whole.
Both runs get the same draws, so that everything that all frames have in common cancels out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.replay.tally import iou_of, marginals, mean

RESAMPLES = 2000
LEVEL = 0.95  # the confidence level of the intervals
BLOCK_S = 1.0  # the smallest length of a block; on CamVid frames 0.5 s apart fail independently


class Blocks:
    """Random draws of blocks, which are the same for every figure of some bags.

    Args:
        frames: number of frames of each bag, at least one.
        lengths: number of frames of a block in each bag; see block_length.
        resamples: number of draws.
        seed: seed of the draws; the same seed gives the same intervals.
    """

    def __init__(
        self,
        frames: Sequence[int],
        lengths: Sequence[int],
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        both = list(enumerate(zip(frames, lengths)))
        self._short = [bag for bag, (n, length) in both if n < 2 * length]
        self._long = [  # bag, length, first frames of its blocks
            (bag, length, rng.integers(n, size=(resamples, math.ceil(n / length))))
            for bag, (n, length) in both if n >= 2 * length
        ]  # fmt: skip
        self._picks = rng.integers(
            max(len(self._short), 1), size=(resamples, len(self._short))
        )  # of the short bags
        self._resamples = resamples if self.count else 0

    @property
    def count(self) -> int:
        """Number of blocks in a draw; 0, and no draws, if there is only one short bag."""
        short = len(self._short) if len(self._short) > 1 else 0
        return short + sum(starts.shape[1] for _, _, starts in self._long)

    def sums(self, values: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """(resamples, D): sums over the drawn frames of (frames, D) values of each bag."""
        total = np.zeros((self._resamples, values[0].shape[1]), values[0].dtype)
        whole = np.array([values[bag].sum(0) for bag in self._short])
        for i in range(self._resamples if self._short else 0):
            total[i] += whole[self._picks[i]].sum(0)
        for number, length, starts in self._long:
            bag = values[number]
            around = np.concatenate([np.zeros_like(bag[:1]), bag, bag[: length - 1]]).cumsum(0)
            blocks = around[length:] - around[:-length]
            for i, draw in enumerate(starts):
                total[i] += blocks[draw].sum(0)
        return total

    def draws(self, values: Sequence[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        """The values of the drawn frames for every resample, from (frames,) values of each bag."""
        for i in range(self._resamples):
            drawn = [
                values[bag][(starts[i][:, None] + np.arange(length)) % len(values[bag])].ravel()
                for bag, length, starts in self._long
            ]
            drawn += [values[self._short[pick]] for pick in self._picks[i]]
            yield np.concatenate(drawn)


def miou_interval(matrices: Sequence[Sequence[NDArray[np.int64]]]) -> tuple[float, float]:
    """The interval of the mIoU of images, by drawing blocks of consecutive ones.

    Args:
        matrices: the images' (K, K + 1) confusion matrices, in the order of each sequence.

    Returns:
        NaN where there are too few images.
    """
    parts = [np.array([marginals(m) for m in sequence]) for sequence in matrices]
    counts = [len(part) for part in parts]
    lengths = [block_length(range(0, n * 10**9, 10**9)) for n in counts]
    sums = Blocks(counts, lengths).sums([part.reshape(len(part), -1) for part in parts])
    return interval(mean(iou_of(sums.reshape(len(sums), *parts[0].shape[1:]))))


def block_length(stamps_ns: Sequence[int]) -> int:
    """The number of frames of a block: those of one second, at least the cube root of all frames.

    A length of the order of the cube root gives the least error (Hall, Horowitz and Jing, "On
    blocking rules for the bootstrap with dependent data", Biometrika 82, 1995).

    >>> block_length([i * 100_000_000 for i in range(300)])
    10
    """
    count = len(stamps_ns)
    step = float(np.median(np.diff(np.asarray(stamps_ns, np.int64)))) if count > 1 else 0.0
    timed = round(BLOCK_S * 1e9 / step) if step > 0 else 1
    return min(count, max(1, timed, math.ceil(count ** (1 / 3))))


def interval(differences: NDArray[Any]) -> tuple[float, float]:
    """The percentile interval of resampled differences at LEVEL; NaN if no difference is known."""
    known = differences[np.isfinite(differences)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.percentile(known, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return float(low), float(high)
