# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of videos, cameras and live streams."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from queue import Empty, Queue

import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.sources import Frame
from lrn_ros.images.video import VideoReader

_LOG = logging.getLogger("lrn_ros")


class VideoSource:
    """A video file, or a finite video at an address; damage ends it or leaves frames out."""

    label_set: str | None = None

    def __init__(self, name: str, title: str) -> None:
        self._reader, self.title = VideoReader(name, title), title
        self.rate, self.count = self._reader.rate, self._reader.count

    @property
    def damage(self) -> str | None:
        """See Source."""
        return self._reader.damage

    @property
    def is_finite(self) -> bool:
        """Whether it has a length, as a file has and a live stream has not."""
        return self._reader.seconds is not None or self.count is not None

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """See Source.frames."""
        for f in self._reader.frames(wanted):
            yield Frame(f.index, f"{f.index:06d}", f.rgb, seconds=f.seconds)
        if self.damage:
            _LOG.warning("%s: damaged, read in part: %s", self.title, self.damage)


class LiveSource:
    """A camera or a live stream: the newest frame only, the others are passed over.

    The time of a frame is that of its receipt. It ends when the camera or the stream does.

    Args:
        name, title, format: see lrn_ros.images.video.VideoReader.
    """

    label_set: str | None = None
    count: int | None = None

    def __init__(self, name: str, title: str, format: str | None = None) -> None:
        self._reader, self.title = VideoReader(name, title, format), title
        self.rate = self._reader.rate

    @property
    def damage(self) -> str | None:
        """See Source."""
        return self._reader.damage

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """See Source.frames; indices count the frames that are taken."""
        newest: Queue[tuple[float, NDArray[np.uint8]] | None] = Queue(1)
        stop, failed, start = threading.Event(), [], time.monotonic()

        def receive() -> None:
            try:
                for frame in self._reader.frames():
                    if stop.is_set():
                        return
                    with suppress(Empty):
                        newest.get_nowait()
                    newest.put((time.monotonic() - start, frame.rgb))
            except Exception as error:  # is raised below
                failed.append(error)
            finally:
                newest.put(None)

        threading.Thread(target=receive, name="camera", daemon=True).start()
        last, index = -1 if wanted is None else max(wanted, default=-1), 0
        try:
            while (wanted is None or index <= last) and (item := newest.get()) is not None:
                if wanted is None or index in wanted:
                    yield Frame(index, f"{index:06d}", item[1], seconds=item[0])
                index += 1
        finally:
            stop.set()
        if failed:
            raise failed[0]
