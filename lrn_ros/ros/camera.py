# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera: its subscription, whose reliability follows the publishers, and its latest frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from lrn_ros.images.cdr import (
    CompressedImageMessage,
    ImageMessage,
    parse_compressed_image,
    parse_image,
    stamp_ns,
)
from lrn_ros.images.encodings import ImageError
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.smoothing import Smoother
from lrn_ros.ros.outputs import Outputs
from lrn_ros.ros.qos import (
    SubscriptionEventCallbacks,
    UnsupportedEventTypeError,
    all_reliable,
    misfits,
    overrides,
    profile,
    reliability_given,
)
from lrn_ros.ros.statistics import Statistics

_SET_BACK_NS = 10**9


@dataclass(frozen=True)
class Frame:
    """A received image message that waits for the worker.

    Attributes:
        message: with the fields of sensor_msgs Image or CompressedImage.
        received_ns: node clock at receipt, nanoseconds.
        received_at: monotonic clock at receipt, seconds.
    """

    message: ImageMessage | CompressedImageMessage
    received_ns: int
    received_at: float

    @property
    def stamp_ns(self) -> int:
        """The image's stamp in nanoseconds."""
        return stamp_ns(self.message.header.stamp)

    @property
    def header(self) -> Header:
        """The image's header as a message."""
        header = self.message.header
        stamp = Time(sec=header.stamp.sec, nanosec=header.stamp.nanosec)
        return Header(stamp=stamp, frame_id=header.frame_id)

    @property
    def age_ms(self) -> float:
        """Age on receipt in milliseconds; 0 where the stamp is zero: unknown."""
        return (self.received_ns - self.stamp_ns) / 1e6 if self.stamp_ns else 0.0


class Sequence:
    """Counts the messages of one publisher that a newer one replaced before they were taken.

    The reader keeps the last message only. A gap in the publisher's sequence numbers, less what
    the middleware reports as lost, was overwritten there.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._lost = 0

    def lost(self, count: int) -> None:
        """Messages that the middleware says never arrived."""
        self._lost += count

    def missed(self, number: int | None) -> int:
        """How many were overwritten before message `number`; None: not numbered."""
        last, lost = self._last, self._lost
        self._last, self._lost = number, 0
        if number is None or last is None or number <= last:
            return 0
        return max(0, number - last - 1 - lost)


class Camera:
    """Subscribes one camera and holds its newest frame.

    Args:
        node: the node that owns the subscriptions.
        prefix: topic prefix, empty for a single camera.
        compressed: subscribe CompressedImage beside the image topic.
        with_info: also subscribe the camera's CameraInfo.
        deliver: called in the executor's thread with every received frame.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        *,
        compressed: bool,
        with_info: bool,
        deliver: Callable[[Camera, Frame], None],
    ) -> None:
        self.prefix, self.statistics = prefix, Statistics()
        self.outputs = Outputs(node, prefix, with_info)
        self.waiting: Frame | None = None
        self.served_at = 0.0  # monotonic, when the worker last took a frame
        self.geometry: Geometry | None = None  # of the frame served last
        self.smoother = Smoother()
        self.info: CameraInfo | None = None
        self._newest_ns = 0
        self._sequence = Sequence()
        self._node, self._deliver = node, deliver
        base = f"{prefix}/" if prefix else ""
        image = node.resolve_topic_name(f"{base}image")
        self.topic = f"{image}/compressed" if compressed else image
        self._type = CompressedImage if compressed else Image
        self._parse = parse_compressed_image if compressed else parse_image
        self._reliable = bool(all_reliable(self._publishers()))
        self._info_subscription = None
        try:
            self._subscription = self._subscribe()
        except Exception:  # of what the user overrides
            self.outputs.destroy()
            raise
        if with_info:
            topic = _info_topic(node, base, image)
            self._info_subscription = node.create_subscription(
                CameraInfo, topic, self._on_info, profile(reliable=False)
            )

    @property
    def name(self) -> str:
        """How the camera is called in logs and diagnostics."""
        return self.prefix or "camera"

    @property
    def reliability(self) -> str:
        """What the subscription asks for at present."""
        return "reliable" if self._reliable else "best_effort"

    def follow_peers(self) -> None:
        """Subscribe anew when what publishers offer has changed; say who cannot be connected."""
        publishers = self._publishers()
        reliable = all_reliable(publishers)
        changed = reliable not in (None, self._reliable)
        if changed and not reliability_given(self._node, self.topic):
            self._reliable = bool(reliable)
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribe()
            self._node.get_logger().info(f"{self.topic}: subscribed as {self.reliability}")
        self._note("publishers", {self.topic: misfits(self._subscription, publishers)})
        self._note("subscribers", self.outputs.misfits())

    def destroy(self) -> None:
        """Remove subscriptions and publishers."""
        self._node.destroy_subscription(self._subscription)
        if self._info_subscription is not None:
            self._node.destroy_subscription(self._info_subscription)
        self.outputs.destroy()

    def is_behind(self, frame: Frame) -> bool:
        """Whether a newer frame was accepted before; if not, this one is the newest.

        A step back of more than a second is taken for a clock that was set back, or a bag that
        starts again, and is no reason to drop frames.
        """
        if frame.stamp_ns == 0:  # of unknown time
            return False
        behind = self._newest_ns - frame.stamp_ns
        if 0 < behind <= _SET_BACK_NS:
            return True
        if behind > _SET_BACK_NS:
            self._node.get_logger().info(
                f"{self.topic}: stamps went back by {behind / 1e9:.1f} s; a clock was set or a bag"
                " starts again",
                throttle_duration_sec=10.0,
            )
        self._newest_ns = frame.stamp_ns
        return False

    def report(self, cause: str, key: str, text: str) -> None:
        """Count a frame dropped by a fault and say so, once per kind of fault (`key`)."""
        if self.statistics.fault(cause, key, f"{cause}: {text}"):
            self._node.get_logger().error(
                f"{self.topic}: frame dropped as {cause}: {text} (said once per cause;"
                " /diagnostics counts them)"
            )

    def _subscribe(self) -> Any:
        qos = profile(reliable=self._reliable)
        overridable = overrides(reliability=reliability_given(self._node, self.topic))
        # Every event with a callback costs the executor time for every message, so the default
        # ones for peers that do not fit are left out: follow_peers finds these.
        events = SubscriptionEventCallbacks(message_lost=self._on_lost, use_default_callbacks=False)
        callback: Any = self._on_image  # rclpy's type hint knows no message info
        subscribe = partial(
            self._node.create_subscription, self._type, self.topic, callback, qos, raw=True,
            qos_overriding_options=overridable,
        )  # fmt: skip
        self._sequence = Sequence()
        try:
            return subscribe(event_callbacks=events)
        except UnsupportedEventTypeError:  # the middleware does not report these
            return subscribe()

    def _on_image(self, data: bytes, about: Mapping[str, Any]) -> None:
        now = self._node.get_clock().now().nanoseconds
        # None is left where the publisher has ended before its last message was taken.
        several = self._node.count_publishers(self.topic) > 1
        number = None if several else about.get("publication_sequence_number")
        overwritten = self._sequence.missed(number)
        self.statistics.arrived(1 + overwritten)
        if overwritten:
            self.statistics.dropped("superseded", overwritten)
        try:
            frame = Frame(self._parse(data), now, time.perf_counter())
        except ImageError as error:
            self.report("invalid", error.cause, str(error))
        else:
            self._deliver(self, frame)

    def _on_lost(self, event: Any) -> None:
        self._sequence.lost(event.total_count_change)
        self.statistics.dropped("transport", event.total_count_change)

    def _publishers(self) -> list[Any]:
        return list(self._node.get_publishers_info_by_topic(self.topic))

    def _note(self, peers: str, found: Mapping[str, str]) -> None:
        """Report peers that cannot be connected, by topic; log it when that changes."""
        text = "; ".join(f"{topic}: {reason}" for topic, reason in found.items() if reason)
        if self.statistics.peer(f"incompatible {peers}", text):
            self._node.get_logger().warning(f"{self.name}: incompatible {peers}: {text}")

    def _on_info(self, message: CameraInfo) -> None:
        self.info = message


def _info_topic(node: Node, base: str, image: str) -> str:
    """The camera_info topic: as remapped, else beside the resolved image topic."""
    resolved = node.resolve_topic_name(f"{base}camera_info")
    namespace = node.get_namespace().rstrip("/")
    if resolved != f"{namespace}/{base}camera_info":
        return str(resolved)
    return f"{image.rsplit('/', 1)[0]}/camera_info"
