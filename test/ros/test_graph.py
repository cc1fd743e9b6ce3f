# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Names: remapping rules, and the message about a topic that nothing publishes."""

from __future__ import annotations

import pytest
import rclpy
from harness import new_domain

from lrn_ros.ros.camera import _image_name, _info_name
from lrn_ros.ros.graph import is_remapped, near_misses

RAW, JPEG = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


@pytest.mark.parametrize(
    ("topic", "transport", "published", "said"),
    [
        ("/image", "raw", {}, "nothing publishes /image"),
        (
            "/cam/image_raw", "raw", {"/cam/image_raw/compressed": JPEG},
            "nothing publishes /cam/image_raw; only /cam/image_raw/compressed exists:"
            " image_transport:=compressed",
        ),
        (
            "/cam/image_raw/compressed", "compressed", {"/cam/image_raw": RAW},
            "nothing publishes /cam/image_raw/compressed; /cam/image_raw exists:"
            " image_transport:=raw",
        ),
        (
            "/cam/image_raw/compressed/compressed", "compressed",
            {"/cam/image_raw/compressed": JPEG},
            "nothing publishes /cam/image_raw/compressed/compressed; /cam/image_raw/compressed"
            " exists: image:=/cam/image_raw",
        ),
        (
            "/camera/image_raw", "raw",
            {"/robot/camera/image_raw": RAW, "/map/picture": RAW, "/camera/image": JPEG},
            "nothing publishes /camera/image_raw; /robot/camera/image_raw exists",
        ),
        (
            "/image", "raw", {"/zed/left/color": RAW, "/zed/left/depth": RAW, "/x": JPEG},
            "nothing publishes /image; images are on /zed/left/color, /zed/left/depth",
        ),
        (
            "/image", "raw", {"/zed/left/color/compressed": JPEG, "/x": JPEG},
            "nothing publishes /image; images are on /zed/left/color/compressed"
            " (image:=/zed/left/color image_transport:=compressed)",
        ),
    ],
)  # fmt: skip
def test_near_misses(topic: str, transport: str, published: dict[str, str], said: str) -> None:
    assert near_misses(topic, transport, published) == said


@pytest.mark.parametrize(
    ("rules", "transport", "image", "info"),
    [
        ([], "raw", "/car/image", "/car/camera_info"),
        (["image:=/cam/image_raw"], "raw", "/cam/image_raw", "/cam/camera_info"),
        (["image:=/cam/image_raw"], "compressed", "/cam/image_raw/compressed", "/cam/camera_info"),
        (["image:=/cam/a", "/cam/a:=/cam/b"], "raw", "/cam/a", "/cam/camera_info"),
        (["image:=/cam/a", "camera_info:=/i/info"], "raw", "/cam/a", "/i/info"),
        # A rule that maps a name to itself is a rule.
        (["image:=/cam/a", "camera_info:=/car/camera_info"], "raw", "/cam/a", "/car/camera_info"),
        (["image:=/cam/a", "/car/camera_info:=/car/camera_info"], "raw", "/cam/a",
         "/car/camera_info"),
        (["image:=/cam/a", "segmentation:camera_info:=camera_info"], "raw", "/cam/a",
         "/car/camera_info"),
        (["image:=/cam/a", "other:camera_info:=camera_info"], "raw", "/cam/a", "/cam/camera_info"),
        (["image/compressed:=/cam/jpeg"], "compressed", "/cam/jpeg", "/cam/camera_info"),
        (["image:=/a/image", "image/compressed:=/cam/jpeg"], "compressed", "/cam/jpeg",
         "/cam/camera_info"),
        (["__ns:=/other", "image:=img"], "raw", "/other/img", "/other/camera_info"),
    ],
)  # fmt: skip
def test_names_after_remapping(
    rules: list[str], transport: str, image: str, info: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["segment_node", "--ros-args", *(a for rule in rules for a in ("-r", rule))]
    monkeypatch.setattr("sys.argv", arguments)
    context = rclpy.Context()
    rclpy.init(args=arguments, context=context, domain_id=new_domain())
    try:
        node = rclpy.create_node("segmentation", namespace="/car", context=context)
        name = _image_name(node, "", transport)
        kind = {"raw": "Image", "compressed": "CompressedImage"}[transport]
        message = getattr(__import__("sensor_msgs.msg", fromlist=[kind]), kind)
        subscription = node.create_subscription(message, name, lambda m: None, 1)
        assert subscription.topic_name == image
        assert node.resolve_topic_name(_info_name(node, "", transport, image)) == info
        node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


def test_arguments_of_others_are_no_rules() -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=new_domain())
    try:
        node = rclpy.create_node("segmentation", context=context)
        own = ["x", "-r", "camera_info:=/camera_info"]
        assert not is_remapped(node, "camera_info", own), "not behind --ros-args"
        assert is_remapped(node, "camera_info", ["x", "--ros-args", *own[1:]])
        assert not is_remapped(node, "camera_info", ["x", "--ros-args", "--", *own[1:]])
        for rule in ("**/camera_info:=/a", "camera info:=/a", ":=", "a:b:c:=d", "-p", "~/x:=/a"):
            assert not is_remapped(node, "camera_info", ["x", "--ros-args", "-r", rule])
        node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)
