# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The outputs for a frame, with publishers that only record them: no node, no DDS."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.clock import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Float64, Header

from lrn_ros.model.labels import LabelSet
from lrn_ros.ros import outputs as module
from lrn_ros.ros.outputs import Outputs, scale_camera_info
from lrn_ros.ros.parameters import SPECS, check_all

SETTINGS = check_all({name: spec.default for name, spec in SPECS.items()})
LABELS = LabelSet.load("camvid11")
HEADER = Header(stamp=Time(sec=7, nanosec=9), frame_id="front")
RGB = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
MASK = np.random.default_rng(1).integers(0, 11, (40, 60), np.uint8)


class Publisher:
    """Notes what is published; a test says how many listen."""

    def __init__(self, kind: Any, topic_name: str) -> None:
        self.msg_type, self.topic_name = kind, topic_name
        self.listeners, self.sent = 0, list[Any]()

    def get_subscription_count(self) -> int:
        return self.listeners

    def publish(self, message: Any) -> None:
        assert isinstance(message, self.msg_type)
        self.sent.append(message)


class Node:
    """Makes such publishers."""

    def __init__(self) -> None:
        self.made: dict[str, Publisher] = {}

    def create_publisher(self, kind: Any, topic: str, qos: Any, **options: Any) -> Publisher:
        self.made[topic] = Publisher(kind, topic)
        return self.made[topic]

    def get_clock(self) -> Any:
        return Clock()


@dataclass
class Rig:
    """A camera's outputs and their publishers by topic."""

    outputs: Outputs
    made: dict[str, Publisher]

    def listen(self, *names: str) -> None:
        for name in names:
            self.made[f"~/{name}"].listeners = 1

    def sent(self) -> dict[str, Any]:
        """Everything that was published, by topic; each at most once."""
        assert all(len(p.sent) <= 1 for p in self.made.values())
        return {name.removeprefix("~/"): p.sent[0] for name, p in self.made.items() if p.sent}


@pytest.fixture
def rig() -> Rig:
    node: Any = Node()
    return Rig(Outputs(node, ""), node.made)


def publish(rig: Rig, confidence: Any = None) -> dict[str, Any]:
    rig.outputs.publish_mask(MASK, HEADER)
    rig.outputs.publish_pictures(RGB, MASK, confidence, HEADER, LABELS, SETTINGS)
    rig.outputs.publish_times(12.5, math.nan, HEADER)
    return rig.sent()


PER_FRAME = (
    "mask", "mask/compressed", "color", "color/compressed", "overlay", "overlay/compressed",
    "confidence", "camera_info", "latency", "debug/processing_time_ms", "debug/end_to_end_ms",
)  # fmt: skip


@pytest.mark.parametrize("name", PER_FRAME)
def test_a_listener_of_any_per_frame_output_wants_inference(rig: Rig, name: str) -> None:
    assert not rig.outputs.is_wanted()
    rig.listen(name)
    assert rig.outputs.is_wanted() and rig.outputs.is_listened(name)


@pytest.mark.parametrize("name", ["classes", "legend"])
def test_a_listener_of_the_classes_alone_does_not(rig: Rig, name: str) -> None:
    rig.listen(name)
    assert not rig.outputs.is_wanted()


def test_nobody_listens_nothing_is_published(rig: Rig) -> None:
    assert publish(rig, confidence=MASK) == {}


@pytest.mark.parametrize("name", PER_FRAME[:6])
def test_what_is_listened_to_is_published_alone(rig: Rig, name: str) -> None:
    rig.listen(name)
    (message,) = publish(rig).values()
    assert message.header == HEADER


def test_compressed_masks_and_colours_lose_nothing(rig: Rig) -> None:
    rig.listen("mask", "mask/compressed", "color", "color/compressed")
    sent = publish(rig)
    mask: CompressedImage = sent["mask/compressed"]
    assert mask.format == "mono8; png compressed mono8"
    np.testing.assert_array_equal(cv2.imdecode(np.array(mask.data), cv2.IMREAD_UNCHANGED), MASK)
    color: CompressedImage = sent["color/compressed"]
    assert color.format == "rgb8; png compressed bgr8"
    raw: Image = sent["color"]
    pixels = np.frombuffer(raw.data, np.uint8).reshape(40, 60, 3)
    decoded = cv2.imdecode(np.array(color.data), cv2.IMREAD_UNCHANGED)[..., ::-1]
    np.testing.assert_array_equal(decoded, pixels)


def test_every_mask_is_under_the_published_ids(rig: Rig) -> None:
    rig.listen("mask", "mask/compressed")
    rig.outputs.publish_labels(LABELS, [10 * i for i in range(11)], 0.0, "display")
    rig.made["~/classes"].sent.clear()
    rig.made["~/legend"].sent.clear()
    sent = publish(rig)
    np.testing.assert_array_equal(np.frombuffer(sent["mask"].data, np.uint8), MASK.ravel() * 10)
    decoded = cv2.imdecode(np.array(sent["mask/compressed"].data), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, MASK * 10)


def test_a_publisher_that_cannot_be_made_leaves_none_behind() -> None:
    node: Any = Node()
    removed: list[Any] = []
    node.destroy_publisher = removed.append
    create = node.create_publisher

    def refuse(kind: Any, topic: str, qos: Any, **options: Any) -> Publisher:
        if topic == "~/legend":
            raise ValueError("not with this quality of service")
        made: Publisher = create(kind, topic, qos, **options)
        return made

    node.create_publisher = refuse
    with pytest.raises(ValueError, match="not with this"):
        Outputs(node, "")
    assert removed == list(node.made.values()) and len(removed) > 5


def test_times_for_plot_tools(rig: Rig) -> None:
    rig.listen("debug/processing_time_ms", "debug/end_to_end_ms")
    sent = publish(rig)
    assert sent["debug/processing_time_ms"].data == 12.5
    assert "debug/end_to_end_ms" not in sent, "what is unknown is not published"


@dataclass
class Stamped:
    """With the fields of autoware_internal_debug_msgs/Float64Stamped, which is on no index."""

    stamp: Any
    data: float


def test_times_are_autoware_s_message_where_it_is_installed() -> None:
    assert module._number(3.5, HEADER.stamp, Stamped) == Stamped(HEADER.stamp, 3.5)
    assert module._number(3.5, HEADER.stamp, None) == Float64(data=3.5)


def info() -> CameraInfo:
    message = CameraInfo(height=240, width=320, distortion_model="plumb_bob")
    message.k = [200.0, 0.0, 159.5, 0.0, 210.0, 119.5, 0.0, 0.0, 1.0]
    message.p = [200.0, 0.0, 159.5, -20.0, 0.0, 210.0, 119.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    message.d = [0.1, 0.2, 0.0, 0.0, 0.0]
    return message


def test_camera_info_is_the_camera_s_own_with_the_image_s_header(rig: Rig) -> None:
    given = info()
    given.header.frame_id, given.binning_x = "elsewhere", 2
    rig.outputs.publish_info(given, None, HEADER)
    expected = info()
    expected.header, expected.binning_x = HEADER, 2
    assert rig.sent() == {"camera_info": expected}


def test_camera_info_scaled_to_the_masks(rig: Rig) -> None:
    rig.outputs.publish_info(info(), (96, 128), HEADER)
    scaled = rig.sent()["camera_info"]
    assert (scaled.height, scaled.width, scaled.header) == (96, 128, HEADER)
    np.testing.assert_allclose(scaled.k, [80, 0, 63.5, 0, 84, 47.5, 0, 0, 1])
    np.testing.assert_allclose(scaled.p, [80, 0, 63.5, -8, 0, 84, 47.5, 0, 0, 0, 1, 0])
    assert list(scaled.d) == list(info().d) and scaled.distortion_model == "plumb_bob"


def project(message: CameraInfo, point: tuple[float, float, float]) -> Any:
    """Pixel of a point through P, by REP 104's equation."""
    u, v, w = np.array(message.p).reshape(3, 4) @ (*point, 1.0)
    return np.array([u / w, v / w])


@pytest.mark.parametrize("size", [(96, 128), (480, 640), (60, 320)])
def test_a_point_is_seen_at_the_same_place(size: tuple[int, int]) -> None:
    """Half-pixel centres: x + 0.5 scales with the width."""
    given = info()
    given.roi = RegionOfInterest(x_offset=40, y_offset=20, width=160, height=120)
    scaled = scale_camera_info(given, size, HEADER)
    before = project(given, (0.3, -0.2, 2.0)) - (40, 20)
    expected = (before + 0.5) * (size[1] / 160, size[0] / 120) - 0.5
    np.testing.assert_allclose(project(scaled, (0.3, -0.2, 2.0)), expected)
    assert scaled.roi == RegionOfInterest() and scaled.binning_x == 0


def test_an_uncalibrated_camera_stays_uncalibrated() -> None:
    scaled = scale_camera_info(CameraInfo(height=240, width=320), (96, 128), HEADER)
    assert not any(scaled.k) and not any(scaled.p) and scaled.width == 128


def test_an_overlay_without_weight_is_the_camera_image(rig: Rig) -> None:
    rig.listen("overlay")
    rig.outputs.publish_pictures(
        RGB, MASK, None, HEADER, LABELS, replace(SETTINGS, overlay_alpha=0.0)
    )
    np.testing.assert_array_equal(np.frombuffer(rig.sent()["overlay"].data, np.uint8), RGB.ravel())


def test_an_overlay_of_the_network_s_size(rig: Rig) -> None:
    rig.listen("overlay")
    settings = replace(SETTINGS, overlay_alpha=0.0)
    rgb = cv2.resize(RGB, (120, 80), interpolation=cv2.INTER_NEAREST)
    rig.outputs.publish_pictures(rgb, MASK, None, HEADER, LABELS, settings)
    assert (rig.sent()["overlay"].height, rig.sent()["overlay"].width) == (40, 60)
