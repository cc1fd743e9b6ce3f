# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The schedule of a player: the images of a bag as recorded, or those of a source at a rate."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lrn_ros.data.bags.reader import BagMessage, BagReader
from lrn_ros.data.bags.times import Extent
from lrn_ros.data.sources import Frame, Source
from lrn_ros.errors import UserError
from lrn_ros.images.compressed import write_png


@dataclass(frozen=True)
class Due:
    """An image and when it is due.

    Attributes:
        camera: which of several cameras it is of.
        loop: how often all was played before.
        index: index of the image in its topic or source.
        image: a message as recorded, or a frame of a source.
        bag_ns: when it is due, in the bag's time, which goes on from loop to loop.
        shift_ns: by which the bag's time goes on in this loop.
    """

    camera: str
    loop: int
    index: int
    image: BagMessage | Frame
    bag_ns: int
    shift_ns: int = 0


def bag_timeline(
    bag: BagReader, topics: Mapping[str, str], extent: Extent, loops: int
) -> Iterator[Due]:
    """The messages of some topics in recorded order, `loops` times.

    A loop begins one interval after the last message.

    Args:
        bag: what is played.
        topics: image topic by camera.
        extent: the part of the bag.
        loops: how many times.

    Raises:
        UserError: a topic has no message in that part of the bag.
    """
    shift = 0
    for loop in range(loops):
        counts, first, last = dict.fromkeys(topics, 0), None, 0
        parts = (_of_topic(bag, camera, topic, extent) for camera, topic in topics.items())
        for recorded_ns, camera, index, message in heapq.merge(*parts, key=lambda item: item[:2]):
            first = recorded_ns if first is None else min(first, recorded_ns)
            last = max(last, recorded_ns)
            counts[camera] += 1
            yield Due(camera, loop, index, message, recorded_ns + shift, shift)
        if missing := next((topics[c] for c, count in counts.items() if not count), None):
            raise UserError(f"{bag.path}: no message of {missing} is in that part of the bag")
        span, count = last - (first or 0), max(counts.values())
        shift += span + (span // (count - 1) if count > 1 else 1_000_000_000)


def _of_topic(
    bag: BagReader, camera: str, topic: str, extent: Extent
) -> Iterator[tuple[int, str, int, BagMessage]]:
    for index, message in bag.part(topic, extent):
        yield message.recorded_ns, camera, index, message


def source_timeline(source: Source, rate: float, count: int, labels: Path | None) -> Iterator[Due]:
    """The frames of a source at a steady rate.

    Args:
        source: where they are from.
        rate: Hz.
        count: how many at most; 0: all.
        labels: folder for the labels of the frames, INDEX.png; None: they are not written.
    """
    for position, frame in enumerate(islice(source.frames(), count or None)):
        if labels is not None and frame.label is not None:
            write_png(labels / f"{frame.index:06d}.png", frame.label)
        yield Due("", 0, frame.index, frame, round(position * 1e9 / rate))


class PlayClock:
    """The bag's time: stands still until `start`, then runs `rate` times as fast as real time."""

    def __init__(self, origin_ns: int, rate: float) -> None:
        self._origin_ns, self._rate, self._start_ns = origin_ns, rate, -1

    def start(self) -> None:
        """Let it run."""
        self._start_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        """The bag's time."""
        if self._start_ns < 0:
            return self._origin_ns
        return self._origin_ns + round((time.monotonic_ns() - self._start_ns) * self._rate)

    def due_ns(self, bag_ns: int) -> int:
        """The monotonic time at which it is `bag_ns`."""
        return self._start_ns + round((bag_ns - self._origin_ns) / self._rate)
