# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What happened to a camera's frames: counts by fate, stage times over a window, rates, faults.

Every received frame ends as exactly one of: published, idle (nobody listens), dropped by a cause,
or still waiting. Frames lost in transport were never received and are counted beside.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from lrn_ros.inference.result import STAGES

# Why a frame is dropped; docs/faults.md has a table that is made from this one.
CAUSES = {
    "superseded": "a newer image arrived while this one waited",
    "transport": "lost on the way, as the middleware reports it; the node never received it",
    "stale": "older than `max_age_ms` on receipt, or older than an image that was already taken",
    "invalid": "not a usable image; the log says the reason once, /diagnostics says it too",
    "compiling": "of a size that is being compiled in the background",
    "inactive": "received while the node was not active",
    "failed": "the backend threw an exception; the log says the reason once, /diagnostics too",
}
WINDOW_S = 10.0


@dataclass
class Snapshot:
    """A consistent copy of the counts and the window at one moment.

    Attributes:
        age_s: seconds since the last image, None before the first.
        faults: cause -> latest message, for invalid and failed frames.
        peers: what is wrong with publishers or subscribers.
        timeless: frames of the window were published, and none had a usable stamp.
        input_hz, output_hz: rates over the window.
        percentiles: stage -> (p50, p95, p99) in ms over the window, finite values only.
        recent: drops by cause within the window.
    """

    received: int
    published: int
    idle: int
    drops: dict[str, int]
    recent: dict[str, int]
    age_s: float | None
    faults: dict[str, str]
    peers: dict[str, str]
    timeless: bool
    input_hz: float
    output_hz: float
    percentiles: dict[str, tuple[float, float, float]]


@dataclass
class Statistics:
    """Counters of one camera; thread-safe."""

    received: int = 0
    published: int = 0
    idle: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    peers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._last: float | None = None
        self._arrivals: deque[float] = deque()
        self._dropped: deque[tuple[float, str, int]] = deque()
        self._frames: deque[tuple[float, dict[str, float]]] = deque()

    def arrived(self, count: int = 1) -> None:
        """Count received images."""
        with self._lock:
            self.received += count
            self._last = time.monotonic()
            self._arrivals.extend([self._last] * count)
            self._trim()

    def dropped(self, cause: str, count: int = 1) -> None:
        """Count frames dropped for one of CAUSES."""
        if cause not in CAUSES:
            raise ValueError(f"unknown drop cause {cause!r}")
        with self._lock:
            self.drops[cause] += count
            self._dropped.append((time.monotonic(), cause, count))
            self._trim()

    def fault(self, cause: str, key: str, message: str) -> bool:
        """Count a frame dropped by a fault; True when this kind (`key`) is new."""
        self.dropped(cause)
        with self._lock:
            new = key not in self.faults
            self.faults[key] = message
            return new

    def peer(self, key: str, text: str) -> bool:
        """Note which publishers or subscribers do not fit; True when there is news to tell."""
        with self._lock:
            before = self.peers.pop(key, "")
            if text:
                self.peers[key] = text
            return text not in ("", before)

    def idled(self) -> None:
        """Count a frame that nobody wanted."""
        with self._lock:
            self.idle += 1

    def completed(self, stages: dict[str, float]) -> None:
        """Count a published frame with its stage times in ms."""
        with self._lock:
            self.published += 1
            self._frames.append((time.monotonic(), stages))
            self._trim()

    def total_dropped(self) -> int:
        """Frames dropped so far, all causes."""
        with self._lock:
            return sum(self.drops.values())

    def _trim(self) -> None:
        horizon = time.monotonic() - WINDOW_S
        while self._arrivals and self._arrivals[0] < horizon:
            self._arrivals.popleft()
        while self._dropped and self._dropped[0][0] < horizon:
            self._dropped.popleft()
        while self._frames and self._frames[0][0] < horizon:
            self._frames.popleft()

    def snapshot(self) -> Snapshot:
        """Copy everything at this moment."""
        with self._lock:
            self._trim()
            now = time.monotonic()
            recent: Counter[str] = Counter()
            for _, cause, count in self._dropped:
                recent[cause] += count
            frames = [stages for _, stages in self._frames]
            result = Snapshot(
                self.received,
                self.published,
                self.idle,
                {c: self.drops[c] for c in CAUSES},
                {c: recent[c] for c in CAUSES},
                None if self._last is None else now - self._last,
                dict(self.faults),
                dict(self.peers),
                bool(frames) and all(math.isnan(f["transport_ms"]) for f in frames),
                _rate(self._arrivals, now),
                _rate([t for t, _ in self._frames], now),
                {},
            )
        for stage in STAGES:
            values = [f[stage] for f in frames if np.isfinite(f[stage])]
            if values:
                p50, p95, p99 = np.percentile(values, (50, 95, 99))
                result.percentiles[stage] = (float(p50), float(p95), float(p99))
        return result


def _rate(times: deque[float] | list[float], now: float) -> float:
    """Events per second since the first in the window."""
    if len(times) < 2:
        return 0.0
    return (len(times) - 1) / max(times[-1] - times[0], now - times[-1], 1e-9)
