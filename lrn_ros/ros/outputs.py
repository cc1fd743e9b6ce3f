# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The publishers of one camera; an output without subscribers is neither computed nor published."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64, Header, String

from lrn_ros.images.compressed import encode_jpeg, encode_png
from lrn_ros.images.encodings import fill_image
from lrn_ros.inference.overlay import blend, colorize, draw_legend, legend_picture, outline
from lrn_ros.inference.palette import people, shown
from lrn_ros.model.labels import LabelSet
from lrn_ros.ros import graph
from lrn_ros.ros.diagnostics import status
from lrn_ros.ros.parameters import Settings
from lrn_ros.ros.qos import PublisherEventCallbacks, incompatible_peers, overrides, profile

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:
    LabelInfo = VisionClass = None

try:
    from autoware_internal_debug_msgs.msg import Float64Stamped
except ImportError:
    Float64Stamped = None

_JPEG_QUALITY = 80
_PNG_LEVEL = 1  # the fastest; PNG is lossless at every level
# Topic -> type and queue of the outputs that are published for every frame if anybody subscribes.
_FRAME_OUTPUTS: dict[str, tuple[Any, int]] = {
    "mask": (Image, 1),
    "mask/compressed": (CompressedImage, 1),
    "color": (Image, 1),
    "color/compressed": (CompressedImage, 1),
    "overlay": (Image, 1),
    "overlay/compressed": (CompressedImage, 1),
    "confidence": (Image, 1),
    "camera_info": (CameraInfo, 1),
    "debug/processing_time_ms": (Float64Stamped or Float64, 10),
    "debug/end_to_end_ms": (Float64Stamped or Float64, 10),
}


class Outputs:
    """Publishers of one camera under `~/` or `~/PREFIX/`; all cameras share `~/latency`.

    Args:
        node: the node that owns the publishers.
        prefix: prefix of the camera, or empty.
    """

    def __init__(self, node: Node, prefix: str) -> None:
        self._node = node
        self._ids: NDArray[np.uint8] | None = None  # (256,) id of each class; None: its position
        self._made: list[Any] = []
        try:
            self._advertise(f"~/{prefix}/" if prefix else "~/")
        except Exception:  # a quality of service that the user chose is not valid
            self.destroy()
            raise

    def _advertise(self, own: str) -> None:
        def advertise(kind: Any, topic: str, depth: int = 1, latched: bool = False) -> Any:
            publisher = self._node.create_publisher(
                kind, topic, profile(depth, latched=latched),
                qos_overriding_options=overrides(),
                # Every event with a callback costs the executor time for every message.
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
            )  # fmt: skip
            self._made.append(publisher)
            return publisher

        self._publishers = {
            name: advertise(kind, own + name, depth)
            for name, (kind, depth) in _FRAME_OUTPUTS.items()
        }
        self._publishers["latency"] = advertise(DiagnosticArray, "~/latency", 10)
        self._classes = advertise(String, f"{own}classes", latched=True)
        self._legend = advertise(Image, f"{own}legend", latched=True)
        self._label_info = None
        if LabelInfo is not None:
            self._label_info = advertise(LabelInfo, f"{own}label_info", latched=True)

    def is_listened(self, name: str) -> bool:
        """Whether anybody subscribes to a per-frame output, such as `mask`."""
        return bool(self._publishers[name].get_subscription_count() > 0)

    def is_wanted(self) -> bool:
        """Whether anybody subscribes to any per-frame output."""
        return any(map(self.is_listened, self._publishers))

    def incompatible_peers(self) -> dict[str, str]:
        """Topic -> why subscribers of a per-frame output or of the classes get nothing."""
        found = {}
        for publisher in (*self._publishers.values(), self._classes):
            topic = publisher.topic_name
            if self._node.count_subscribers(topic) > publisher.get_subscription_count():
                subscribers = graph.subscriptions(self._node, topic)
                found[topic] = incompatible_peers(publisher, subscribers)
        return found

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in self._made:
            self._node.destroy_publisher(publisher)
        self._made = []

    def publish_labels(
        self, labels: LabelSet, ids: Sequence[int], threshold: float, palette: str
    ) -> None:
        """Publish the class names and their colours, also for subscribers that come later.

        `rgb` is the colour in `~/color` and the overlays, `dataset_rgb` the colour in the data set.

        Args:
            labels: the label set of the masks.
            ids: the ids under which the classes are published, here and in the mask.
            threshold: the confidence threshold.
            palette: which colours are shown, see lrn_ros.inference.palette.
        """
        table = np.arange(256, dtype=np.uint8)
        table[: len(ids)] = ids
        self._ids = None if tuple(ids) == tuple(range(len(ids))) else table
        display = shown(labels, palette)
        classes = [
            {"id": i, "name": name, "rgb": list(rgb), "dataset_rgb": list(own)}
            for i, name, rgb, own in zip(ids, labels.names, display.colors, labels.colors)
        ]
        self._classes.publish(String(data=json.dumps(classes)))
        stamp = self._node.get_clock().now().to_msg()
        self._legend.publish(_image(legend_picture(display), "rgb8", Header(stamp=stamp)))
        if self._label_info is not None:
            message = LabelInfo(threshold=threshold)
            message.header.stamp = stamp
            message.class_map = [
                VisionClass(class_id=i, class_name=n) for i, n in zip(ids, labels.names)
            ]
            self._label_info.publish(message)

    def _under_ids(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The mask with the ids under which its classes are published."""
        return mask if self._ids is None else np.asarray(cv2.LUT(mask, self._ids), np.uint8)

    def publish_mask(self, mask: NDArray[np.uint8], header: Any) -> None:
        """Publish (H, W) classes under their ids, if anybody listens."""
        if self.is_listened("mask"):
            self._publishers["mask"].publish(_image(self._under_ids(mask), "mono8", header))

    def publish_pictures(
        self,
        rgb: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        confidence: NDArray[np.uint8] | None,
        header: Any,
        labels: LabelSet,
        settings: Settings,
    ) -> None:
        """Publish the pictures that are made from the mask, each if anybody listens."""
        publishers, is_listened = self._publishers, self.is_listened
        if is_listened("mask/compressed"):
            publishers["mask/compressed"].publish(_png(self._under_ids(mask), "mono8", header))
        if confidence is not None and is_listened("confidence"):
            publishers["confidence"].publish(_image(confidence, "mono8", header))
        overlay, jpeg = is_listened("overlay"), is_listened("overlay/compressed")
        if not (overlay or jpeg or is_listened("color") or is_listened("color/compressed")):
            return
        display = shown(labels, settings.palette)
        color = colorize(mask, display.lookup())
        if is_listened("color"):
            publishers["color"].publish(_image(color, "rgb8", header))
        if is_listened("color/compressed"):
            publishers["color/compressed"].publish(_png(color, "rgb8", header))
        if not (overlay or jpeg):
            return
        if rgb.shape != color.shape:
            rgb = cv2.resize(rgb, mask.shape[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        picture = blend(rgb, color, mask, settings.overlay_alpha)
        if settings.overlay_alpha > 0:  # with 0 the overlay is the camera image
            outline(picture, mask, people(display))
        if overlay and not settings.legend:
            publishers["overlay"].publish(_image(picture, "rgb8", header))
        if jpeg or settings.legend:
            draw_legend(picture, mask, display)
        if overlay and settings.legend:
            publishers["overlay"].publish(_image(picture, "rgb8", header))
        if jpeg:
            publishers["overlay/compressed"].publish(_jpeg(picture, header))

    def publish_info(self, info: CameraInfo, size: tuple[int, int] | None, header: Any) -> None:
        """Publish the camera's calibration beside the mask.

        Args:
            info: the calibration of the camera; its header is replaced.
            size: (height, width) to which the calibration is scaled; None: it stays as it is.
            header: the header of the image.
        """
        if size is None:
            info.header = header
        else:
            info = scale_camera_info(info, size, header)
        self._publishers["camera_info"].publish(info)

    def publish_times(self, processing_ms: float, end_to_end_ms: float, header: Any) -> None:
        """Publish one frame's durations for plot tools if anybody listens, but no unknown ones."""
        times = {"processing_time_ms": processing_ms, "end_to_end_ms": end_to_end_ms}
        for name, milliseconds in times.items():
            if self.is_listened(f"debug/{name}") and math.isfinite(milliseconds):
                message = _number(milliseconds, header.stamp, Float64Stamped)
                self._publishers[f"debug/{name}"].publish(message)

    def publish_latency(
        self, name: str, hardware_id: str, header: Any, values: dict[str, str]
    ) -> None:
        """Publish one frame's latency figures."""
        message = DiagnosticArray(header=header)
        message.status = [status(name, DiagnosticStatus.OK, "", values, hardware_id)]
        self._publishers["latency"].publish(message)


def _number(value: float, stamp: Any, stamped: Any) -> Any:
    """A value as a message of the type `stamped`, or as Float64 where that is None."""
    return Float64(data=value) if stamped is None else stamped(stamp=stamp, data=value)


def _image(array: NDArray[np.uint8], encoding: str, header: Any) -> Image:
    message = Image()
    fill_image(message, array, encoding, header)
    return message


def _jpeg(rgb: NDArray[np.uint8], header: Any) -> CompressedImage:
    message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    message.data.frombytes(encode_jpeg(rgb, _JPEG_QUALITY))
    return message


def _png(pixels: NDArray[np.uint8], encoding: str, header: Any) -> CompressedImage:
    kept = "bgr8" if encoding == "rgb8" else encoding  # as image_transport's plugin calls it
    message = CompressedImage(header=header, format=f"{encoding}; png compressed {kept}")
    message.data.frombytes(encode_png(pixels, _PNG_LEVEL))
    return message


def scale_camera_info(info: CameraInfo, size: tuple[int, int], header: Any) -> CameraInfo:
    """Calibration of the image scaled to `size` (height, width).

    For each axis, f' = f * s and c' = (c + 0.5) * s - 0.5 in K and P; the fourth column of P is
    scaled like f. D and R stay. Binning and region of interest become part of the result and are
    reset, so that the result describes the published image alone.
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
            continue  # a camera without calibration stays without
        for row, (scale, offset) in enumerate(axes):
            start = row * columns
            matrix[start : start + columns] = [v * scale for v in matrix[start : start + columns]]
            matrix[start + 2] += (0.5 - offset) * scale - 0.5
    scaled.k, scaled.p = k, p
    return scaled
