# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of bags that were played into the node: where every frame went, and how long it took."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrn_ros.inference.result import STAGES
from lrn_ros.metrics.latency import overhead, percentiles, rate
from lrn_ros.replay.curve import spans
from lrn_ros.replay.json_lines import read_lines
from lrn_ros.replay.results import histogram, jitter

_POINTS = 120  # of all curves together
_TIMES = (*STAGES, "overhead_ms", "delivered_ms")


@dataclass(frozen=True)
class PlayFiles:
    """What playing one bag leaves behind, beside the logs of its processes."""

    folder: Path

    @property
    def sent(self) -> Path:
        """A JSON line for every message that was published."""
        return self.folder / "sent.jsonl"

    @property
    def received(self) -> Path:
        """A JSON line for everything that the node said."""
        return self.folder / "received.jsonl"

    @property
    def damage(self) -> Path:
        """What the player could not read of the bag; no file where it read all."""
        return self.folder / "damage.txt"


@dataclass(frozen=True)
class Played:
    """One bag that was played; times on the monotonic clock of all processes.

    Attributes:
        about: how it was played, for the results.
        published_ns: of every frame.
        late_ms: by how much each was published late.
        answered_ns: when the frames that were answered had been published.
        stages: for each of these the durations by name, ms, NaN unknown; `delivered_ms` is from
            publishing the image to the arrival of the mask at a subscriber, unknown where images
            have the same stamp.
        masks_ns: when masks arrived at the subscriber.
        counts: what the node has counted from the first frame on: idle, dropped_CAUSE.
        backend: what the node ran on, empty if it answered nothing.
    """

    about: Mapping[str, Any]
    published_ns: Sequence[int]
    late_ms: Sequence[float]
    answered_ns: Sequence[int]
    stages: Mapping[str, Sequence[float]]
    masks_ns: Sequence[int]
    counts: Mapping[str, int]
    backend: str

    def frames(self) -> dict[str, Any]:
        """Where every published frame went; what nobody has told is `unaccounted`."""
        dropped = {
            name.removeprefix("dropped_"): count
            for name, count in self.counts.items()
            if name.startswith("dropped_")
        }
        answered, idle = len(self.answered_ns), self.counts.get("idle", 0)
        known = answered + sum(dropped.values()) + idle
        return {
            "published": len(self.published_ns),
            "answered": answered,
            "dropped": dropped,
            "idle": idle,
            "unaccounted": len(self.published_ns) - known,
            "delivered": len(self.masks_ns),
        }


def read_played(folder: Path, about: Mapping[str, Any]) -> Played:
    """Read what player and recorder have written.

    Args:
        folder: see PlayFiles.
        about: what is to be said of it in the results: name, path, topic, complete, ...
    """
    files = PlayFiles(folder)
    sent = _Sent(files.sent)
    masks: dict[int, int] = {}
    arrivals = array("q")
    for line in read_lines(files.received):
        if line["kind"] == "mask" and sent.has(line):
            masks[line["stamp_ns"]] = line["at_ns"]
            arrivals.append(line["at_ns"])
    answered, stages = array("q"), {name: array("d") for name in _TIMES}
    before: dict[str, int] = {}  # what the node counted until the first frame
    counts: dict[str, int] = {}
    backend = ""
    for line in read_lines(files.received):
        values, stamp = line.get("values", {}), line["stamp_ns"]
        if line["kind"] == "latency" and sent.has(line):
            found = {k: float(v) for k, v in values.items() if k.endswith("_ms")}
            found["overhead_ms"] = overhead(found)
            found["delivered_ms"] = (masks.get(stamp, np.nan) - sent.by_stamp[stamp]) / 1e6
            answered.append(sent.answered_ns(line))
            for name in _TIMES:
                stages[name].append(found.get(name, np.nan))
            backend = values["backend"]
        elif line["kind"] == "diagnostics" and "received" in values:
            ends = [k for k in values if k == "idle" or k.startswith("dropped_")]
            counts = {k: int(values[k]) for k in ends}
            if sent.at_ns and line["at_ns"] < sent.at_ns[0]:
                before = counts
    counts = {k: n - before.get(k, 0) for k, n in counts.items()}
    damage = files.damage.read_text(encoding="utf-8") if files.damage.is_file() else None
    about = {**about, "damage": damage}
    return Played(about, sent.at_ns, sent.late_ms, answered, stages, arrivals, counts, backend)


class _Sent:
    """What was published, and which of it an answer is to."""

    def __init__(self, path: Path) -> None:
        self.at_ns, self.late_ms = array("q"), array("d")
        self.by_stamp: dict[int | None, float] = {}  # NaN where frames have the same stamp
        for line in read_lines(path):
            at, stamp = line["at_ns"], line["stamp_ns"]
            self.at_ns.append(at)
            self.late_ms.append((at - line["due_ns"]) / 1e6)
            self.by_stamp[stamp] = np.nan if stamp in self.by_stamp else at

    def has(self, line: Mapping[str, Any]) -> bool:
        """Whether it is about a frame; the grey image before them may have the first's stamp."""
        return line["stamp_ns"] in self.by_stamp and line["at_ns"] >= self.at_ns[0]

    def answered_ns(self, line: Mapping[str, Any]) -> int:
        """When the frame was published; of the same stamp the last before the node received one."""
        sent_ns = self.by_stamp[line["stamp_ns"]]
        if not np.isnan(sent_ns):
            return int(sent_ns)
        received_ns = line["at_ns"] - float(line["values"]["processing_ms"]) * 1e6
        return self.at_ns[max(bisect_right(self.at_ns, received_ns) - 1, 0)]


def figures(runs: Sequence[Played]) -> dict[str, Any]:
    """Figures of all bags together and of each, as plain data.

    Args:
        runs: at least one.
    """
    stages = {name: np.concatenate([r.stages[name] for r in runs]) for name in _TIMES}
    frames = [r.frames() for r in runs]
    points = max(2, _POINTS // len(runs))
    return {
        "complete": all(r.about["complete"] for r in runs),
        "frames": _sum(frames),
        **_speed(stages),
        "histogram": histogram(_finite(stages["delivered_ms"])),
        "bags": [_of_bag(r, f) for r, f in zip(runs, frames)],
        "curve": [{"bag": r.about["name"], "points": _points(r, points)} for r in runs],
    }


def _of_bag(run: Played, frames: dict[str, Any]) -> dict[str, Any]:
    gaps = np.diff(np.asarray(run.masks_ns, np.int64)) / 1e6
    return {
        **run.about,
        "backend": run.backend,
        "frames": frames,
        "fps": {"in": rate(run.published_ns), "out": rate(run.masks_ns)},
        **_speed(run.stages),
        "late_ms": _spread(run.late_ms),
        "between_masks_ms": _spread(gaps),
    }


def _speed(stages: Mapping[str, Sequence[float] | np.ndarray[Any, Any]]) -> dict[str, Any]:
    found = {name: percentiles(times) for name, times in stages.items()}
    return {
        "latency_ms": {name: asdict(p) for name, p in found.items() if p is not None},
        "jitter_ms": jitter(_finite(stages["delivered_ms"])),
    }


def _sum(frames: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Accounts added up, the dropped by cause."""
    total: dict[str, Any] = {"dropped": {}}
    for account in frames:
        for name, count in account.items():
            if name != "dropped":
                total[name] = total.get(name, 0) + count
        for cause, count in account["dropped"].items():
            total["dropped"][cause] = total["dropped"].get(cause, 0) + count
    return total


def _spread(values: Sequence[float] | np.ndarray[Any, Any]) -> dict[str, float] | None:
    """Percentiles with the largest; None for no values."""
    found = percentiles(values)
    return None if found is None else asdict(found) | {"max": round(float(max(values)), 3)}


def _finite(values: Sequence[float] | np.ndarray[Any, Any]) -> list[float]:
    return [float(v) for v in values if np.isfinite(v)]


def _points(run: Played, count: int) -> list[dict[str, Any]]:
    """Latency, and the share of frames answered, over equally long spans of the run."""
    published = np.asarray(run.published_ns, np.int64)
    if not len(published):
        return []
    count = min(count, spans(len(published)))
    edges = np.linspace(published.min(), published.max() + 1, count + 1)
    answered = np.asarray(run.answered_ns, np.int64)
    delivered = np.asarray(run.stages["delivered_ms"], np.float64)
    points = []
    for low, high in zip(edges[:-1], edges[1:]):
        sent = int(((published >= low) & (published < high)).sum())
        here = (answered >= low) & (answered < high)
        point: dict[str, Any] = {"time_s": round(float((low + high) / 2 - edges[0]) / 1e9, 3)}
        if p := percentiles(delivered[here]):
            point |= {"p50_ms": p.p50, "p95_ms": p.p95}
        if sent:
            points.append(point | {"frames": sent, "answered_share": int(here.sum()) / sent})
    return points
