# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A running node's topics as a feed: masks with the camera images from which they were made.

The node computes what it publishes anyway; neither colours nor overlay are asked of it.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from lrn_ros.errors import UserError
from lrn_ros.images.cdr import parse_compressed_image, parse_image, read_stamp
from lrn_ros.images.compressed import compressed_to_rgb
from lrn_ros.images.encodings import ImageError, message_to_rgb
from lrn_ros.inference.result import STAGES
from lrn_ros.model.labels import LabelSet
from lrn_ros.ros.qos import profile
from lrn_ros.view.feed import FrameFigures, NewestFrame, View

_MAX_WAITING = 30  # serialized camera images that wait for their mask


class NodeFeed:
    """Shows what a segmentation node publishes.

    Args:
        node: full name of the node, such as /segmentation.
        camera: prefix of the camera; empty: the only camera.
        timeout: seconds to wait for the node.

    Raises:
        UserError: no such node, or it tells no image topic.
    """

    def __init__(self, node: str, camera: str = "", timeout: float = 10.0) -> None:
        self.title, self.slot = f"{node} {camera}".strip(), NewestFrame()
        self._base = f"{node}/{camera}".rstrip("/")
        self._identity = f"{node} {camera or 'camera'}"  # hardware_id of the camera's statuses
        self._said: dict[str, str] = {}  # the node's messages about itself and its cameras
        self._images: dict[int, tuple[bool, bytes]] = {}
        self._masks: dict[int, tuple[bytes, float]] = {}
        self._confidences: dict[int, bytes] = {}
        self._confidence_subscription: Any = None
        self._labels: LabelSet | None = None
        self._positions: NDArray[np.uint8] = np.arange(
            256, dtype=np.uint8
        )  # of the classes, by the mask's ids
        self._figures = FrameFigures((), 0.0, 0.0, 0, "")
        self._rates, self._number = (0.0, 0.0), 0
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("lrn_view", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._topic = ""
        subscribe = self._node.create_subscription
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, profile(10))
        subscribe(String, f"{self._base}/classes", self._on_classes, profile(latched=True))
        try:
            self._find(node, timeout)
        except UserError:
            rclpy.shutdown(context=self._context)
            raise
        compressed = self._topic.endswith("/compressed")
        kind: Any = CompressedImage if compressed else Image
        subscribe(
            kind, self._topic, lambda data: self._on_image(compressed, data),
            profile(5, reliable=False), raw=True,
        )  # fmt: skip
        subscribe(Image, f"{self._base}/mask", self._on_mask, profile(2), raw=True)
        subscribe(DiagnosticArray, f"{node}/latency", self._on_latency, profile(10))
        self._thread = threading.Thread(target=self._spin, name="rclpy", daemon=True)
        self._thread.start()

    def labels(self) -> LabelSet | None:
        """See Feed."""
        return self._labels

    def close(self) -> None:
        """See Feed."""
        rclpy.shutdown(context=self._context)
        self._thread.join(5)

    def _find(self, node: str, timeout: float) -> None:
        """Wait until /diagnostics names the camera's image topic."""
        end = time.monotonic() + timeout
        while not self._topic:
            self._executor.spin_once(timeout_sec=0.2)
            others = any(" " in name for name in self._said)  # they come in one message
            if not self._topic and (others or time.monotonic() > end):
                raise UserError(f"{node}: {self._missing(node, timeout)}")

    def _missing(self, node: str, timeout: float) -> str:
        """Why there is no such camera, as far as the node says it."""
        cameras = [name.removeprefix(f"{node} ") for name in self._said if " " in name]
        if cameras:
            return f"its cameras are {', '.join(sorted(cameras))}; name one of them with --camera"
        if node in self._said:
            return f"it has no camera yet: {self._said[node]}"
        return f"no such node within {timeout:g} s; `ros2 node list` shows those of this domain"

    def _spin(self) -> None:
        try:
            while self._context.ok():
                self._executor.spin_once(timeout_sec=0.1)
                self._follow_confidence()
        except ExternalShutdownException:
            pass

    def _follow_confidence(self) -> None:
        """Subscribe to the confidence only while somebody looks, because it costs the node time."""
        wanted, held = self.slot.wants_confidence, self._confidence_subscription
        if wanted and held is None:
            self._confidence_subscription = self._node.create_subscription(
                Image, f"{self._base}/confidence", self._on_confidence, profile(2), raw=True
            )
        elif not wanted and held is not None:
            self._node.destroy_subscription(held)
            self._confidence_subscription = None
            self._confidences.clear()

    def _on_classes(self, message: String) -> None:
        classes = json.loads(message.data)
        colors = tuple(tuple(c["rgb"]) for c in classes)  # as the node shows them
        names = tuple(c["name"] for c in classes)
        ids = tuple(c["id"] for c in classes)
        self._labels = LabelSet(self._base, names, colors, ids=ids, display=colors)
        self._positions = self._labels.id_table().astype(np.uint8)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {v.key: v.value for v in status.values}
            if status.hardware_id.partition(" ")[0] == self._identity.partition(" ")[0]:
                self._said[status.hardware_id] = status.message
            if status.hardware_id == self._identity and "topic" in values:
                self._topic = values["topic"]
                self._rates = float(values["input_hz"]), float(values["output_hz"])

    def _on_latency(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.hardware_id == self._identity:
                values = {v.key: v.value for v in status.values}
                self._figures = FrameFigures(
                    tuple((k, float(values[k])) for k in STAGES if k in values),
                    *self._rates, int(values["dropped"]), values["backend"],
                )  # fmt: skip

    def _on_image(self, compressed: bool, data: Any) -> None:
        if self.slot.watched:
            _keep(self._images, read_stamp(data), (compressed, data))
            self._pair()

    def _on_mask(self, data: bytes) -> None:
        if self.slot.watched:
            _keep(self._masks, read_stamp(data), (data, time.monotonic()))
            self._pair()

    def _on_confidence(self, data: bytes) -> None:
        _keep(self._confidences, read_stamp(data), data)
        self._pair()

    def _pair(self) -> None:
        """Show the newest mask whose camera image has come."""
        common = self._images.keys() & self._masks.keys()
        if self._confidence_subscription is not None:  # the confidence follows its mask
            common &= self._confidences.keys()
        if not common:
            return
        stamp_ns = max(common)
        (compressed, image), (mask, at) = self._images[stamp_ns], self._masks[stamp_ns]
        for held in (self._images, self._masks):
            for old in [s for s in held if s <= stamp_ns]:
                del held[old]
        try:
            rgb = _pixels(compressed, image)
            ids = np.asarray(cv2.LUT(_grey(mask), self._positions), np.uint8)
        except ImageError:
            return  # the node counts this image as invalid, and says why
        if rgb.shape[:2] != ids.shape:  # output_size: network
            rgb = np.asarray(
                cv2.resize(rgb, ids.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8
            )
        self._number += 1
        found = self._confidences.get(stamp_ns)
        confidence = None if found is None else _grey(found)
        self.slot.put(View(self._number, rgb, ids, confidence, stamp_ns, at, self._figures))


def _keep(held: dict[int, Any], stamp_ns: int, value: Any) -> None:
    """Remember the newest of a topic's messages by their stamps."""
    held[stamp_ns] = value
    while len(held) > _MAX_WAITING:
        del held[min(held)]


def _pixels(compressed: bool, data: bytes) -> NDArray[np.uint8]:
    if compressed:
        message = parse_compressed_image(data)
        return compressed_to_rgb(message.data, message.format)
    return message_to_rgb(parse_image(data))


def _grey(data: bytes) -> NDArray[np.uint8]:
    message = parse_image(data)
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    return rows[:, : message.width]
