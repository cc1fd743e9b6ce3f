# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of a real-time run: the fate of every frame, and the time that it took."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lrn_ros.inference.result import STAGES
from lrn_ros.metrics.latency import overhead, percentiles, rate
from lrn_ros.replay.figures import (
    Curve,
    FrameAccount,
    PlayedAs,
    Point,
    Realtime,
    RealtimeBag,
    Spread,
)
from lrn_ros.replay.records import read_lines
from lrn_ros.replay.results import POINTS, histogram, jitter, spans

_TIMES = (*STAGES, "overhead_ms", "delivered_ms")


@dataclass(frozen=True)
class PlayFiles:
    """The files that playing one bag writes, beside the logs of its processes."""

    folder: Path

    @property
    def sent(self) -> Path:
        """A JSON line for every message that was published."""
        return self.folder / "sent.jsonl"

    @property
    def received(self) -> Path:
        """A JSON line for every message of the node."""
        return self.folder / "received.jsonl"

    @property
    def damage(self) -> Path:
        """A text about the part of the bag that could not be read; no file if all was read."""
        return self.folder / "damage.txt"


@dataclass(frozen=True)
class Played:
    """One topic that was played; times are those of the monotonic clock of all processes.

    Attributes:
        how: how it was played.
        frames: (loop, index) of every frame that was published.
        published_ns: when each of them was published.
        late_ms: how late each of them was published.
        answered: positions in `frames` of the frames that were answered.
        stages: for each of these the durations by name in milliseconds, NaN: unknown;
            `delivered_ms` is from publishing the image to the arrival of the mask at a subscriber,
            unknown where images have the same stamp.
        masks_ns: when masks arrived at the subscriber.
        counts: what the node has counted from the first frame on: idle, dropped_CAUSE.
        backend: what the node ran on, empty if it answered nothing.
    """

    how: PlayedAs
    frames: Sequence[tuple[int, int]]
    published_ns: Sequence[int]
    late_ms: Sequence[float]
    answered: Sequence[int]
    stages: Mapping[str, Sequence[float]]
    masks_ns: Sequence[int]
    counts: Mapping[str, int]
    backend: str

    def account(self) -> FrameAccount:
        """The fate of every published frame."""
        dropped = {
            name.removeprefix("dropped_"): count
            for name, count in self.counts.items()
            if name.startswith("dropped_")
        }
        answered, idle = len(self.answered), self.counts.get("idle", 0)
        known = answered + sum(dropped.values()) + idle
        published = len(self.published_ns)
        return FrameAccount(
            published, answered, dropped, idle, published - known, len(self.masks_ns)
        )


def read_played(folder: Path, how: PlayedAs, camera: str = "") -> Played:
    """Read the files of player and recorder.

    Args:
        folder: see PlayFiles.
        how: how it was played; its damage is read from `folder`.
        camera: which of several cameras, as the node calls it.

    Raises:
        UserError: a line is damaged.
    """
    files = PlayFiles(folder)
    sent = _Sent(files.sent, camera)
    masks: dict[int, int] = {}
    arrivals = array("q")
    for line in read_lines(files.received):
        if line["kind"] == "mask" and sent.has(line):
            masks[line["stamp_ns"]] = line["at_ns"]
            arrivals.append(line["at_ns"])
    answered, stages = array("q"), {name: array("d") for name in _TIMES}
    before: dict[str, int] = {}  # the node's counts until the first frame
    counts: dict[str, int] = {}
    backend = ""
    for line in read_lines(files.received):
        values, stamp = line.get("values", {}), line["stamp_ns"]
        if line["kind"] == "latency" and sent.has(line):
            found = {k: float(v) for k, v in values.items() if k.endswith("_ms")}
            found["overhead_ms"] = overhead(found)
            found["delivered_ms"] = (masks.get(stamp, np.nan) - sent.at_ns_of(stamp)) / 1e6
            answered.append(sent.position(line))
            for name in _TIMES:
                stages[name].append(found.get(name, np.nan))
            backend = values["backend"]
        elif (
            line["kind"] == "diagnostics"
            and "received" in values
            and line.get("camera", "") == camera
        ):
            ends = [k for k in values if k == "idle" or k.startswith("dropped_")]
            counts = {k: int(values[k]) for k in ends}
            if sent.at_ns and line["at_ns"] < sent.at_ns[0]:
                before = counts
    counts = {k: n - before.get(k, 0) for k, n in counts.items()}
    damage = files.damage.read_text(encoding="utf-8") if files.damage.is_file() else None
    return Played(
        replace(how, damage=damage), sent.frames, sent.at_ns, sent.late_ms, answered, stages,
        arrivals, counts, backend,
    )  # fmt: skip


class _Sent:
    """The published frames of a camera; finds the frame to which an answer belongs."""

    def __init__(self, path: Path, camera: str) -> None:
        self._camera = camera
        self.frames: list[tuple[int, int]] = []
        self.at_ns, self.late_ms = array("q"), array("d")
        self._by_stamp: dict[int | None, int] = {}  # position; -1 where frames have the same stamp
        for line in read_lines(path):
            if line.get("camera", "") == camera:
                at, stamp = line["at_ns"], line["stamp_ns"]
                self._by_stamp[stamp] = -1 if stamp in self._by_stamp else len(self.frames)
                self.frames.append((line.get("loop", 0), line["index"]))
                self.at_ns.append(at)
                self.late_ms.append((at - line["due_ns"]) / 1e6)

    def has(self, line: Mapping[str, Any]) -> bool:
        """Whether a line is about a frame, and not about the grey image before the first one."""
        ours = line.get("camera", "") == self._camera
        return ours and line["stamp_ns"] in self._by_stamp and line["at_ns"] >= self.at_ns[0]

    def at_ns_of(self, stamp: int) -> float:
        """When the frame with a stamp was published; NaN if several frames have that stamp."""
        at = self._by_stamp[stamp]
        return float("nan") if at < 0 else self.at_ns[at]

    def position(self, line: Mapping[str, Any]) -> int:
        """The position of an answered frame.

        Of several frames with its stamp, it is the last one published before the answer came.
        """
        at = self._by_stamp[line["stamp_ns"]]
        if at >= 0:
            return at
        received_ns = line["at_ns"] - float(line["values"]["processing_ms"]) * 1e6
        return max(bisect_right(self.at_ns, received_ns) - 1, 0)


def figures(runs: Sequence[Played]) -> Realtime:
    """Figures of everything that was played together and of each topic.

    Args:
        runs: at least one.
    """
    stages = {name: np.concatenate([r.stages[name] for r in runs]) for name in _TIMES}
    points = max(2, POINTS // len(runs))
    delivered = _finite(stages["delivered_ms"])
    return Realtime(
        complete=all(r.how.complete for r in runs),
        frames=_sum([r.account() for r in runs]),
        latency_ms={n: p for n, t in stages.items() if (p := percentiles(t)) is not None},
        jitter_ms=jitter(delivered),
        histogram=histogram(delivered),
        bags=tuple(_of_bag(r) for r in runs),
        curve=tuple(Curve(r.how.name, _points(r, points)) for r in runs),
    )


def _of_bag(run: Played) -> RealtimeBag:
    gaps = np.diff(np.asarray(run.masks_ns, np.int64)) / 1e6
    return RealtimeBag(
        played=run.how,
        backend=run.backend,
        frames=run.account(),
        fps_in=rate(run.published_ns),
        fps_out=rate(run.masks_ns),
        latency_ms={n: p for n, t in run.stages.items() if (p := percentiles(t)) is not None},
        jitter_ms=jitter(_finite(run.stages["delivered_ms"])),
        late_ms=_spread(run.late_ms),
        between_masks_ms=_spread(gaps),
    )


def _sum(accounts: Sequence[FrameAccount]) -> FrameAccount:
    """Accounts added up, the dropped frames by cause."""
    dropped: Counter[str] = Counter()
    for account in accounts:
        dropped.update(account.dropped)
    names = ("published", "answered", "idle", "unaccounted", "delivered")
    sums = {name: sum(getattr(account, name) for account in accounts) for name in names}
    return FrameAccount(dropped=dict(dropped), **sums)


def _spread(values: Sequence[float] | np.ndarray[Any, Any]) -> Spread | None:
    """Percentiles with the largest; None for no values."""
    found = percentiles(values)
    return None if found is None else Spread(**asdict(found), max=round(float(max(values)), 3))


def _finite(values: Sequence[float] | np.ndarray[Any, Any]) -> list[float]:
    return [float(v) for v in values if np.isfinite(v)]


def _points(run: Played, count: int) -> tuple[Point, ...]:
    """Latency, and the share of frames answered, over equally long spans of the run."""
    published = np.asarray(run.published_ns, np.int64)
    if not len(published):
        return ()
    count = min(count, spans(len(published)))
    edges = np.linspace(published.min(), published.max() + 1, count + 1)
    answered = published[np.asarray(run.answered, np.int64)]
    delivered = np.asarray(run.stages["delivered_ms"], np.float64)
    points = []
    for low, high in zip(edges[:-1], edges[1:]):
        sent = int(((published >= low) & (published < high)).sum())
        here = (answered >= low) & (answered < high)
        times = percentiles(delivered[here])
        if sent:
            points.append(
                Point(
                    round(float((low + high) / 2 - edges[0]) / 1e9, 3),
                    sent,
                    p50_ms=times.p50 if times else np.nan,
                    p95_ms=times.p95 if times else np.nan,
                    answered_share=int(here.sum()) / sent,
                )
            )
    return tuple(points)
