# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Counts the frames of a camera by their fate, with stage times, rates and faults.

Every received frame is exactly one of: published, idle (nobody listens), dropped by a cause, or
still waiting. Frames lost in transport were never received and are counted separately.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lrn_ros.inference.result import STAGES
from lrn_ros.ros.health import Health

# Why a frame is dropped; docs/faults.md has a table that is made from this one.
CAUSES = {
    "superseded": "a newer image arrived while this one waited",
    "transport": "lost on the way, as the middleware reports it; the node never received it",
    "stale": "the image was older than `max_age_ms` on receipt; with `temporal_smoothing` also: its"
    " stamp is older than that of an image before it",
    "no_keyframe": "a packet of a video whose keyframe, or a packet since the keyframe, is missing",
    "invalid": "the image cannot be used; the log says the reason once, /diagnostics says it too",
    "compiling": "the backend is being restarted, or no size that could stand in is compiled yet",
    "inactive": "received while the node was not active",
    "failed": "the backend threw an exception; the log says the reason once, /diagnostics says it"
    " too",
}
WINDOW_S = 10.0
_MAX_FAULTS = 16  # faults that are told apart at a time


@dataclass
class _Fault:
    """A kind of fault that drops frames: its name, its latest message, and the time of that."""

    name: str
    message: str
    last: float


@dataclass(frozen=True)
class Snapshot:
    """A consistent copy of the counts and the window at one moment.

    Attributes:
        received, published, idle: frames so far.
        out_of_order: frames so far whose stamp was older than that of a frame before them.
        drops: drops so far by cause.
        recent: drops by cause within the window.
        recent_received: frames received within the window.
        age_s: seconds since the last image, None before the first.
        faults: kind -> latest message, for the faults that are not over.
        blocked: whether one of these faults dropped the latest image.
        peers: kind -> a text about publishers or subscribers that do not fit.
        timeless: whether frames were published in the window and none had a usable stamp.
        health: the health of the latest picture; None if no picture was checked.
        input_hz, output_hz: rates over the window.
        percentiles: stage -> (p50, p95, p99) in ms over the window, finite values only.
    """

    received: int
    published: int
    idle: int
    out_of_order: int
    drops: dict[str, int]
    recent: dict[str, int]
    recent_received: int
    age_s: float | None
    faults: dict[str, str]
    blocked: bool
    peers: dict[str, str]
    timeless: bool
    health: Health | None
    input_hz: float
    output_hz: float
    percentiles: dict[str, tuple[float, float, float]]


class Statistics:
    """Counters of one camera; thread-safe.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.received = self.published = self.idle = self.out_of_order = 0
        self.drops: Counter[str] = Counter()
        self._clock, self._lock = clock, threading.Lock()
        self._faults: dict[tuple[str, str], _Fault] = {}  # by kind and what the message says
        self._peers: dict[str, str] = {}
        self._health: Health | None = None
        self._last: float | None = None  # time at which the last image arrived
        self._good = -math.inf  # time at which the last usable image was finished
        self._arrivals: deque[float] = deque()
        self._dropped: deque[tuple[float, str, int]] = deque()
        self._frames: deque[tuple[float, dict[str, float]]] = deque()

    def arrived(self, count: int = 1) -> None:
        """Count received images."""
        with self._lock:
            self.received += count
            self._last = self._clock()
            self._arrivals.extend([self._last] * count)
            self._trim()

    def dropped(self, cause: str, count: int = 1) -> None:
        """Count frames dropped for one of CAUSES."""
        if cause not in CAUSES:
            raise ValueError(f"unknown drop cause {cause!r}")
        with self._lock:
            self.drops[cause] += count
            self._dropped.append((self._clock(), cause, count))
            self._trim()

    def fault(self, cause: str, kind: str, message: str) -> bool:
        """Count a frame that a fault has dropped.

        Args:
            cause: one of CAUSES.
            kind: a short key, under which /diagnostics shows the latest message.
            message: for people. A message that differs in more than numbers is another fault.

        Returns:
            Whether to log it: the fault is new, or it was over in the meantime.
        """
        self.dropped(cause)
        key = kind, re.sub(r"\b\d+\b", "#", message)
        with self._lock:
            now = self._clock()
            self._forget(now)
            if known := self._faults.get(key):
                known.message, known.last = message, now
            elif len(self._faults) < _MAX_FAULTS:
                names = {fault.name for fault in self._faults.values()}
                numbered = (f"{kind} ({n})" for n in range(2, _MAX_FAULTS + 1))
                name = next(n for n in (kind, *numbered) if n not in names)
                self._faults[key] = _Fault(name, message, now)
                return True
            return False

    def peer(self, key: str, text: str) -> bool:
        """Note what is wrong with publishers or subscribers; True if the text is new."""
        with self._lock:
            before = self._peers.pop(key, "")
            if text:
                self._peers[key] = text
            return text not in ("", before)

    def idled(self) -> None:
        """Count a frame that nobody wanted."""
        with self._lock:
            self.idle += 1
            self._good = self._clock()

    def completed(self, stages: dict[str, float]) -> None:
        """Count a published frame with its stage times in ms."""
        with self._lock:
            self.published += 1
            self._good = self._clock()
            self._frames.append((self._good, stages))
            self._trim()

    def stamped_back(self) -> None:
        """Count a frame whose stamp was older than that of a frame before it."""
        with self._lock:
            self.out_of_order += 1

    def looked_at(self, health: Health | None) -> None:
        """Note how the latest picture looks."""
        with self._lock:
            self._health = health

    def total_dropped(self) -> int:
        """Frames dropped so far, all causes."""
        with self._lock:
            return sum(self.drops.values())

    def _forget(self, now: float) -> None:
        """Forget faults that are over: they ended a while ago, and usable images came since."""
        self._faults = {
            key: fault
            for key, fault in self._faults.items()
            if now - fault.last <= WINDOW_S or fault.last > self._good
        }

    def _trim(self) -> None:
        horizon = self._clock() - WINDOW_S
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
            now = self._clock()
            self._forget(now)
            recent: Counter[str] = Counter()
            for _, cause, count in self._dropped:
                recent[cause] += count
            frames = [stages for _, stages in self._frames]
            times = [t for t, _ in self._frames]
            percentiles: dict[str, tuple[float, float, float]] = {}
            result = Snapshot(
                received=self.received,
                published=self.published,
                idle=self.idle,
                out_of_order=self.out_of_order,
                drops={c: self.drops[c] for c in CAUSES},
                recent={c: recent[c] for c in CAUSES},
                recent_received=len(self._arrivals),
                age_s=None if self._last is None else now - self._last,
                faults={fault.name: fault.message for fault in self._faults.values()},
                blocked=any(fault.last > self._good for fault in self._faults.values()),
                peers=dict(self._peers),
                timeless=bool(frames) and all(math.isnan(f["transport_ms"]) for f in frames),
                health=self._health,
                input_hz=_rate(self._arrivals, now),
                output_hz=_rate(times, now),
                percentiles=percentiles,
            )
        for stage in STAGES:  # without the lock: this takes a while
            values = [f[stage] for f in frames if math.isfinite(f[stage])]
            if values:
                p50, p95, p99 = np.percentile(values, (50, 95, 99))
                percentiles[stage] = (float(p50), float(p95), float(p99))
        return result


def _rate(times: deque[float] | list[float], now: float) -> float:
    """Events per second since the first event in the window."""
    if len(times) < 2:
        return 0.0
    return (len(times) - 1) / max(times[-1] - times[0], now - times[-1], 1e-9)
