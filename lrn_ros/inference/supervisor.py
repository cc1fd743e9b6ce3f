# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps a Segmenter running: compiles in the background, replaces a backend that fails."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import RunError, UserError
from lrn_ros.inference.backends.base import BackendError
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.result import Result
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.inference.smoothing import Smooth

_FAILURES = 3  # frames in a row after which a backend is restarted
_RESTARTS = 2  # of one backend within _RESTART_S; after that it is given up
_RESTART_S = 600.0
_PAUSE_S = 0.5  # before a restart
_WAITING = 4  # sizes that wait to be compiled; further ones are asked for again later


class NotReady(Exception):
    """Nothing can run at this moment, but soon: the message says what is being prepared."""


@dataclass(frozen=True)
class Status:
    """What the supervisor is doing; empty when everything runs.

    Attributes:
        compiling: what is compiled, and for how long.
        restarting: why the backend is being restarted.
        failure: why nothing runs any more.
    """

    compiling: str = ""
    restarting: str = ""
    failure: str = ""


class Supervisor:
    """Runs frames on a Segmenter. `run` is for one thread; the rest is for any.

    A backend that throws for three frames in a row is restarted; one that had to be restarted
    twice within ten minutes is given up, and with "auto" the next one takes over.

    Args:
        load: makes a Segmenter; its argument holds the backends that are given up, with the reason.
        say: takes lines for the log.

    Raises:
        UserError: from `load`, the first time.
    """

    def __init__(
        self, load: Callable[[Mapping[str, str]], Segmenter], say: Callable[[str], None]
    ) -> None:
        self._load, self._say = load, say
        self._given_up: dict[str, str] = {}
        self._restarts: list[tuple[float, str]] = []  # when, backend
        self._failures = 0
        self._segmenter: Segmenter | None = load(self._given_up)
        self._restarting = self._failure = ""
        self._lock = threading.Lock()
        self._pending: dict[tuple[Geometry, int], float] = {}  # since when it is compiled
        self._refused: dict[tuple[Geometry, int], str] = {}
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="compiler", daemon=True).start()

    def close(self) -> None:
        """End the background thread after what it is doing; does not wait for it."""
        self._tasks.put(None)

    @property
    def segmenter(self) -> Segmenter:
        """The one that runs at present.

        Raises:
            NotReady: the backend is being restarted.
            RunError: every backend has failed.
        """
        if self._failure:
            raise RunError(self._failure)
        segmenter = self._segmenter
        if segmenter is None:
            raise NotReady(f"the backend is being restarted: {self._restarting}")
        return segmenter

    def status(self) -> Status:
        """What is going on at this moment."""
        with self._lock:
            pending = dict(self._pending)
        now = time.monotonic()
        compiling = (
            f"{_name(geometry, batch)} since {now - since:.0f} s"
            for (geometry, batch), since in pending.items()
        )
        return Status(", ".join(compiling), self._restarting, self._failure)

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth] = (),
    ) -> list[Result]:
        """Segment frames of one geometry, several in one inference as far as that is compiled.

        Args:
            frames: (H, W, 3) uint8 RGB each.
            geometry: of all of them.
            confidence: also give the probability of the chosen class.
            smooth: one a frame, or none.

        Raises:
            NotReady: it is being compiled, or the backend is being restarted.
            UserError: the model cannot run at this size.
            RunError: every backend has failed.
            Exception: whatever the backend threw for these frames.
        """
        segmenter = self.segmenter
        results: list[Result] = []
        batches = self._batches(segmenter, geometry, len(frames))
        try:
            for batch in batches:
                part = slice(len(results), len(results) + batch)
                results += segmenter.run(frames[part], geometry, confidence, smooth[part])
        except Exception as error:
            self._failures += 1
            if self._failures == _FAILURES:
                self._replace(segmenter, error)
            raise
        self._failures = 0
        return results

    def _batches(self, segmenter: Segmenter, geometry: Geometry, frames: int) -> list[int]:
        """Sizes of the inferences for so many frames.

        Powers of two, 7 = 4 + 2 + 1, so that few engines serve every number of frames; one by one
        in place of those that are not compiled.
        """
        powers = [1 << bit for bit in reversed(range(frames.bit_length())) if frames >> bit & 1]
        if all(segmenter.backend.prepared(geometry, n) for n in powers):
            return powers
        if not self._prepared(segmenter, geometry, 1):
            if refusal := self._refused.get((geometry, 1)):
                raise UserError(refusal)
            raise NotReady(f"{_name(geometry, 1)} is being compiled")
        split = ([n] if self._prepared(segmenter, geometry, n) else [1] * n for n in powers)
        return [n for part in split for n in part]

    def _prepared(self, segmenter: Segmenter, geometry: Geometry, batch: int) -> bool:
        """Whether it is compiled; if not, that is under way, or refused."""
        if segmenter.backend.prepared(geometry, batch):
            return True
        key = (geometry, batch)
        with self._lock:
            known = key in self._pending or key in self._refused
            if not known and len(self._pending) < _WAITING:
                self._pending[key] = time.monotonic()
                self._tasks.put(lambda: self._compile(geometry, batch))
        return False

    def _replace(self, segmenter: Segmenter, error: Exception) -> None:
        """Let go of a backend that failed, so that its memory is free, and restart it.

        As a task of its own: what found the failure holds the backend. Nothing happens where
        another failure has had it replaced already.
        """
        name, reason = segmenter.backend.name, f"{type(error).__name__}: {error}"
        self._failures = 0
        with self._lock:
            if self._segmenter is not segmenter:
                return
            self._segmenter, self._restarting = None, reason
        self._tasks.put(lambda: self._restart(name, reason))

    # In the background thread ---------------------------------------------------------------

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()

    def _compile(self, geometry: Geometry, batch: int) -> None:
        start, segmenter = time.monotonic(), self._segmenter
        try:
            if segmenter is not None:
                segmenter.backend.prepare(geometry, batch)
                self._say(f"{_name(geometry, batch)} ready after {time.monotonic() - start:.1f} s")
        except Exception as error:  # a vendor's compiler may throw anything
            if batch > 1:
                self._refused[geometry, batch] = str(error)
                self._say(f"{_name(geometry, batch)} cannot run at once, but one by one: {error}")
            elif isinstance(error, UserError) and not isinstance(error, BackendError):
                self._refused[geometry, batch] = str(error)
            elif segmenter is not None:
                self._replace(segmenter, error)
        finally:
            with self._lock:
                self._pending.pop((geometry, batch), None)

    def _restart(self, name: str, reason: str) -> None:
        """Load the backend again, or the next one."""
        self._say(f"backend {name} failed and is restarted: {reason}")
        now = time.monotonic()
        self._restarts = [r for r in self._restarts if now - r[0] < _RESTART_S]
        if sum(backend == name for _, backend in self._restarts) >= _RESTARTS:
            self._given_up[name] = f"given up after {_RESTARTS} restarts: {reason}"
        self._restarts.append((now, name))
        time.sleep(_PAUSE_S)
        try:
            segmenter = self._load(self._given_up)
        except Exception as error:  # reported; the process lives on
            self._failure, self._restarting = f"no backend works any more: {error}", ""
            self._say(self._failure)
        else:
            self._refused.clear()
            with self._lock:
                self._segmenter, self._restarting = segmenter, ""
            self._say(f"backend {segmenter.backend.name} runs")


def _name(geometry: Geometry, batch: int) -> str:
    size = f"{geometry.network[0]}x{geometry.network[1]}"
    return f"{size} for {batch} frames" if batch > 1 else size
