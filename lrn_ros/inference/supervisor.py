# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps a Segmenter running: compiles in the background and replaces a backend that fails."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import RunError, UserError, release_frames
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.result import Result
from lrn_ros.inference.segmenter import LoadedModel, Segmenter
from lrn_ros.inference.smoothing import Smooth

_MAX_FAILURES = 3  # a backend is restarted when so many frames in a row have failed
_MAX_RESTARTS = 2  # a backend is given up after so many restarts within _RESTART_S
_RESTART_S = 600.0
_PAUSE_S = 0.5  # before a restart
_MAX_PENDING = 4  # sizes that wait to be compiled; later frames ask again for further sizes
_MIN_FRAMES = 2  # a size for which another size stands in is compiled after so many frames
_MAX_COUNTED = 64  # sizes whose frames are counted
_LOG = logging.getLogger("lrn_ros")


class NotReady(Exception):
    """Nothing can run at this moment, but soon; the message says what is being prepared."""


@dataclass(frozen=True)
class Status:
    """The present work of the supervisor as texts; all of them are empty when everything runs.

    Attributes:
        compiling: which sizes are being compiled, and since when.
        restarting: why the backend is being restarted.
        failure: why nothing runs any more.
    """

    compiling: str = ""
    restarting: str = ""
    failure: str = ""


class Supervisor:
    """Runs frames on a Segmenter. `run` is for one thread; the rest is for any.

    A thread of the supervisor's own loads the backend, compiles for it and frees it. Libraries
    rely on that: OpenVINO gives the thread that loads it a stack for signals, and takes that stack
    away from the thread that frees it. If these were two threads, the next signal would crash the
    process. So no other thread may hold the Segmenter longer than one call of `run`.

    A backend that throws for three frames in a row is restarted. A backend that had to be restarted
    twice within ten minutes is given up, and with "auto" the next one takes over.

    Args:
        load: makes a Segmenter. Its argument holds the backends that are given up, with the reason.

    Raises:
        Exception: any exception of the first call of `load`.
    """

    def __init__(self, load: Callable[[Mapping[str, str]], Segmenter]) -> None:
        self._load = load
        self._given_up: dict[str, str] = {}
        self._restarts: list[tuple[float, str]] = []  # when, backend
        self._failures = 0
        self._segmenter: Segmenter | None = None  # set and forgotten by the supervisor's thread
        self._model: LoadedModel | None = None
        self._restarting = self._failure = ""
        self._lock = threading.Lock()  # guards the fields that several threads change
        self._in_use = threading.Lock()  # held while frames run
        self._closed = threading.Event()
        self._pending: dict[tuple[Geometry, int], float] = {}  # the time of the request
        self._refused: dict[tuple[Geometry, int], str] = {}
        self._counted: Counter[Geometry] = Counter()  # frames for which another size stood in
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        first: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._own_backend, args=[first], name="backend", daemon=True
        )
        self._thread.start()
        first.result()

    def close(self, timeout: float = 1.0) -> None:
        """Let the supervisor's thread free the backend and end.

        Waits for at most `timeout` seconds, because a compilation cannot be interrupted.
        """
        self._closed.set()
        self._tasks.put(lambda: None)
        self._thread.join(timeout)

    @property
    def model(self) -> LoadedModel:
        """The model and backend that run at present.

        Raises:
            NotReady: the backend is being restarted.
            RunError: every backend has failed.
        """
        if self._failure:
            raise RunError(self._failure)
        model = self._model
        if model is None:
            raise NotReady(f"the backend is being restarted: {self._restarting}")
        return model

    def status(self) -> Status:
        """The present work of the supervisor."""
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

        While a network size is not compiled, a compiled size stands in for it. The masks have the
        size that `geometry` asks for.

        Args:
            frames: images of shape (H, W, 3), uint8 RGB.
            geometry: the geometry of all frames.
            confidence: also give the probability of the chosen class.
            smooth: one function per frame, or none.

        Raises:
            NotReady: no size that could run is compiled yet, or the backend is being restarted.
            UserError: the model cannot run at this size.
            RunError: every backend has failed.
            Exception: any exception of the backend for these frames.
        """
        with self._in_use:
            try:
                return self._run(frames, geometry, confidence, smooth)
            except Exception as error:
                release_frames(error)  # the frames of the call stack hold the backend
                raise

    def _run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth],
    ) -> list[Result]:
        name, segmenter = self.model.backend, self._segmenter
        if segmenter is None:
            raise NotReady("the backend is being restarted")
        through, batches = self._plan(segmenter, geometry, len(frames))
        results: list[Result] = []
        try:
            for batch in batches:
                part = slice(len(results), len(results) + batch)
                results += segmenter.run(frames[part], geometry, confidence, smooth[part], through)
        except Exception as error:
            self._failures += 1
            if self._failures == _MAX_FAILURES:
                self._replace(name, error)
            raise
        self._failures = 0
        return results

    def _plan(
        self, segmenter: Segmenter, geometry: Geometry, frames: int
    ) -> tuple[Geometry, list[int]]:
        """The geometry that runs, and the sizes of the inferences for so many frames.

        The sizes are powers of two, such as 7 = 4 + 2 + 1, so that a few engines serve every number
        of frames. If one of these sizes is not compiled, its frames run one by one.
        """
        powers = [1 << bit for bit in reversed(range(frames.bit_length())) if frames >> bit & 1]
        ready = {n for n in powers if segmenter.prepared(geometry, n)}
        if len(ready) == len(powers):
            return geometry, powers
        if not segmenter.prepared(geometry):
            stand_in = segmenter.stand_in(geometry)
            if stand_in is None or self._is_frequent(geometry):
                self._compile_soon(geometry, 1)
            if stand_in is None:
                if refusal := self._refused.get((geometry, 1)):
                    raise UserError(refusal)
                raise NotReady(f"{_name(geometry, 1)} is being compiled")
            return stand_in, [1] * frames
        for n in powers:
            if n not in ready:
                self._compile_soon(geometry, n)
        return geometry, [m for n in powers for m in ([n] if n in ready else [1] * n)]

    def _is_frequent(self, geometry: Geometry) -> bool:
        """Whether so many frames had this geometry that it is worth compiling."""
        if len(self._counted) >= _MAX_COUNTED:
            self._counted.clear()
        self._counted[geometry] += 1
        return self._counted[geometry] >= _MIN_FRAMES

    def _compile_soon(self, geometry: Geometry, batch: int) -> None:
        """Compile in the background, unless this was requested or refused, or too much waits."""
        key = geometry, batch
        with self._lock:
            known = key in self._pending or key in self._refused
            if not known and len(self._pending) < _MAX_PENDING:
                self._pending[key] = time.monotonic()
                self._tasks.put(lambda: self._compile(geometry, batch))

    def _replace(self, name: str, error: Exception) -> None:
        """Stop using the backend `name`, which failed, and restart it in the background.

        Nothing happens if the backend is being replaced already.
        """
        reason = f"{type(error).__name__}: {error}"
        self._failures = 0
        with self._lock:
            if self._model is None:
                return
            self._model, self._restarting = None, reason
        self._tasks.put(lambda: self._restart(name, reason))

    # In the supervisor's thread -------------------------------------------------------------

    def _own_backend(self, first: Future[None]) -> None:
        """Load the backend, do the requested tasks until `close`, and free the backend."""
        try:
            self._segmenter = self._load(self._given_up)
        except BaseException as error:
            release_frames(error)  # the frames of the call stack may hold half a backend
            first.set_exception(error)
            return
        self._model = self._segmenter.loaded
        first.set_result(None)
        del first
        while not self._closed.is_set():
            self._tasks.get()()
        self._free()

    def _free(self) -> None:
        """Free the backend when no frames run on it any more."""
        with self._in_use:
            self._segmenter = None

    def _compile(self, geometry: Geometry, batch: int) -> None:
        start, model = time.monotonic(), self._model
        try:
            if self._segmenter is not None and model is not None:
                self._segmenter.prepare(geometry, batch)
                seconds = time.monotonic() - start
                _LOG.info("%s ready after %.1f s", _name(geometry, batch), seconds)
        except Exception as error:  # a vendor's compiler may throw anything
            release_frames(error)
            if batch > 1:
                self._refused[geometry, batch] = str(error)
                _LOG.warning(
                    "%s cannot run at once, but one by one: %s", _name(geometry, batch), error
                )
            elif isinstance(error, UserError):
                self._refused[geometry, batch] = str(error)
                _LOG.warning("%s cannot run: %s", _name(geometry, batch), error)
            elif model is not None:
                self._replace(model.backend, error)
        finally:
            with self._lock:
                self._pending.pop((geometry, batch), None)

    def _restart(self, name: str, reason: str) -> None:
        """Free the backend, and load it again, or the next one."""
        _LOG.warning("backend %s failed and is restarted: %s", name, reason)
        self._free()  # its memory may be needed
        now = time.monotonic()
        self._restarts = [r for r in self._restarts if now - r[0] < _RESTART_S]
        if sum(backend == name for _, backend in self._restarts) >= _MAX_RESTARTS:
            self._given_up[name] = f"given up after {_MAX_RESTARTS} restarts: {reason}"
        self._restarts.append((now, name))
        if self._closed.wait(_PAUSE_S):
            return
        try:
            segmenter = self._load(self._given_up)
        except Exception as error:  # the error is reported, and the process goes on
            release_frames(error)
            self._failure, self._restarting = f"no backend works any more: {error}", ""
            _LOG.error("%s", self._failure)
        else:
            self._refused.clear()
            self._segmenter = segmenter
            with self._lock:
                self._model, self._restarting = segmenter.loaded, ""
            _LOG.info("backend %s runs", segmenter.loaded.backend)


def _name(geometry: Geometry, batch: int) -> str:
    size = f"{geometry.network[0]}x{geometry.network[1]}"
    return f"{size} for {batch} frames" if batch > 1 else size
