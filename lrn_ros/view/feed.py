# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Feeds of segmented frames, and the slot that holds the newest frame."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.sources import Source
from lrn_ros.data.video_sources import LiveSource
from lrn_ros.errors import RunError, UserError
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.model.labels import LabelSet

_FOLDER_RATE = 2.0  # Hz, for sources without a rate of their own


@dataclass(frozen=True)
class FrameFigures:
    """The figures of a frame.

    Attributes:
        stages: name and milliseconds, such as ("inference_ms", 40.1).
        input_hz, output_hz: frames that come, frames that are segmented.
        dropped: frames that were not segmented so far.
        backend: what runs the network, and its precision.
    """

    stages: tuple[tuple[str, float], ...]
    input_hz: float
    output_hz: float
    dropped: int
    backend: str


@dataclass(frozen=True)
class View:
    """One segmented frame.

    Attributes:
        number: counts the frames that are shown, from 1.
        rgb: (H, W, 3) uint8 camera image.
        mask: (H, W) uint8 class ids, 255 unlabelled.
        confidence: (H, W) uint8 where somebody looks at it, else None.
        stamp_ns: time of the image.
        masked_at: time.monotonic() when the mask was there.
        figures: what is measured.
    """

    number: int
    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
    stamp_ns: int
    masked_at: float
    figures: FrameFigures


class Feed(Protocol):
    """A source of segmented frames that keeps only the newest.

    Attributes:
        title: what is shown, for people.
        slot: holds the newest frame.
    """

    title: str
    slot: NewestFrame

    def labels(self) -> LabelSet | None:
        """The classes; None as long as they are unknown."""

    def close(self) -> None:
        """Stop, and free all resources."""


class NewestFrame:
    """The newest frame. A frame that nobody fetched is replaced."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._view: View | None = None
        self._error, self._closed = "", False
        self.watched_at = self.confidence_at = float("-inf")

    def put(self, view: View) -> None:
        """Replace the frame."""
        with self._changed:
            self._view = view
            self._changed.notify_all()

    def fail(self, error: str) -> None:
        """Note that no frame comes any more, with the reason; empty: the source has ended."""
        with self._changed:
            self._error, self._closed = error, True
            self._changed.notify_all()

    def newer(self, number: int, timeout: float, confidence: bool = False) -> View | None:
        """Wait for a frame after `number`; None if none comes in time."""
        with self._changed:
            self.watched_at = time.monotonic()
            if confidence:
                self.confidence_at = self.watched_at
            self._changed.wait_for(
                lambda: self._closed or (self._view is not None and self._view.number > number),
                timeout,
            )
            view = self._view
        return view if view is not None and view.number > number else None

    @property
    def closed(self) -> bool:
        """Whether no frame comes any more."""
        return self._closed

    @property
    def error(self) -> str:
        """Why no frame comes any more; empty if the source has ended or frames still come."""
        return self._error

    @property
    def wants_confidence(self) -> bool:
        """Whether somebody asked for confidence within the last two seconds."""
        return time.monotonic() - self.confidence_at < 2

    @property
    def watched(self) -> bool:
        """Whether somebody waited for a frame within the last two seconds."""
        return time.monotonic() - self.watched_at < 2


class Rate:
    """Events per second over the last five seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=400)

    def tick(self) -> None:
        """One event, now."""
        self._times.append(time.monotonic())

    def hz(self) -> float:
        """The present rate."""
        recent = [t for t in tuple(self._times) if t > time.monotonic() - 5]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0


class SourceFeed:
    """Segments a source in real time: late frames are dropped, the newest frame is shown.

    Nothing is segmented while nobody looks.

    Args:
        title: title of the source.
        open_frames: makes an iterator of (H, W, 3) uint8 RGB frames in real time; see `played`.
        segmenter: used by one thread alone.
    """

    def __init__(
        self,
        title: str,
        open_frames: Callable[[], Iterator[NDArray[np.uint8]]],
        segmenter: Segmenter,
    ) -> None:
        self.title, self.slot = title, NewestFrame()
        self._open, self._segmenter = open_frames, segmenter
        self._input, self._output = Rate(), Rate()
        self._dropped, self._stopped = 0, False
        self._waiting: tuple[NDArray[np.uint8], int] | None = None
        self._arrived = threading.Condition()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), daemon=True)
            for work in (self._read, self._segment)
        ]
        for thread in self._threads:
            thread.start()

    def labels(self) -> LabelSet | None:
        """See Feed."""
        return self._segmenter.labels

    def close(self) -> None:
        """See Feed."""
        with self._arrived:
            self._stopped = True
            self._arrived.notify_all()
        for thread in self._threads:
            thread.join(5)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (UserError, RunError, OSError, cv2.error) as error:
            self.slot.fail(str(error))

    def _read(self) -> None:
        for rgb in self._open():
            if self._stopped:
                return
            self._input.tick()
            with self._arrived:
                self._dropped += self._waiting is not None
                self._waiting = rgb, time.time_ns()
                self._arrived.notify_all()
        self.slot.fail("")

    def _segment(self) -> None:
        number, backend = 0, self._segmenter.backend
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._stopped or self._waiting is not None)
                if self._stopped or self._waiting is None:
                    return
                rgb, stamp_ns = self._waiting
                self._waiting = None
            if not self.slot.watched:
                continue
            number += 1
            taken_ns = time.time_ns()
            result = self._segmenter(rgb, confidence=self.slot.wants_confidence)
            self._output.tick()
            timings = result.timings
            now_ns = time.time_ns()
            stages = (
                ("queue_ms", (taken_ns - stamp_ns) / 1e6),
                ("preprocess_ms", timings.preprocess_ms),
                ("inference_ms", timings.inference_ms),
                ("postprocess_ms", timings.postprocess_ms),
                ("processing_ms", (now_ns - stamp_ns) / 1e6),
                ("end_to_end_ms", (now_ns - stamp_ns) / 1e6),
            )
            figures = FrameFigures(
                stages, self._input.hz(), self._output.hz(), self._dropped,
                f"{backend.name} {backend.precision}",
            )  # fmt: skip
            self.slot.put(
                View(
                    number, rgb, result.mask, result.confidence, stamp_ns, time.monotonic(), figures
                )
            )


def played(source: Source, rate: float | None) -> Iterator[NDArray[np.uint8]]:
    """(H, W, 3) uint8 frames in real time: those of a file or folder again and again.

    A camera or stream gives its own as they come, and ends when it does.
    """
    if isinstance(source, LiveSource):
        for frame in source.frames():
            yield frame.rgb
        return
    period = 1 / (rate or source.rate or _FOLDER_RATE)
    due = time.monotonic()
    while True:
        for frame in source.frames():
            yield frame.rgb
            due = max(due + period, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))


def check_readable(source: Source) -> None:
    """Refuse a file or folder of which no frame can be read.

    Raises:
        UserError: there is none.
    """
    if not isinstance(source, LiveSource) and next(iter(source.frames()), None) is None:
        raise UserError(f"{source.title}: no frame can be read: {source.damage or 'it is empty'}")
