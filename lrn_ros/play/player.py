# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plays a bag or a source into the node when the node is ready: every image at its time."""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lrn_ros.data.bags.decode import COMPRESSED, IMAGE, VIDEO, VIDEO_TYPES
from lrn_ros.data.bags.reader import BagMessage, BagReader
from lrn_ros.data.bags.times import Extent
from lrn_ros.data.sources import Frame, SceneSource, Source, open_source
from lrn_ros.errors import RunError, UserError
from lrn_ros.images.cdr import (
    parse_compressed_video,
    parse_ffmpeg_packet,
    read_stamp,
    serialize_video,
    with_stamp,
)
from lrn_ros.images.compressed import encode_jpeg
from lrn_ros.images.encodings import ImageError, fill_image
from lrn_ros.play.processes import GREY
from lrn_ros.play.timeline import Due, PlayClock, bag_timeline, source_timeline
from lrn_ros.replay.prefetch import prefetch
from lrn_ros.replay.realtime import PlayFiles
from lrn_ros.ros.qos import profile
from lrn_ros.ros.transports import message_class, transport_of

_AHEAD = 8  # images read ahead, so that reading them does not delay any
_MAX_HELD_BYTES = 512 << 20  # frames that are made ahead, so that this does not slow the node
_CLOCK_S = 0.01  # between two messages on /clock
_PATIENCE_S = 3.0  # for an answer to the grey image, before it is published again
_SETTLE_S = (
    1.5  # until the node's next /diagnostics, which counts everything before the first image
)
_SIZE = (480, 640)  # of the grey image if the bag's first image cannot be read
_STEADY_S = 1.0  # all must be ready for this long
_UNCONFIGURED_S = 6.0  # a node that is unconfigured for so long has failed to configure


class Player(Node):
    """Publishes images of one or several cameras.

    Args:
        kinds: class of the messages by camera.
        topics: where they are published, by camera.
        segmentation: full name of the node to wait for.
        outputs: outputs below the node's name that must have a subscriber.
        clock: the bag's time.
        simulated: publish it on /clock and leave the stamps as recorded; otherwise the stamps
            become the time of publishing.
    """

    def __init__(
        self,
        kinds: Mapping[str, Any],
        topics: Mapping[str, str],
        segmentation: str,
        outputs: Sequence[str],
        clock: PlayClock,
        simulated: bool,
    ) -> None:
        super().__init__("player")
        self._topics, self._segmentation, self._outputs = topics, segmentation, outputs
        self._images = {
            camera: self.create_publisher(kinds[camera], topic, profile(5))
            for camera, topic in topics.items()
        }
        self._get_state = self.create_client(GetState, f"{segmentation}/get_state")
        self._play_clock = clock
        self._ticks = self.create_publisher(Clock, "/clock", profile(1)) if simulated else None
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick_on, daemon=True)
        if simulated:
            self._ticker.start()

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until the node has been active, subscribed and recorded for one second.

        Raises:
            RunError: the node does not get there within `timeout` seconds, or fails to configure.
        """
        deadline, since, idle_since = time.monotonic() + timeout, None, None
        missing = "there is no such node"
        while time.monotonic() < deadline:
            state = self._state()
            missing = self._missing(state)
            now = time.monotonic()
            since = (since or now) if not missing else None
            unconfigured = state == State.PRIMARY_STATE_UNCONFIGURED
            idle_since = (idle_since or now) if unconfigured else None
            if since and now - since > _STEADY_S:
                return
            if idle_since and now - idle_since > _UNCONFIGURED_S:
                raise RunError(f"{self._segmentation} stays unconfigured; its log says why")
            time.sleep(0.1)
        raise RunError(f"{self._segmentation} not ready within {timeout:.0f} s: {missing}")

    def prime(self, grey: Mapping[str, Image | CompressedImage | bytes], timeout: float) -> None:
        """Publish a grey image of each camera until the node answers, so that it is ready.

        Then the engine is built, and the node counts superseded images from the first image on.

        Raises:
            RunError: the node does not answer within `timeout` seconds.
        """
        answered: set[str] = set()
        topic, deadline = f"{self._segmentation}/latency", time.monotonic() + timeout

        def note(message: DiagnosticArray) -> None:
            answered.update(status.name.rpartition(": ")[2] for status in message.status)

        subscription = self.create_subscription(DiagnosticArray, topic, note, profile(10))
        while len(answered) < len(grey):
            if time.monotonic() > deadline:
                raise RunError(f"{self._segmentation} answers no image within {timeout:.0f} s")
            for camera, message in grey.items():
                if self._ticks is None:
                    now = self.get_clock().now()
                    if isinstance(message, bytes):
                        message = with_stamp(message, now.nanoseconds)
                    else:
                        message.header.stamp = now.to_msg()
                if camera not in answered:
                    self._images[camera].publish(message)
            again = time.monotonic() + _PATIENCE_S
            while len(answered) < len(grey) and time.monotonic() < again:
                rclpy.spin_once(self, timeout_sec=0.1)
        self.destroy_subscription(subscription)
        time.sleep(_SETTLE_S)

    def publish(self, due: Due) -> dict[str, int | None]:
        """Publish an image; return its stamp and the monotonic time of publishing.

        A message that is too short to have a stamp is published unchanged; its stamp is None.
        """
        stamp: int | None = None
        message: Image | bytes
        if isinstance(due.image, Frame):
            now = self.get_clock().now()
            stamp, message = int(now.nanoseconds), Image()
            header = Header(frame_id="camera", stamp=now.to_msg())
            fill_image(message, due.image.rgb, "rgb8", header)
        else:
            message, stamp = self._stamped(due, due.image)
        at = time.monotonic_ns()
        self._images[due.camera].publish(message)
        return {"stamp_ns": stamp, "at_ns": at}

    def close(self) -> None:
        """Wait for at most ten seconds until the last images were taken, and end the clock."""
        for publisher in self._images.values():
            publisher.wait_for_all_acked(Duration(seconds=10))
        self._stop.set()
        if self._ticks is not None:
            self._ticker.join()

    def _stamped(self, due: Due, message: BagMessage) -> tuple[bytes, int | None]:
        """The recorded message with the stamp that it is published with."""
        try:
            if self._ticks is None:
                stamp = time.time_ns()
                return with_stamp(message.data, stamp), stamp
            self._tick()
            stamp = read_stamp(message.data) + due.shift_ns
            return (with_stamp(message.data, stamp) if due.shift_ns else message.data), stamp
        except ImageError:
            return message.data, None

    def _missing(self, state: int | None) -> str:
        """The condition that is not met yet, given the node's state; empty if all is ready."""
        if self._ticks is not None and not self.count_subscribers("/clock"):
            return f"{self._segmentation} does not follow /clock"
        if state != State.PRIMARY_STATE_ACTIVE:
            return "it is not active"
        for camera, topic in self._topics.items():
            readers = self.get_subscriptions_info_by_topic(topic)
            reliable = [r.qos_profile.reliability == ReliabilityPolicy.RELIABLE for r in readers]
            if not any(reliable) or not self._images[camera].get_subscription_count():
                return f"it has not subscribed {topic} as reliable"
        for name in self._outputs:
            if not self.count_subscribers(f"{self._segmentation}/{name}"):
                return f"nobody records {self._segmentation}/{name}"
        return ""

    def _state(self) -> int | None:
        if not self._get_state.service_is_ready():
            return None
        future = self._get_state.call_async(GetState.Request())
        rclpy.spin_until_future_complete(self, future, timeout_sec=2.0)
        if not future.done():
            self._get_state.remove_pending_request(future)
            return None
        answer = future.result()
        return int(answer.current_state.id) if answer is not None else None

    def _tick(self) -> None:
        assert self._ticks is not None
        self._ticks.publish(Clock(clock=Time(nanoseconds=self._play_clock.now_ns()).to_msg()))

    def _tick_on(self) -> None:
        while not self._stop.wait(_CLOCK_S) and self.context.ok():
            self._tick()


def grey_image(bag: BagReader | None, topic: str, first: Due) -> Image | CompressedImage | bytes:
    """A grey image with the size and type of the first image, and a stamp one second older."""
    shape: tuple[int, ...] = (*_SIZE, 3)
    stamp_ns, kind = first.bag_ns, IMAGE
    if isinstance(first.image, Frame):
        shape = first.image.rgb.shape
    elif bag is not None:
        kind = first.image.type
        try:
            wanted = None if kind in VIDEO_TYPES else {first.index}
            frame = next(bag.frames(topic, wanted), None)
        except UserError:
            frame = None
        if frame is not None:
            shape, stamp_ns = frame.rgb.shape, frame.stamp_ns
    stamp_ns = max(0, stamp_ns - 1_000_000_000)
    header = Header(frame_id=GREY, stamp=Time(nanoseconds=stamp_ns).to_msg())
    grey = np.full(shape, 127, np.uint8)
    if kind in VIDEO_TYPES and isinstance(first.image, BagMessage):
        return with_stamp(_grey_packet(first.image, grey), stamp_ns)
    if kind == COMPRESSED:
        return CompressedImage(header=header, format="jpeg", data=encode_jpeg(grey))
    message = Image()
    fill_image(message, grey, "rgb8", header)
    return message


def _grey_packet(first: BagMessage, grey: NDArray[np.uint8]) -> bytes:
    """A video message like the first one, in another codec.

    With the bag's own codec, a recording that begins between keyframes would be decoded from the
    grey picture on.
    """
    from lrn_ros.images.video_packets import encode_keyframe

    is_foxglove = first.type == VIDEO
    recorded = (parse_compressed_video if is_foxglove else parse_ffmpeg_packet)(first.data)
    codec = "vp9" if "vp8" in recorded.codec.lower() else "vp8"
    packet = encode_keyframe(grey, codec)
    height, width = grey.shape[:2]
    return serialize_video(GREY, codec, packet, None if is_foxglove else (height, width))


def play(
    player: Player, clock: PlayClock, dues: Iterator[Due], log: Path, stop: threading.Event
) -> None:
    """Publish each image when it is due, until `stop`; write one line to `log` for each."""
    clock.start()
    with log.open("w", encoding="utf-8") as lines:
        for due in dues:
            due_ns = clock.due_ns(due.bag_ns)
            if stop.wait(max(0.0, (due_ns - time.monotonic_ns()) / 1e9)):
                return
            sent = player.publish(due)
            line = {"camera": due.camera, "index": due.index, "loop": due.loop, "due_ns": due_ns}
            lines.write(json.dumps(line | sent) + "\n")
            lines.flush()


def held(dues: Iterator[Due]) -> Iterator[Due]:
    """The same images; as many as fit into memory are made before the first is used."""
    made: list[Due] = []
    size = 0
    for due in dues:
        made.append(due)
        size += due.image.rgb.nbytes if isinstance(due.image, Frame) else len(due.image.data)
        if size > _MAX_HELD_BYTES:
            break
    return itertools.chain(made, dues)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--bag", type=Path, help="a rosbag2, which is played as recorded")
    add("--camera", nargs=3, action="append", metavar=("CAMERA", "FROM", "TO"),
        help="a topic of the bag, and the topic on which it is published")  # fmt: skip
    add("--input", type=Path, help="video, folder or bag, played at --fps; default: the scene")
    add("--bag-topic", help="image topic of --input")
    add("--model", help="the model with the classes of the labels beside a folder")
    add("--size", type=int, nargs=2, default=(360, 640), metavar=("H", "W"),
        help="size of the scene")  # fmt: skip
    add("--seed", type=int, default=0, help="seed of the scene")
    add("--frames", type=int, default=0, help="number of frames of --input to play; 0: all")
    add("--fps", type=float, default=10.0, help="rate of --input in Hz")
    add("--labels", type=Path, help="folder to which the labels of --input are written")
    add("--topic", default="/demo/image", help="the topic on which --input is published")
    add("--segmentation", default="/segmentation", help="the node to wait for")
    add("--outputs", nargs="+", default=["latency"],
        help="outputs of the node that must be recorded before the start")  # fmt: skip
    add("--timeout", type=float, default=600.0, help="seconds to wait for the node")
    add("--rate", type=float, default=1.0, help="speed, relative to the recording")
    add("--loop", type=int, default=1, help="how many times to play")
    add("--start", type=float, default=0.0, help="seconds of the bag to skip")
    add("--duration", type=float, help="seconds of the bag to play")
    add("--clock", action="store_true", help="publish /clock, and leave the stamps unchanged")
    add("--log", type=Path, required=True, help="file for the sent messages, JSON lines")
    return parser


def _source(args: argparse.Namespace) -> Source:
    if args.input is None:
        return SceneSource(args.seed, tuple(args.size), args.fps)
    labels = None
    if args.model:
        from lrn_ros.model.artifact import SUFFIXES, read_info, resolve_model

        labels = read_info(resolve_model(args.model, SUFFIXES)).labels
    return open_source(args.input, labels, args.bag_topic)


def _run(args: argparse.Namespace, stop: threading.Event) -> None:
    bag = BagReader(args.bag) if args.bag else None
    if bag is not None:
        froms = {camera: topic for camera, topic, _ in args.camera}
        topics = {camera: topic for camera, _, topic in args.camera}
        extent = Extent(args.start, args.duration)
        dues = bag_timeline(bag, froms, extent, args.loop)
        firsts = {c: next(bag_timeline(bag, {c: t}, extent, 1)) for c, t in froms.items()}
    else:
        froms, topics = {"": ""}, {"": args.topic}
        dues = held(source_timeline(_source(args), args.fps, args.frames, args.labels))
        first = next(dues, None)
        if first is None:
            raise UserError(f"{args.input}: has no frame")
        dues, firsts = itertools.chain([first], dues), {"": first}
    types = {c: getattr(first.image, "type", IMAGE) for c, first in firsts.items()}
    kinds = {c: message_class(transport_of(kind)[0]) for c, kind in types.items()}
    clock = PlayClock(min(first.bag_ns for first in firsts.values()), args.rate)
    player = Player(kinds, topics, args.segmentation, args.outputs, clock, args.clock)
    player.wait_until_ready(args.timeout)
    grey = {c: grey_image(bag, froms[c], first) for c, first in firsts.items()}
    player.prime(grey, args.timeout)
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    ahead = prefetch(dues, _AHEAD)
    play(player, clock, ahead, args.log, stop)
    ahead.close()
    player.close()
    if bag is not None and bag.damage:
        PlayFiles(args.log.parent).damage.write_text(bag.damage, encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Play; returns 0 when everything was sent, or everything until SIGINT."""
    args = _parser().parse_args(remove_ros_args(sys.argv if argv is None else argv)[1:])
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        _run(args, threading.Event())
    except (UserError, RunError, OSError) as error:
        print(f"player: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        return 0
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
