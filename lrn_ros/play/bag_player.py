# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plays the images of a bag as they were recorded, once the node is ready."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lrn_ros.data.bags.extent import Extent
from lrn_ros.data.bags.reader import COMPRESSED, BagMessage, BagReader
from lrn_ros.errors import RunError, UserError
from lrn_ros.images.cdr import read_stamp, with_stamp
from lrn_ros.images.compressed import encode_jpeg
from lrn_ros.images.encodings import ImageError, fill_image
from lrn_ros.play.player import Player
from lrn_ros.replay.prefetch import prefetch
from lrn_ros.replay.realtime import PlayFiles
from lrn_ros.ros.qos import profile

_AHEAD = 8  # messages read ahead, so that reading them does not delay any
_CLOCK_S = 0.01  # between two messages on /clock
_OUTPUTS = ("mask", "latency")
_PATIENCE_S = 3.0  # for an answer to the grey image, before it is published again
_SETTLE_S = 1.5  # until the node's next /diagnostics, which counts what was before the first image
_SIZE = (480, 640)  # of the grey image where the bag's first cannot be read


@dataclass(frozen=True)
class Due:
    """A message and when it is due.

    Attributes:
        loop: how often the bag was played before.
        index: of the message in its topic.
        message: as recorded.
        shift_ns: by which the bag's time goes on in this loop.
    """

    loop: int
    index: int
    message: BagMessage
    shift_ns: int

    @property
    def bag_ns(self) -> int:
        """When it is due, in the bag's time, which goes on from loop to loop."""
        return self.message.recorded_ns + self.shift_ns


def timeline(bag: BagReader, topic: str, extent: Extent, loops: int) -> Iterator[Due]:
    """The messages of a topic, `loops` times; a loop begins one interval after the last message."""
    shift = 0
    for loop in range(loops):
        first = last = None
        count = 0
        for index, message in bag.part(topic, extent):
            first = message.recorded_ns if first is None else first
            last = message.recorded_ns if last is None else max(last, message.recorded_ns)
            count += 1
            yield Due(loop, index, message, shift)
        if first is None or last is None:
            raise UserError(f"{bag.path}: no message of {topic} is in that part of the bag")
        span = last - first
        shift += span + (span // (count - 1) if count > 1 else 1_000_000_000)


class BagClock:
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


class BagPlayer(Player):
    """Publishes serialized messages.

    Args:
        kind: their type, Image or CompressedImage.
        topic: where to.
        segmentation: full name of the node to wait for.
        clock: the bag's time.
        simulated: publish it on /clock and leave the stamps as recorded; else they become the time
            of publishing.
    """

    def __init__(
        self, kind: Any, topic: str, segmentation: str, clock: BagClock, simulated: bool
    ) -> None:
        super().__init__("bag_player", kind, topic, segmentation, _OUTPUTS)
        self._bag_clock = clock
        self._ticks = self.create_publisher(Clock, "/clock", profile(1)) if simulated else None
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick_on, daemon=True)
        if simulated:
            self._ticker.start()

    def missing(self, state: int | None) -> str:
        """What is not ready yet, see Player."""
        if self._ticks is not None and not self.count_subscribers("/clock"):
            return f"{self._segmentation} does not follow /clock"
        return super().missing(state)

    def prime(self, grey: Image | CompressedImage, timeout: float) -> None:
        """Publish an image until the node answers, so that the bag's first one finds it ready.

        Then the engine is built, and images that replace each other are counted from the first on.

        Raises:
            RunError: no answer within `timeout` seconds.
        """
        answers: list[DiagnosticArray] = []
        topic, deadline = f"{self._segmentation}/latency", time.monotonic() + timeout
        subscription = self.create_subscription(DiagnosticArray, topic, answers.append, profile(10))
        while not answers:
            if time.monotonic() > deadline:
                raise RunError(f"{self._segmentation} answers no image within {timeout:.0f} s")
            if self._ticks is None:
                grey.header.stamp = self.get_clock().now().to_msg()
            self.publisher.publish(grey)
            again = time.monotonic() + _PATIENCE_S
            while not answers and time.monotonic() < again:
                rclpy.spin_once(self, timeout_sec=0.1)
        self.destroy_subscription(subscription)
        time.sleep(_SETTLE_S)

    def publish(self, due: Due) -> dict[str, int | None]:
        """Publish a message; returns its stamp, and the monotonic time at which it was published.

        A message that is too short to have a stamp is published as it is; its stamp is None.
        """
        data, stamp = due.message.data, None
        try:
            if self._ticks is None:
                stamp = time.time_ns()
                data = with_stamp(data, stamp)
            else:
                self._tick()
                stamp = read_stamp(data) + due.shift_ns
                data = with_stamp(data, stamp) if due.shift_ns else data
        except ImageError:
            stamp = None
        at = time.monotonic_ns()
        self.publisher.publish(data)
        return {"stamp_ns": stamp, "at_ns": at}

    def close(self) -> None:
        """Wait until the last messages were taken, and end the clock."""
        self.finish()
        self._stop.set()
        if self._ticks is not None:
            self._ticker.join()

    def _tick(self) -> None:
        assert self._ticks is not None
        self._ticks.publish(Clock(clock=Time(nanoseconds=self._bag_clock.now_ns()).to_msg()))

    def _tick_on(self) -> None:
        while not self._stop.wait(_CLOCK_S) and self.context.ok():
            self._tick()


def grey_image(bag: BagReader, topic: str, first: Due) -> Image | CompressedImage:
    """A grey image, of the size and of the type of the first, and a second older."""
    try:
        frame = next(bag.frames(topic, {first.index}), None)
    except UserError:
        frame = None
    shape = (*_SIZE, 3) if frame is None else frame.rgb.shape
    stamp_ns = first.bag_ns if frame is None else frame.stamp_ns
    header = Header(frame_id="grey")
    header.stamp = Time(nanoseconds=max(0, stamp_ns - 1_000_000_000)).to_msg()
    grey = np.full(shape, 127, np.uint8)
    if first.message.type == COMPRESSED:
        data = encode_jpeg(grey)
        return CompressedImage(header=header, format="jpeg", data=data)
    message = Image()
    fill_image(message, grey, "rgb8", header)
    return message


def play(
    player: BagPlayer, clock: BagClock, dues: Iterator[Due], log: Path, stop: threading.Event
) -> None:
    """Publish each message when it is due, until `stop`; a line of `log` each."""
    clock.start()
    with log.open("w", encoding="utf-8") as lines:
        for due in dues:
            due_ns = clock.due_ns(due.bag_ns)
            if stop.wait(max(0.0, (due_ns - time.monotonic_ns()) / 1e9)):
                return
            sent = player.publish(due)
            line = {"index": due.index, "loop": due.loop, "due_ns": due_ns, **sent}
            lines.write(json.dumps(line) + "\n")
            lines.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--bag-topic", required=True)
    parser.add_argument("--topic", required=True, help="where to")
    parser.add_argument("--segmentation", default="/segmentation", help="the node to wait for")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait for it")
    parser.add_argument("--rate", type=float, default=1.0, help="times as fast as recorded")
    parser.add_argument("--loop", type=int, default=1, help="how many times")
    parser.add_argument("--start", type=float, default=0.0, help="seconds")
    parser.add_argument("--duration", type=float, help="seconds")
    parser.add_argument("--clock", action="store_true", help="publish /clock, leave the stamps")
    parser.add_argument("--log", type=Path, required=True, help="what was sent, JSON lines")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Play a bag; 0 when all was sent, or as much as there was time for until SIGINT."""
    args = _parser().parse_args(remove_ros_args(sys.argv if argv is None else argv)[1:])
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stop = threading.Event()
    try:
        bag, extent = BagReader(args.bag), Extent(args.start, args.duration)
        kind = CompressedImage if bag.topics[args.bag_topic].type == COMPRESSED else Image
        first = next(timeline(bag, args.bag_topic, extent, 1))
        clock = BagClock(first.bag_ns, args.rate)
        player = BagPlayer(kind, args.topic, args.segmentation, clock, args.clock)
        player.wait_until_ready(args.timeout)
        player.prime(grey_image(bag, args.bag_topic, first), args.timeout)
        signal.signal(signal.SIGINT, lambda *_: stop.set())
        dues = prefetch(timeline(bag, args.bag_topic, extent, args.loop), _AHEAD)
        play(player, clock, dues, args.log, stop)
        dues.close()
        player.close()
        if bag.damage:
            PlayFiles(args.log.parent).damage.write_text(bag.damage, encoding="utf-8")
    except (UserError, RunError, OSError) as error:
        print(f"bag_player: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        return 0
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
