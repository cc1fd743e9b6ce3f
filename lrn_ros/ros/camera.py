# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera: its subscription, whose reliability follows the publishers, and its latest frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lrn_ros.ros.outputs import Outputs
from lrn_ros.ros.qos import all_reliable, profile
from lrn_ros.ros.statistics import Statistics

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import (
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )


@dataclass(frozen=True)
class Frame:
    """A received image message that waits for the worker.

    Attributes:
        message: sensor_msgs Image or CompressedImage.
        received_ns: node clock at receipt, nanoseconds.
        received_at: monotonic clock at receipt, seconds.
    """

    message: Any
    received_ns: int
    received_at: float

    @property
    def stamp_ns(self) -> int:
        """The image's stamp in nanoseconds."""
        stamp = self.message.header.stamp
        return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


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
        self.info: CameraInfo | None = None
        self._node, self._deliver = node, deliver
        base = f"{prefix}/" if prefix else ""
        image = node.resolve_topic_name(f"{base}image")
        self.topic = f"{image}/compressed" if compressed else image
        self._type = CompressedImage if compressed else Image
        self._reliable = bool(all_reliable(node, self.topic))
        self._subscription = self._subscribe()
        self._info_subscription = None
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

    def follow_publishers(self) -> None:
        """Subscribe anew when what the publishers offer has changed."""
        reliable = all_reliable(self._node, self.topic)
        if reliable is None or reliable == self._reliable:
            return
        self._reliable = reliable
        self._node.destroy_subscription(self._subscription)
        self._subscription = self._subscribe()
        self._node.get_logger().info(f"{self.topic}: subscribed as {self.reliability}")

    def destroy(self) -> None:
        """Remove subscriptions and publishers."""
        self._node.destroy_subscription(self._subscription)
        if self._info_subscription is not None:
            self._node.destroy_subscription(self._info_subscription)
        self.outputs.destroy()

    def _subscribe(self) -> Any:
        qos = profile(reliable=self._reliable)
        events = SubscriptionEventCallbacks(message_lost=self._on_lost)
        try:
            return self._node.create_subscription(
                self._type, self.topic, self._on_image, qos, event_callbacks=events
            )
        except UnsupportedEventTypeError:  # the middleware does not report losses
            return self._node.create_subscription(self._type, self.topic, self._on_image, qos)

    def _on_image(self, message: Any) -> None:
        now = self._node.get_clock().now().nanoseconds
        self.statistics.arrived()
        self._deliver(self, Frame(message, now, time.perf_counter()))

    def _on_lost(self, event: Any) -> None:
        self.statistics.dropped("transport", event.total_count_change)

    def _on_info(self, message: CameraInfo) -> None:
        self.info = message


def _info_topic(node: Node, base: str, image: str) -> str:
    """The camera_info topic: as remapped, else beside the resolved image topic."""
    resolved = node.resolve_topic_name(f"{base}camera_info")
    namespace = node.get_namespace().rstrip("/")
    if resolved != f"{namespace}/{base}camera_info":
        return str(resolved)
    return f"{image.rsplit('/', 1)[0]}/camera_info"
