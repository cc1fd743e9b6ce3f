# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two replays of the same frames side by side: differences with their intervals."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.replay.accuracy import Part, read_frames, read_part
from lrn_ros.replay.blocks import Blocks, block_length, interval
from lrn_ros.replay.figures import FrameLine, Results
from lrn_ros.replay.realtime import Played, read_played
from lrn_ros.replay.records import check_files, read_record
from lrn_ros.replay.results import RESULTS
from lrn_ros.replay.tally import COUNTED, figures, mean, vector

LOWER_IS_BETTER = ("ece", "flicker", "p50_ms", "p95_ms", "unanswered")
LEVELS = {"p50_ms": 50.0, "p95_ms": 95.0}
MAY_DIFFER = ("version", "network-size")  # what a user may allow to differ


@dataclass(frozen=True)
class ReplayRun:
    """An output folder of `lrn replay`: results; parts and played topics by name."""

    folder: Path
    results: Results
    parts: dict[str, Part]
    played: dict[str, Played]


@dataclass(frozen=True)
class Difference:
    """A figure of both runs, and the interval of the difference B - A; NaN: not known.

    Attributes:
        a, b: the figure of each run.
        low, high: ends of the interval.
        loss: by how much B is worse; negative if B is better.
        sure: whether B is worse in the whole interval.
        samples: number of frames, or pairs of frames, from which the figure comes.
    """

    a: float
    b: float
    low: float
    high: float
    loss: float
    sure: bool
    samples: int


@dataclass(frozen=True)
class RunComparison:
    """Differences by name of the figure, see tally.figures, and p50_ms, p95_ms, unanswered.

    Attributes:
        frames: number of compared frames.
        labelled: number of compared frames with ground truth.
        blocks: number of blocks in a draw of the bootstrap.
        figures: the figures over all frames.
        classes: IoU by class; the samples are the labelled frames in which the class occurs.
        unpaired: classes that are not in the truth and that only one run has answered; they are
            left out, also in the mean IoU.
        latency_ms: latency of the Segmenter in accuracy mode, while frames were read and scored.
        realtime: end-to-end latency, and the share of frames that were not answered; empty if a
            run has no real time.
        drift: by which share the machine's pace differed between the two runs; NaN: unknown.
        interleaved: whether the models were played in turns; `drift` then compares the mean paces.
    """

    frames: int
    labelled: int
    blocks: int
    figures: dict[str, Difference]
    classes: dict[str, Difference]
    unpaired: tuple[str, ...]
    latency_ms: dict[str, Difference]
    realtime: dict[str, Difference]
    drift: float
    interleaved: bool


def read_run(folder: Path) -> ReplayRun:
    """Read the output folder of a replay, and check every file of it that matters.

    Raises:
        UserError: the folder has no results, or they are damaged or have another format; or the
            replay was interrupted, or a bag failed.
    """
    results = read_record(Results, folder / RESULTS)
    names = [bag.name for bag in results.bags]
    if not results.complete:
        raise UserError(
            f"{folder}: the replay was interrupted; run the same lrn replay again, which goes on"
        )
    failed = [f.bag for f in results.failed]
    if names and failed:
        raise UserError(
            f"{folder}: {', '.join(failed)} failed; run the same lrn replay again, or leave it out"
        )
    if not names:
        raise UserError(
            f"{folder}: the replay was in real time only; a comparison needs --mode accuracy"
        )
    check_files(folder, results.files)
    parts = {name: read_part(name, folder / "bags" / name) for name in names}
    played = {
        bag.played.name: read_played(folder / bag.played.folder, bag.played, bag.played.camera)
        for bag in (results.realtime.bags if results.realtime else ())
    }
    return ReplayRun(folder, results, parts, played)


def compare(a: ReplayRun, b: ReplayRun, allowed: Collection[str] = ()) -> RunComparison:
    """Compare run B with run A.

    Args:
        a: the run of the old model.
        b: the run that is judged.
        allowed: the items of MAY_DIFFER in which the runs may differ.

    Raises:
        UserError: other bags, frames, ground truth, classes, mapping, network size or version, the
            message says where; or neither mIoU nor temporal consistency is known.
    """
    _check(a, b, allowed)
    classes = next(iter(a.parts.values())).record.labels.names
    read = _read(a, b, len(classes))
    blocks = Blocks([len(s) for s in read.stamps], [block_length(s) for s in read.stamps])
    of_a, of_b = _figures(read.counts, blocks, len(classes))
    known = [np.isfinite(side["iou"]) for side in (of_a, of_b)]
    for side in (of_a, of_b):  # the mean of both is over the same classes
        side["miou"] = mean(np.where(known[0] & known[1], side["iou"], np.nan))
    samples, same = read.samples, read.same
    over_all = _known(
        {n: _difference(n, of_a[n], of_b[n], samples[n], same[n]) for n in of_a if n != "iou"}
    )
    if not over_all.keys() & {"miou", "consistency"}:
        raise UserError(
            f"{a.folder} and {b.folder} have nothing to compare: no ground truth, and no frames"
            " within half a second of each other"
        )
    iou = [
        _difference("iou", of_a["iou"][:, k], of_b["iou"][:, k], read.occurs[k], same["miou"])
        for k in range(len(classes))
    ]
    return RunComparison(
        frames=sum(len(s) for s in read.stamps),
        labelled=samples["miou"],
        blocks=blocks.count,
        figures=over_all,
        classes=_known(dict(zip(classes, iou))),
        unpaired=tuple(classes[k] for k in np.flatnonzero(known[0][0] != known[1][0])),
        latency_ms=_latency(read.times, blocks),
        **_realtime(a.played, b.played),
    )


def _check(a: ReplayRun, b: ReplayRun, allowed: Collection[str]) -> None:
    versions = [run.results.provenance.version for run in (a, b)]
    if versions[0] != versions[1] and "version" not in allowed:
        raise UserError(
            f"{a.folder} was replayed by lrn_ros {versions[0]}, {b.folder} by {versions[1]}: replay"
            " both with one version, or --allow version"
        )
    if a.parts.keys() != b.parts.keys():
        there = [", ".join(run.parts) for run in (a, b)]
        raise UserError(
            f"{a.folder} replayed {there[0]}, {b.folder} replayed {there[1]}: only runs over the"
            " same bags are compared"
        )
    for name, part in a.parts.items():
        one, two = part.record, b.parts[name].record
        if one.labels.names != two.labels.names:
            raise UserError(
                f"{name}: {a.folder} was scored in the classes {', '.join(one.labels.names)},"
                f" {b.folder} in {', '.join(two.labels.names)}; --mapping of lrn replay brings them"
                " together"
            )
        for what, left, right in (
            ("image topic", one.topic, two.topic),
            ("label set", one.labels.name, two.labels.name),
            ("mapping", one.mapping or "none", two.mapping or "none"),
            ("network size", _size(one.network_size), _size(two.network_size)),
        ):
            option = what.replace(" ", "-")
            if left != right and option not in allowed:
                way = f", or --allow {option}" if option in MAY_DIFFER else ""
                raise UserError(
                    f"{name}: {a.folder} was replayed with {what} {left}, {b.folder} with {what}"
                    f" {right}: replay both with the same{way}"
                )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


_Counts = tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]
_Times = tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]
_PARTS = {
    "miou": "pixels",
    "pixel_accuracy": "pixels",
    "boundary_f": "boundary",
    "ece": "calibration",
    "consistency": "before",
    "flicker": "before",
}


@dataclass(frozen=True)
class _Both:
    """The frames of A and of B; lists have one entry a bag.

    Attributes:
        counts: counts of A and of B, (frames, 10 K + 50) of what both runs have counted of a frame.
        times: times of A and of B, (frames,) milliseconds.
        stamps: stamps of the frames.
        samples: number of frames or pairs of every figure.
        same: for every figure, whether A and B have the same counts in every frame.
        occurs: for every class, number of labelled frames in which it occurs.
    """

    counts: _Counts
    times: _Times
    stamps: list[list[int]]
    samples: dict[str, int]
    same: dict[str, bool]
    occurs: NDArray[np.int64]


def _read(a: ReplayRun, b: ReplayRun, classes: int) -> _Both:
    counts: _Counts = ([], [])
    times: _Times = ([], [])
    stamps: list[list[int]] = []
    taken, same = dict.fromkeys(COUNTED, 0), dict.fromkeys(COUNTED, True)
    occurs = np.zeros(classes, np.int64)
    for name, part in a.parts.items():
        vectors: tuple[list[Any], list[Any]] = ([], [])
        totals: tuple[list[float], list[float]] = ([], [])
        stamps.append([])
        for pair in pairs(part, b.parts[name]):
            both = tuple(k for k in COUNTED if all(getattr(f, k) is not None for f in pair))
            for key in both:  # what only one run took of a frame is left out
                taken[key] += 1
                same[key] &= getattr(pair[0], key) == getattr(pair[1], key)
            same["before"] &= pair[0].flickered == pair[1].flickered or "before" not in both
            if pair[0].pixels is not None:
                occurs += np.asarray(pair[0].pixels[1]) > 0
            for side, line in enumerate(pair):
                vectors[side].append(vector(line, classes, both))
                totals[side].append(line.total_ms)
            stamps[-1].append(pair[0].stamp_ns or pair[0].recorded_ns)
        for side in range(2):
            counts[side].append(np.stack(vectors[side]))
            times[side].append(np.array(totals[side]))
    samples = {figure: taken[key] for figure, key in _PARTS.items()}
    return _Both(
        counts, times, stamps, samples, {f: same[key] for f, key in _PARTS.items()}, occurs
    )


def pairs(a: Part, b: Part) -> Iterator[tuple[FrameLine, FrameLine]]:
    """The frames of two parts, each with itself.

    Raises:
        UserError: they are not the same frames with the same ground truth.
    """
    one, two = a.record.tally, b.record.tally
    if one.frames != two.frames:
        raise UserError(
            f"{a.name}: {one.frames} frames in {a.files.folder}, {two.frames} in"
            f" {b.files.folder}; replay the same part of it"
        )
    for left, right in zip(read_frames(a), read_frames(b), strict=True):
        where = f"{a.name}, frame {left.index}"
        if (left.index, left.stamp_ns) != (right.index, right.stamp_ns):
            raise UserError(
                f"{where} with stamp {left.stamp_ns} is frame {right.index} with stamp"
                f" {right.stamp_ns} in {b.files.folder}; only runs over the same frames are"
                " compared"
            )
        if left.content != right.content:
            raise UserError(
                f"{where} is another image in {b.files.folder} than in {a.files.folder}: these are"
                " two recordings of the same name"
            )
        if left.truth != right.truth or _truth(left) != _truth(right):
            raise UserError(
                f"{where} has other ground truth in {b.files.folder} than in {a.files.folder};"
                " replay both with the same --ground-truth, --labels and --mapping"
            )
        yield left, right


def _truth(line: FrameLine) -> list[int] | None:
    return None if line.pixels is None else line.pixels[1]


def _figures(counts: _Counts, blocks: Blocks, classes: int) -> list[dict[str, NDArray[np.float64]]]:
    """The figures of A and of B: first those of all frames, then those of every resample."""
    found = []
    for side in counts:
        whole = np.sum([bag.sum(0) for bag in side], axis=0)
        found.append(figures(np.concatenate([whole[None], blocks.sums(side)]), classes))
    return found


def _latency(times: _Times, blocks: Blocks) -> dict[str, Difference]:
    """Differences of the percentiles of a duration; NaN if no frame has one."""
    found = []
    for side in times:
        resampled = [_percentiles(draw) for draw in blocks.draws(side)]
        found.append(np.array([_percentiles(np.concatenate(side)), *resampled]))
    samples = min(sum(int(np.isfinite(bag).sum()) for bag in side) for side in times)
    same = all(np.array_equal(p, q, equal_nan=True) for p, q in zip(*times))
    return {
        n: _difference(n, found[0][:, i], found[1][:, i], samples, same)
        for i, n in enumerate(LEVELS)
    }


def _percentiles(times: NDArray[np.float64]) -> NDArray[np.float64]:
    known = times[np.isfinite(times)]
    levels = list(LEVELS.values())
    return np.percentile(known, levels) if len(known) else np.full(len(levels), np.nan)


def _realtime(a: Mapping[str, Played], b: Mapping[str, Played]) -> dict[str, Any]:
    """The fields of a RunComparison that are about real time."""
    if not a or not b:
        return {"realtime": {}, "drift": math.nan, "interleaved": False}
    times: _Times = ([], [])
    lengths = []
    for name, one in a.items():
        two = b.get(name)
        if two is None or _way(one) != _way(two) or list(one.frames) != list(two.frames):
            raise UserError(
                f"{name}: the runs were not played in the same way; replay both with the same bags,"
                " --rate, --loop, --clock, --start and --duration"
            )
        lengths.append(block_length(one.published_ns))
        for side, run in enumerate((one, two)):
            line = np.full(len(run.frames), np.nan)
            line[np.asarray(run.answered, np.int64)] = run.stages["end_to_end_ms"]
            times[side].append(line)
    blocks = Blocks([len(line) for line in times[0]], lengths)
    found = _latency(times, blocks)
    shares: list[NDArray[np.float64]] = []
    for bags in times:
        missing = [np.isnan(bag).astype(np.int64)[:, None] for bag in bags]
        count = sum(len(bag) for bag in bags)
        whole = np.sum([bag.sum(0) for bag in missing], axis=0)
        drawn = np.concatenate([whole[None], blocks.sums(missing)])[:, 0]
        shares.append(drawn / count)
    same = all(np.array_equal(np.isnan(p), np.isnan(q)) for p, q in zip(*times))
    samples = sum(len(line) for line in times[0])
    found["unanswered"] = _difference("unanswered", shares[0], shares[1], samples, same)
    interleaved = all(run.how.interleaved for run in (*a.values(), *b.values()))
    return {
        "realtime": _known(found),
        "drift": _drift(a.values(), b.values(), interleaved),
        "interleaved": interleaved,
    }


def _drift(a: Iterable[Played], b: Iterable[Played], interleaved: bool) -> float:
    """By which share the machine's pace differed; for interleaved runs the mean pace counts."""
    sides = [[p.reference_ms for run in runs for p in (run.how.before, run.how.after)]
             for runs in (a, b)]  # fmt: skip
    paces = [float(np.mean(side)) for side in sides] if interleaved else [*sides[0], *sides[1]]
    return max(paces) / min(paces) - 1 if all(map(math.isfinite, paces)) else math.nan


def _way(run: Played) -> tuple[Any, ...]:
    how = run.how
    return how.topic, how.rate, how.loops, how.clock, how.start_s, how.duration_s


def _difference(
    name: str, a: NDArray[np.float64], b: NDArray[np.float64], samples: int, same: bool
) -> Difference:
    """The difference, from a figure of all frames and then of every resample.

    `same` says that no frame differs.
    """
    low, high = (0.0, 0.0) if same else interval(b[1:] - a[1:])
    sign = 1 if name in LOWER_IS_BETTER else -1
    sure = min(sign * low, sign * high) > 0
    loss = float(sign * (b[0] - a[0]))
    return Difference(float(a[0]), float(b[0]), low, high, loss, sure, int(samples))


def _known(found: Mapping[str, Difference]) -> dict[str, Difference]:
    return {n: d for n, d in found.items() if math.isfinite(d.loss)}


def unlike(a: ReplayRun, b: ReplayRun) -> list[str]:
    """The settings in which the runs differ, so that their latencies cannot be compared."""
    return [name for name, value in _ways(a).items() if value != _ways(b)[name]]


def _ways(run: ReplayRun) -> dict[str, Any]:
    model = run.results.model
    settings = [part.record.settings for part in run.parts.values()]
    return {
        **{k: getattr(model, k) for k in ("backend", "precision", "device")},
        "--threads": [s.get("model", {}).get("threads") for s in settings],
        "--thorough": [s.get("thorough") for s in settings],
        "--temporal-smoothing": [s.get("smoothing") for s in settings],
        "--workers": [s.get("workers") for s in settings],
        "--network-size": [part.record.network_size for part in run.parts.values()],
    }
