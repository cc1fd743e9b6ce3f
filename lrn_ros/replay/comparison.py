# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two replays of the same frames side by side: differences with intervals, and what got worse."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.replay.blocks import Blocks, block_length, interval
from lrn_ros.replay.frame_counts import figures, mean, vector
from lrn_ros.replay.part import Part, read_frames, read_part
from lrn_ros.replay.results import RESULTS

LOWER_IS_BETTER = ("ece", "flicker", "p50_ms", "p95_ms")
_LATENCY = {"p50_ms": 50.0, "p95_ms": 95.0}


@dataclass(frozen=True)
class Run:
    """What `lrn replay` has written to a folder."""

    folder: Path
    results: dict[str, Any]
    parts: dict[str, Part]


@dataclass(frozen=True)
class Difference:
    """A figure of both runs, and the interval of the difference B - A.

    NaN where it is not known; `loss` is by how much B is worse, negative where it is better, and
    it is `sure` where the interval holds nothing but losses.
    """

    a: float
    b: float
    low: float
    high: float
    loss: float
    sure: bool


@dataclass(frozen=True)
class Comparison:
    """Differences by name of the figure, see frame_counts.figures and p50_ms, p95_ms.

    Attributes:
        frames: compared; labelled: of them with ground truth.
        blocks: in a draw of the bootstrap.
        figures: over all frames.
        classes: IoU by class.
        unpaired: classes that are not in the truth, and that one run alone has answered: they are
            left out, of the mean IoU too.
        latency_ms: of the Segmenter, a frame.
    """

    frames: int
    labelled: int
    blocks: int
    figures: dict[str, Difference]
    classes: dict[str, Difference]
    unpaired: tuple[str, ...]
    latency_ms: dict[str, Difference]


@dataclass(frozen=True)
class Margins:
    """How much worse B may be.

    Attributes:
        points: mIoU and temporal consistency, percentage points.
        class_points: any class's IoU, percentage points; None: is not looked at.
        latency_percent: median and 95th percentile, percent of A's; None: are not looked at.
    """

    points: float
    class_points: float | None = None
    latency_percent: float | None = None


def read_run(folder: Path) -> Run:
    """Read a replay's output folder.

    Raises:
        UserError: it holds none, one that was interrupted, or one of which a bag failed.
    """
    try:
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        names = [bag["name"] for bag in results["bags"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: no folder of lrn replay --output ({error})") from error
    if not results["complete"]:
        raise UserError(
            f"{folder}: was interrupted; run its lrn replay again, it goes on from there"
        )
    failed = [f["bag"] for f in results.get("failed", []) if f["bag"] not in names]
    if names and failed:
        raise UserError(
            f"{folder}: {', '.join(failed)} failed; run its lrn replay again, or without that"
        )
    if not names:
        raise UserError(f"{folder}: was replayed in real time only; --mode accuracy is compared")
    return Run(folder, results, {n: read_part(n, folder / "bags" / n) for n in names})


def compare(a: Run, b: Run) -> Comparison:
    """Compare run B with run A.

    Raises:
        UserError: other bags, frames, ground truth or classes, the message says where; or neither
            mIoU nor temporal consistency is known.
    """
    _check(a, b)
    classes = next(iter(a.parts.values())).labels.names
    counts, times, stamps = _read(a, b, len(classes))
    blocks = Blocks([len(s) for s in stamps], [block_length(s) for s in stamps])
    of_a, of_b = _figures(counts, blocks, len(classes))
    known = [np.isfinite(side["iou"]) for side in (of_a, of_b)]
    for side in (of_a, of_b):  # the mean of both is over the same classes
        side["miou"] = mean(np.where(known[0] & known[1], side["iou"], np.nan))
    over_all = _known({n: _difference(n, of_a[n], of_b[n]) for n in of_a if n != "iou"})
    if not over_all.keys() & {"miou", "consistency"}:
        raise UserError(
            f"{a.folder} and {b.folder} have nothing to compare: no ground truth, and no frames"
            " within half a second of each other"
        )
    iou = [_difference("iou", of_a["iou"][:, k], of_b["iou"][:, k]) for k in range(len(classes))]
    labelled = sum(int((c[:, : 3 * len(classes)].any(1)).sum()) for c in counts[0])
    return Comparison(
        frames=sum(len(s) for s in stamps),
        labelled=labelled,
        blocks=blocks.count,
        figures=over_all,
        classes=_known(dict(zip(classes, iou))),
        unpaired=tuple(classes[k] for k in np.flatnonzero(known[0][0] != known[1][0])),
        latency_ms=_latency(times, blocks),
    )


@dataclass(frozen=True)
class Loss:
    """What B is worse in by more than the margin, as a sentence, and whether that is no chance."""

    text: str
    sure: bool


def losses(found: Comparison, margins: Margins) -> list[Loss]:
    """In what B is worse than A by more than the margins."""
    gates = [
        (name, found.figures[key], margins.points / 100)
        for name, key in (("mIoU", "miou"), ("temporal consistency", "consistency"))
        if key in found.figures
    ]
    if margins.class_points is not None:
        gates += [(f"IoU of {n}", d, margins.class_points / 100) for n, d in found.classes.items()]
    said = [
        Loss(
            f"{name} fell by {100 * d.loss:.2f} points, {100 * d.a:.2f} % to {100 * d.b:.2f} %",
            d.sure,
        )
        for name, d, margin in gates
        if d.loss > margin
    ]
    if margins.latency_percent is not None:
        said += [
            Loss(
                f"latency's {name.removesuffix('_ms')} rose by {100 * d.loss / d.a:.1f} %,"
                f" {d.a:.2f} ms to {d.b:.2f} ms",
                d.sure,
            )
            for name, d in found.latency_ms.items()
            if d.loss > margins.latency_percent / 100 * d.a
        ]
    return said


def _check(a: Run, b: Run) -> None:
    if a.parts.keys() != b.parts.keys():
        there = [", ".join(run.parts) for run in (a, b)]
        raise UserError(
            f"{a.folder} replayed {there[0]}, {b.folder} replayed {there[1]}: only runs over the"
            " same bags are compared"
        )
    for name, part in a.parts.items():
        names = part.labels.names, b.parts[name].labels.names
        if names[0] != names[1]:
            raise UserError(
                f"{name}: {a.folder} was scored in the classes {', '.join(names[0])}, {b.folder} in"
                f" {', '.join(names[1])}; --mapping of lrn replay brings them together"
            )


_Counts = list[list[NDArray[np.int64]]]
_Times = list[list[NDArray[np.float64]]]


def _read(a: Run, b: Run, classes: int) -> tuple[_Counts, _Times, list[list[int]]]:
    """Of A and of B, for every bag: (frames, 10 K + 50) counts, (frames,) times; and the stamps."""
    counts: _Counts = [[], []]
    times: _Times = [[], []]
    stamps: list[list[int]] = []
    for name, part in a.parts.items():
        vectors: _Counts = [[], []]
        totals: list[list[float]] = [[], []]
        stamps.append([])
        for pair in _pairs(part, b.parts[name]):
            both = pair[0].keys() & pair[1].keys()  # what only one run took of a frame is left out
            for side, line in enumerate(pair):
                vectors[side].append(vector({k: line[k] for k in both}, classes))
                totals[side].append(line["total_ms"])
            stamps[-1].append(pair[0]["stamp_ns"] or pair[0]["recorded_ns"])
        for side in range(2):
            counts[side].append(np.stack(vectors[side]))
            times[side].append(np.array(totals[side]))
    return counts, times, stamps


def _pairs(a: Part, b: Part) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    frames = [read_frames(part) for part in (a, b)]
    if a.tally.frames != b.tally.frames:
        raise UserError(
            f"{a.name}: {a.tally.frames} frames in {a.files.folder}, {b.tally.frames} in"
            f" {b.files.folder}; replay the same part of it"
        )
    for left, right in zip(*frames):
        where = f"{a.name}, frame {left['index']}"
        if (left["index"], left["stamp_ns"]) != (right["index"], right["stamp_ns"]):
            raise UserError(
                f"{where} with stamp {left['stamp_ns']} is frame {right['index']} with stamp"
                f" {right['stamp_ns']} in {b.files.folder}; only runs over the same frames are"
                " compared"
            )
        if _truth(left) != _truth(right):
            raise UserError(
                f"{where} has other ground truth in {b.files.folder} than in {a.files.folder};"
                " replay both with the same --ground-truth, --labels and --mapping"
            )
        yield left, right


def _truth(line: Mapping[str, Any]) -> Any:
    return line["pixels"][1] if "pixels" in line else None


def _figures(counts: _Counts, blocks: Blocks, classes: int) -> list[dict[str, NDArray[np.float64]]]:
    """Of A and of B: figures of all frames, then of every resample."""
    found = []
    for side in counts:
        whole = np.sum([bag.sum(0) for bag in side], axis=0)
        found.append(figures(np.concatenate([whole[None], blocks.sums(side)]), classes))
    return found


def _latency(times: _Times, blocks: Blocks) -> dict[str, Difference]:
    levels, found = list(_LATENCY.values()), []
    for side in times:
        resampled = [np.percentile(draw, levels) for draw in blocks.draws(side)]
        found.append(np.array([np.percentile(np.concatenate(side), levels), *resampled]))
    return {n: _difference(n, found[0][:, i], found[1][:, i]) for i, n in enumerate(_LATENCY)}


def _difference(name: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> Difference:
    """From the figures of all frames, then of every resample."""
    low, high = interval(b[1:] - a[1:])
    sign = 1 if name in LOWER_IS_BETTER else -1
    sure = min(sign * low, sign * high) > 0
    return Difference(float(a[0]), float(b[0]), low, high, float(sign * (b[0] - a[0])), sure)


def _known(found: Mapping[str, Difference]) -> dict[str, Difference]:
    return {n: d for n, d in found.items() if math.isfinite(d.loss)}


def unlike(a: Run, b: Run) -> list[str]:
    """In what the runs differ so that their latencies do not compare."""
    return [name for name, value in _ways(a).items() if value != _ways(b)[name]]


def _ways(run: Run) -> dict[str, Any]:
    model = run.results["model"]
    settings = [part.summary.get("settings", {}) for part in run.parts.values()]
    return {
        **{k: model.get(k) for k in ("backend", "precision", "device")},
        "--threads": [s.get("model", {}).get("threads") for s in settings],
        "--thorough": [s.get("thorough") for s in settings],
        "--temporal-smoothing": [s.get("smoothing") for s in settings],
        "--workers": [s.get("workers") for s in settings],
    }
