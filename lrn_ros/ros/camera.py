# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera: its subscriptions, which follow what the publishers offer, and its messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from lrn_ros.images.cdr import CompressedImageMessage, ImageMessage, VideoMessage, stamp_ns
from lrn_ros.images.encodings import NO_KEYFRAME, ImageError
from lrn_ros.ros import graph
from lrn_ros.ros.guard import one_line
from lrn_ros.ros.outputs import Outputs
from lrn_ros.ros.qos import (
    SubscriptionEventCallbacks,
    UnsupportedEventTypeError,
    all_latched,
    all_reliable,
    incompatible_peers,
    overrides,
    profile,
    reliability_given,
)
from lrn_ros.ros.statistics import Statistics
from lrn_ros.ros.transports import (
    PARSERS,
    VIDEOS,
    Picture,
    VideoStream,
    depth,
    message_class,
)

_LOOK_AROUND_S = 2.0  # how often the graph is searched for topic names that nearly fit


@dataclass(frozen=True)
class ReceivedFrame:
    """A received image message that waits for the worker.

    Attributes:
        message: has the fields of sensor_msgs Image or CompressedImage, or is a picture of a video.
        received_ns: time of the node's clock at receipt, nanoseconds.
        received_at: time of the monotonic clock at receipt, seconds.
    """

    message: ImageMessage | CompressedImageMessage | Picture
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
        """Age on receipt in milliseconds; 0 if it is unknown because the stamp is zero."""
        return (self.received_ns - self.stamp_ns) / 1e6 if self.stamp_ns else 0.0


class Sequence:
    """Counts the messages of one publisher that a newer message replaced before they were taken.

    The reader keeps the last message only. The messages that are missing in the publisher's
    sequence numbers were overwritten there, except those that the middleware reports as lost.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._lost = 0

    def lost(self, count: int) -> None:
        """Note messages that never arrived, as the middleware reports."""
        self._lost += count

    def missed(self, number: int | None) -> int:
        """How many messages were overwritten before message `number` (None: it has no number)."""
        last, lost = self._last, self._lost
        self._last, self._lost = number, 0
        if number is None or last is None or number <= last:
            return 0
        return max(0, number - last - 1 - lost)


class Camera:
    """Subscribes one camera and hands on what it receives.

    Args:
        node: the node that owns the subscriptions.
        prefix: topic prefix, empty for a single camera.
        transport: a key of graph.TRANSPORTS.
        deliver: called in the executor's thread with every received frame.

    Attributes:
        topic: topic of the images, after all remapping.
        no_publisher: says that nothing publishes the topic, and names topics that nearly fit; empty
            if there is a publisher.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        transport: str,
        deliver: Callable[[Camera, ReceivedFrame], None],
    ) -> None:
        self.prefix, self.statistics = prefix, Statistics()
        self.topic = self.no_publisher = ""
        self._node, self._deliver, self._transport = node, deliver, transport
        self._type, self._parse = message_class(transport), PARSERS[transport]
        self._video: VideoStream | None = None
        self._sequence = Sequence()
        self._info_bytes: bytes | None = None
        self._info_fault = ""
        self._looked_around = 0.0
        self.outputs = Outputs(node, prefix)
        self._images: Any = None
        self._infos: Any = None
        try:
            name = _image_name(node, prefix, transport)
            self._name_given = name
            topic = node.resolve_topic_name(name)
            self._reliable = bool(all_reliable(graph.publishers(node, topic)))
            self._images = self._subscribe()
            self.topic = str(self._images.topic_name)  # after all remapping
            self._info_name = _info_name(node, prefix, transport, self.topic)
            topic = node.resolve_topic_name(self._info_name)
            self._latched = bool(all_latched(graph.publishers(node, topic)))
            self._infos = self._subscribe_infos()
        except Exception:  # a name or a quality of service that the user chose is not valid
            self.destroy()
            raise

    @property
    def name(self) -> str:
        """The name of the camera in logs and diagnostics."""
        return self.prefix or "camera"

    @property
    def reliability(self) -> str:
        """The reliability of the present subscription."""
        return "reliable" if self._reliable else "best_effort"

    def inputs(self) -> set[str]:
        """The topics that are subscribed."""
        return {self.topic, str(self._infos.topic_name)}

    def info(self) -> CameraInfo | None:
        """A copy of the latest CameraInfo; None before the first."""
        data = self._info_bytes
        if data is None:
            return None
        try:
            return deserialize_message(data, CameraInfo)
        except Exception as error:  # rclpy documents no type; the bytes may be anything
            self._info_bytes = None
            self._info_fault = one_line(error)  # follow_peers says it
            return None

    def follow_peers(self) -> None:
        """Subscribe anew if the publishers' offers have changed; report incompatible peers."""
        publishers = graph.publishers(self._node, self.topic)
        reliable = all_reliable(publishers)
        changed = reliable not in (None, self._reliable)
        if changed and not reliability_given(self._node, self.topic):
            self._reliable = bool(reliable)
            self._node.destroy_subscription(self._images)
            self._images = self._subscribe()
            self._node.get_logger().info(f"{self.topic}: subscribed as {self.reliability}")
        self._look_around(bool(publishers))
        incompatible = incompatible_peers(self._images, publishers)
        self._note("incompatible publishers", {self.topic: incompatible})
        self._note("incompatible subscribers", self.outputs.incompatible_peers())
        self._follow_infos()

    def destroy(self) -> None:
        """Remove subscriptions and publishers."""
        for subscription in (self._images, self._infos):
            if subscription is not None:
                self._node.destroy_subscription(subscription)
        self.outputs.destroy()

    def report(self, cause: str, kind: str, text: str) -> None:
        """Count a frame that a fault has dropped, and log the fault if it is new."""
        if self.statistics.fault(cause, kind, f"{cause}: {text}"):
            self._node.get_logger().error(
                f"{self.topic}: frame dropped as {cause}: {text} (logged once per cause;"
                " /diagnostics counts them)"
            )

    def _subscribe(self) -> Any:
        qos = profile(depth(self._transport), reliable=self._reliable)
        self._video = VideoStream() if self._transport in VIDEOS else None
        topic = self._node.resolve_topic_name(self._name_given)
        overridable = overrides(reliability=reliability_given(self._node, topic))
        # Every event with a callback costs the executor time for every message. So the default
        # callbacks for incompatible peers are left out; follow_peers finds these peers.
        events = SubscriptionEventCallbacks(message_lost=self._on_lost, use_default_callbacks=False)
        callback: Any = self._on_image  # rclpy's type hint knows no message info
        subscribe = partial(
            self._node.create_subscription, self._type, self._name_given, callback, qos, raw=True,
            qos_overriding_options=overridable,
        )  # fmt: skip
        self._sequence = Sequence()
        try:
            return subscribe(event_callbacks=events)
        except UnsupportedEventTypeError:  # the middleware does not report lost messages
            return subscribe()

    def _subscribe_infos(self) -> Any:
        qos = profile(reliable=self._latched, latched=self._latched)
        return self._node.create_subscription(
            CameraInfo, self._info_name, self._on_info, qos, raw=True,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )  # fmt: skip

    def _follow_infos(self) -> None:
        """Ask for the last CameraInfo of the past if every publisher keeps it."""
        topic = self._infos.topic_name
        publishers = graph.publishers(self._node, topic)
        latched = all_latched(publishers)
        if latched not in (None, self._latched):
            self._latched = bool(latched)
            self._node.destroy_subscription(self._infos)
            self._infos = self._subscribe_infos()
        missing = self._info_bytes is None and self.outputs.is_listened("camera_info")
        peers = "somebody publishes it" if publishers else "nothing publishes it"
        text = f"none came, so there is none beside the masks; {peers}"
        if missing and self._info_fault:
            text = f"the last one cannot be read: {self._info_fault}"
        self._note("no CameraInfo", {topic: text if missing else ""})

    def _look_around(self, has_publisher: bool) -> None:
        """Find other image topics if nothing publishes the topic of the camera."""
        if has_publisher:
            self.no_publisher = ""
        elif time.monotonic() - self._looked_around >= _LOOK_AROUND_S:
            self._looked_around = time.monotonic()
            published = graph.published_images(self._node)
            self.no_publisher = graph.near_misses(self.topic, self._transport, published)

    def _on_image(self, data: bytes, about: Mapping[str, Any]) -> None:
        now = self._node.get_clock().now().nanoseconds
        # The count is 0 if the publisher ended before its last message was taken.
        several = self._images.get_publisher_count() > 1
        number = None if several else about.get("publication_sequence_number")
        overwritten = self._sequence.missed(number)
        self.statistics.arrived(1 + overwritten)
        if overwritten:
            self.statistics.dropped("superseded", overwritten)
            self._lose_keyframe()
        received_at = time.perf_counter()
        try:
            message = self._parse(data)
            if not isinstance(message, VideoMessage):
                self._deliver(self, ReceivedFrame(message, now, received_at))
            elif self._video is not None:
                for picture in self._video.pictures(message):
                    self._deliver(self, ReceivedFrame(picture, now, received_at))
        except ImageError as error:
            if error.cause == NO_KEYFRAME:
                self.statistics.dropped(NO_KEYFRAME)
            else:
                self.report("invalid", error.cause, str(error))

    def _lose_keyframe(self) -> None:
        """Note that messages are missing: of a video, what follows waits for a keyframe."""
        if self._video is not None:
            self._video.lost()

    def _on_lost(self, event: Any) -> None:
        self._lose_keyframe()
        self._sequence.lost(event.total_count_change)
        self.statistics.dropped("transport", event.total_count_change)

    def _on_info(self, data: bytes) -> None:
        self._info_bytes = data

    def _note(self, what: str, found: Mapping[str, str]) -> None:
        """Report what is wrong with peers, by topic; log it when that changes."""
        text = "; ".join(f"{topic}: {reason}" for topic, reason in found.items() if reason)
        if self.statistics.peer(what, text):
            self._node.get_logger().warning(f"{self.name}: {what}: {text}")


def _image_name(node: Node, prefix: str, transport: str) -> str:
    """The name to subscribe, to which the node's remapping rules then apply once.

    A transport's topic is beside the image topic, unless a rule names it itself.
    """
    image = f"{prefix}/image" if prefix else "image"
    suffix, _ = graph.TRANSPORTS[transport]
    if not suffix or graph.is_remapped(node, image + suffix):
        return image + suffix
    return str(node.resolve_topic_name(image)) + suffix


def _info_name(node: Node, prefix: str, transport: str, topic: str) -> str:
    """The name of the CameraInfo topic: as a rule says, else beside the image topic."""
    info = f"{prefix}/camera_info" if prefix else "camera_info"
    if graph.is_remapped(node, info):
        return info
    suffix, _ = graph.TRANSPORTS[transport]
    base = topic.removesuffix(suffix) if suffix else topic
    return f"{base.rsplit('/', 1)[0]}/camera_info"
