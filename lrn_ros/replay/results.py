# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The results of a replay: the parts of all bags added up, their figures, and curves over time."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros import __version__
from lrn_ros.errors import UserError
from lrn_ros.metrics.latency import Percentiles, percentiles
from lrn_ros.metrics.machine import describe
from lrn_ros.replay.accuracy import Part, read_frames
from lrn_ros.replay.clocks import of_stream
from lrn_ros.replay.figures import (
    STAGES,
    BagResults,
    Curve,
    Failure,
    Histogram,
    ModelUse,
    Point,
    Provenance,
    Realtime,
    RecordingFinding,
    Results,
    Throughput,
)
from lrn_ros.replay.findings import of_unlabelled
from lrn_ros.replay.records import digest_folder
from lrn_ros.replay.tally import Tally, figures, vector

RESULTS = "results.json"
POINTS = 120  # points of all curves together
_BINS = 40
_FRAMES_PER_POINT = 10  # about so many, so that the figures of a point are more than chance


def merge(
    parts: Sequence[Part],
    model: ModelUse | None = None,
    realtime: Realtime | None = None,
    failed: Mapping[str, str] | None = None,
    complete: bool = True,
    folder: Path | None = None,
    command: Sequence[str] = (),
) -> Results:
    """Figures of all parts together and of each.

    `throughput` is what one worker does, whose seconds are added: parts may have been replayed side
    by side, or by an earlier run. `model` names all backends, precisions and devices.

    Args:
        parts: all with the same classes; none: only real time was replayed.
        model: what was replayed, where there are no parts.
        realtime: the figures of real time.
        failed: why, by the name of the bag.
        complete: nothing was interrupted.
        folder: the output folder, of whose files the digests are taken; None: of none.
        command: the command line.

    Raises:
        UserError: the parts have other classes than each other; or no part and no model.
    """
    records = [part.record for part in parts]
    labels = records[0].labels if records else None
    if labels and (other := next((p for p in parts if p.record.labels != labels), None)):
        raise UserError(
            f"{other.name}: its labels have other classes than those of {parts[0].name}"
        )
    total = Tally.empty(len(labels) if labels else 0)
    times = {stage: array("d") for stage in STAGES}
    bags, curve, findings = [], [], []
    for part in parts:
        total += part.record.tally
        stream = Stream(part)
        for stage in STAGES:
            times[stage].extend(stream.times[stage])
        bags.append(_of_bag(part, stream))
        curve.append(Curve(part.name, stream.points(max(2, POINTS // len(parts)))))
        findings += [RecordingFinding(part.name, text) for text in _findings(part, stream)]
    played = realtime.bags if realtime else ()
    for b in played:  # what is known from the parts is not said again
        if b.played.name not in {part.name for part in parts}:
            damage = [f"damaged: {b.played.damage}"] if b.played.damage else []
            findings += [RecordingFinding(b.played.name, t) for t in (*damage, *b.played.notes)]
    used = _models([r.model for r in records] or ([model] if model else []))
    seconds = sum(r.seconds for r in records)
    return Results(
        provenance=Provenance(
            __version__,
            datetime.now().astimezone().isoformat(timespec="seconds"),
            tuple(command),
            describe(),
        ),
        frames=total.frames,
        complete=complete and all(r.complete for r in records),
        model=used,
        labels=labels,
        accuracy=total.accuracy(labels.names) if labels else None,
        temporal=total.temporal(),
        latency_ms=_latency(times),
        jitter_ms=jitter(times["total_ms"]),
        histogram=histogram(times["total_ms"]),
        throughput=Throughput(seconds, total.frames / seconds if seconds else float("nan")),
        bags=tuple(bags),
        findings=tuple(findings),
        curve=tuple(curve),
        realtime=realtime,
        failed=tuple(Failure(name, error) for name, error in (failed or {}).items()),
        files=_digests(folder, parts, [b.played.name for b in played]) if folder else {},
    )


def _digests(folder: Path, parts: Sequence[Part], played: Sequence[str]) -> dict[str, str]:
    """Digests of the records of the parts, which hold those of their files, and of real time."""
    names = [str(part.files.summary.relative_to(folder)) for part in parts]
    return digest_folder(folder, [*names, *(f"realtime/{name}" for name in played)])


def _models(models: Sequence[ModelUse]) -> ModelUse:
    """The model and backend of all parts; where the parts differ, a text names all values."""
    if not models:
        raise UserError("there is nothing to report: no bag was replayed")
    texts = {
        f.name: ", ".join(dict.fromkeys(getattr(m, f.name) for m in models))
        for f in fields(ModelUse)
        if f.name != "files"
    }
    files = {name: digest for m in models for name, digest in m.files.items()}
    return ModelUse(files=files, **texts)


class Stream:
    """The frames of a part; a few numbers per frame are held in memory.

    Attributes:
        stamps, recorded: of every frame, nanoseconds.
        times: durations of every frame by stage, milliseconds.
    """

    def __init__(self, part: Part) -> None:
        self.stamps, self.recorded = array("q"), array("q")
        self.times = {stage: array("d") for stage in STAGES}
        self._part = part
        for frame in read_frames(part):
            self.stamps.append(frame.stamp_ns)
            self.recorded.append(frame.recorded_ns)
            for stage in STAGES:
                self.times[stage].append(getattr(frame, stage))

    @property
    def seconds(self) -> float:
        """From the first frame to the last, by the recorder's clock."""
        return (max(self.recorded) - min(self.recorded)) / 1e9 if self.recorded else 0.0

    def points(self, count: int) -> tuple[Point, ...]:
        """Figures over at most `count` equally long spans of time, of those that have frames."""
        if not self.recorded:
            return ()
        count = min(count, spans(len(self.recorded)))
        recorded, span = np.asarray(self.recorded), max(self.seconds, 1e-9)
        slots = np.minimum((recorded - recorded.min()) / 1e9 / span * count, count - 1).astype(int)
        names = self._part.record.labels.names
        sums: list[Any] = [0] * count
        for slot, frame in zip(slots, read_frames(self._part)):
            sums[slot] = sums[slot] + vector(frame, len(names))
        totals = np.asarray(self.times["total_ms"])
        return tuple(
            _point(span * (i + 0.5) / count, sums[i], names, totals[slots == i])
            for i in range(count)
            if (slots == i).any()
        )


def _point(
    time_s: float, counts: NDArray[np.int64], names: tuple[str, ...], times: NDArray[np.float64]
) -> Point:
    found = figures(counts, len(names))
    iou = {n: round(float(v), 6) for n, v in zip(names, found.pop("iou")) if np.isfinite(v)}
    p50, p95 = (round(float(v), 3) for v in np.percentile(times, (50, 95)))
    known = {k: float(v) for k, v in found.items()}
    return Point(round(time_s, 3), len(times), p50_ms=p50, p95_ms=p95, iou=iou, **known)


def spans(frames: int) -> int:
    """The largest number of spans of time for so many frames; a line needs two."""
    return min(frames, max(2, frames // _FRAMES_PER_POINT))


def jitter(times_ms: Sequence[float]) -> float:
    """Mean difference between consecutive durations in milliseconds; NaN for fewer than two.

    >>> jitter([10.0, 12.0, 11.0])
    1.5
    """
    if len(times_ms) < 2:
        return float("nan")
    return float(np.abs(np.diff(np.asarray(times_ms, np.float64))).mean())


def histogram(times_ms: Sequence[float]) -> Histogram | None:
    """Counts of durations in milliseconds; the slowest percent is in the last."""
    values = np.asarray(times_ms, np.float64)
    if not len(values):
        return None
    low, high = float(values.min()), float(np.percentile(values, 99))
    counts, edges = np.histogram(
        np.minimum(values, high), _BINS, (low, high if high > low else low + 1)
    )
    return Histogram(tuple(edges.round(4).tolist()), tuple(counts.tolist()))


def _latency(times: Mapping[str, Sequence[float]]) -> dict[str, Percentiles]:
    return {s: p for s, t in times.items() if (p := percentiles(t)) is not None}


def _of_bag(part: Part, stream: Stream) -> BagResults:
    record, tally = part.record, part.record.tally
    return BagResults(
        name=part.name,
        path=record.bag,
        topic=record.topic,
        complete=record.complete,
        damage=record.damage,
        frames=tally.frames,
        labelled=tally.labelled,
        seconds=stream.seconds,
        image_size=record.image_size,
        network_size=record.network_size,
        mapping=record.mapping,
        ground_truth=record.ground_truth,
        accuracy=tally.accuracy(record.labels.names),
        temporal=tally.temporal(),
        latency_ms=_latency(stream.times),
        jitter_ms=jitter(stream.times["total_ms"]),
    )


def _findings(part: Part, stream: Stream) -> list[str]:
    record = part.record
    return [
        *([f"damaged: {record.damage}"] if record.damage else []),
        *of_stream(stream.stamps, stream.recorded),
        *of_unlabelled(record.tally.accuracy(record.labels.names)),
        *record.findings,
    ]
