# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera's publishers; what nobody subscribes to is neither computed nor published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String

from lrn_ros.images.compressed import encode_jpeg
from lrn_ros.images.encodings import fill_image
from lrn_ros.inference.overlay import blend, colorize, draw_legend, legend_picture, outline
from lrn_ros.inference.palette import people, shown
from lrn_ros.model.labels import LabelSet
from lrn_ros.ros.parameters import Settings
from lrn_ros.ros.qos import (
    PublisherEventCallbacks,
    misfits,
    overrides,
    profile,
)

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:
    LabelInfo = VisionClass = None

_JPEG_QUALITY = 80


class Outputs:
    """Publishers of one camera under `~/` or `~/PREFIX/`; all cameras share `~/latency`.

    Args:
        node: publishes.
        prefix: of the camera, or empty.
        with_info: also publish a scaled CameraInfo.
    """

    def __init__(self, node: Node, prefix: str, with_info: bool) -> None:
        self._node = node
        self._ids: NDArray[np.uint8] | None = None  # (256,) id of each class; None: its position
        own = f"~/{prefix}/" if prefix else "~/"

        def advertise(
            kind: Any, name: str, depth: int = 1, latched: bool = False, base: str = own
        ) -> Any:
            # Every event with a callback costs the executor time for every message.
            return node.create_publisher(
                kind, base + name, profile(depth, latched=latched),
                qos_overriding_options=overrides(),
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
            )  # fmt: skip

        self.mask = advertise(Image, "mask")
        self.color = advertise(Image, "color")
        self.overlay = advertise(Image, "overlay")
        self.overlay_compressed = advertise(CompressedImage, "overlay/compressed")
        self.confidence = advertise(Image, "confidence")
        self.latency = advertise(DiagnosticArray, "latency", 10, base="~/")
        self.classes = advertise(String, "classes", latched=True)
        self.legend = advertise(Image, "legend", latched=True)
        self.camera_info = advertise(CameraInfo, "camera_info") if with_info else None
        self.label_info = advertise(LabelInfo, "label_info", latched=True) if LabelInfo else None
        frame_outputs = (
            self.mask, self.color, self.overlay, self.overlay_compressed, self.confidence,
            self.latency, self.camera_info,
        )  # fmt: skip
        self._frame_outputs = [p for p in frame_outputs if p is not None]

    def wanted(self) -> bool:
        """Whether anybody subscribes to a per-frame output."""
        return any(map(_listened, self._frame_outputs))

    def misfits(self) -> dict[str, str]:
        """Topic -> why subscribers of a per-frame output or of the classes get nothing."""
        found = {}
        for publisher in (*self._frame_outputs, self.classes):
            topic = publisher.topic_name
            if self._node.count_subscribers(topic) > publisher.get_subscription_count():
                subscribers = self._node.get_subscriptions_info_by_topic(topic)
                found[topic] = misfits(publisher, subscribers)
        return found

    def wants_confidence(self) -> bool:
        """Whether anybody subscribes to the confidence."""
        return _listened(self.confidence)

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in (*self._frame_outputs, self.classes, self.legend, self.label_info):
            if publisher is not None:
                self._node.destroy_publisher(publisher)

    def publish_labels(
        self, labels: LabelSet, ids: Sequence[int], threshold: float, palette: str
    ) -> None:
        """Publish the class names and the colours shown, for everybody who comes later too.

        `rgb` is the colour in `~/color` and the overlays, `dataset_rgb` the data set's own.

        Args:
            labels: of the masks.
            ids: under which the classes are published, here and in the mask.
            threshold: of the confidence.
            palette: the colours shown, see lrn_ros.inference.palette.
        """
        table = np.arange(256, dtype=np.uint8)
        table[: len(ids)] = ids
        self._ids = None if tuple(ids) == tuple(range(len(ids))) else table
        display = shown(labels, palette)
        classes = [
            {"id": i, "name": name, "rgb": list(rgb), "dataset_rgb": list(own)}
            for i, name, rgb, own in zip(ids, labels.names, display.colors, labels.colors)
        ]
        self.classes.publish(String(data=json.dumps(classes)))
        stamp = self._node.get_clock().now().to_msg()
        self.legend.publish(_image(legend_picture(display), "rgb8", Header(stamp=stamp)))
        if self.label_info is not None:
            message = LabelInfo(threshold=threshold)
            message.header.stamp = stamp
            message.class_map = [
                VisionClass(class_id=i, class_name=n) for i, n in zip(ids, labels.names)
            ]
            self.label_info.publish(message)

    def _under_ids(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The mask with the ids under which its classes are published."""
        return mask if self._ids is None else np.asarray(cv2.LUT(mask, self._ids), np.uint8)

    def publish_mask(self, mask: NDArray[np.uint8], header: Any) -> None:
        """Publish (H, W) classes under their ids, if anybody listens."""
        if _listened(self.mask):
            self.mask.publish(_image(self._under_ids(mask), "mono8", header))

    def publish_pictures(
        self,
        rgb: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        confidence: NDArray[np.uint8] | None,
        header: Any,
        labels: LabelSet,
        settings: Settings,
    ) -> None:
        """Publish confidence, colours and overlays, each if anybody listens."""
        if confidence is not None and _listened(self.confidence):
            self.confidence.publish(_image(confidence, "mono8", header))
        overlay, jpeg = _listened(self.overlay), _listened(self.overlay_compressed)
        if not (overlay or jpeg or _listened(self.color)):
            return
        display = shown(labels, settings.palette)
        color = colorize(mask, display.lookup())
        if _listened(self.color):
            self.color.publish(_image(color, "rgb8", header))
        if not (overlay or jpeg):
            return
        if rgb.shape != color.shape:
            rgb = cv2.resize(rgb, mask.shape[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        picture = blend(rgb, color, mask, settings.overlay_alpha)
        outline(picture, mask, people(display))
        if settings.legend:
            draw_legend(picture, mask, display)
        if overlay:
            self.overlay.publish(_image(picture, "rgb8", header))
        if jpeg:
            if settings.compressed_legend and not settings.legend:
                draw_legend(picture, mask, display)
            self.overlay_compressed.publish(_jpeg(picture, header))

    def publish_info(self, info: CameraInfo | None, size: tuple[int, int], header: Any) -> None:
        """Publish the camera's calibration scaled to the masks, if anybody listens."""
        if self.camera_info is not None and info is not None and _listened(self.camera_info):
            self.camera_info.publish(scale_camera_info(info, size, header))

    def publish_latency(self, name: str, header: Any, values: dict[str, str]) -> None:
        """Publish one frame's latency figures."""
        message = DiagnosticArray(header=header)
        pairs = [KeyValue(key=k, value=v) for k, v in values.items()]
        message.status = [
            DiagnosticStatus(level=DiagnosticStatus.OK, name=name, message="", values=pairs)
        ]
        self.latency.publish(message)


def _listened(publisher: Any) -> bool:
    return bool(publisher.get_subscription_count() > 0)


def _image(array: NDArray[np.uint8], encoding: str, header: Any) -> Image:
    message = Image()
    fill_image(message, array, encoding, header)
    return message


def _jpeg(rgb: NDArray[np.uint8], header: Any) -> CompressedImage:
    message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    message.data.frombytes(encode_jpeg(rgb, _JPEG_QUALITY))
    return message


def scale_camera_info(info: CameraInfo, size: tuple[int, int], header: Any) -> CameraInfo:
    """Calibration of the image scaled to `size` (height, width).

    Per axis f' = f * s and c' = (c + 0.5) * s - 0.5 in K and P (P's fourth column scales as f
    does); D and R stay. Binning and region of interest are folded in, so that the result describes
    the published image alone, and reset.
    """
    roi = info.roi
    axes = (
        (size[1] / max(roi.width or info.width, 1), roi.x_offset),
        (size[0] / max(roi.height or info.height, 1), roi.y_offset),
    )
    scaled = CameraInfo(header=header, height=size[0], width=size[1])
    scaled.distortion_model, scaled.d, scaled.r = info.distortion_model, info.d, info.r
    k, p = [float(v) for v in info.k], [float(v) for v in info.p]
    for matrix, columns in ((k, 3), (p, 4)):
        if not any(matrix):
            continue  # uncalibrated stays uncalibrated
        for row, (scale, offset) in enumerate(axes):
            start = row * columns
            matrix[start : start + columns] = [v * scale for v in matrix[start : start + columns]]
            matrix[start + 2] += (0.5 - offset) * scale - 0.5
    scaled.k, scaled.p = k, p
    return scaled
