# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node among other nodes: remapped topics, wrong peers, clocks, namesakes, and its messages."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from harness import NODE, Client, NodeProcess, image_message, latched, new_domain, reliable, wait
from rclpy.parameter import parameter_value_to_python
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64

RGB = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.fixture
def client(domain: int) -> Iterator[Client]:
    client = Client(domain)
    yield client
    client.close()


def started(log: Path, domain: int, model: Path, *arguments: str) -> NodeProcess:
    """An active node on the torch backend."""
    own = ("-p", f"model:={model}", "-p", "backend:=torch", "-p", "autostart:=true")
    node = NodeProcess(log, domain, *own, *arguments)
    wait(lambda: ": active" in node.text(), 60, "the node is active")
    return node


@pytest.fixture(scope="module")
def node(
    domain: int, random_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    """One node for several tests. Its names are remapped.

    The rule for the remapped name itself must not be applied on top.
    """
    rules = ("image:=/cam/image_raw", "/cam/image_raw:=/elsewhere", "camera_info:=/camera_info")
    arguments = (word for rule in rules for word in ("-r", rule))
    log = tmp_path_factory.mktemp("names") / "node.log"
    node = started(log, domain, random_model, *arguments)
    yield node
    node.stop()


@pytest.fixture
def camera(client: Client, node: NodeProcess) -> Any:
    """A publisher of the node's images, which goes with the client."""
    camera = client.node.create_publisher(Image, "/cam/image_raw", reliable(1))
    wait(lambda: camera.get_subscription_count() > 0, 10, "the node subscribes")
    return camera


@contextlib.contextmanager
def parameter(client: Client, name: str, value: Any) -> Iterator[None]:
    """Set a live parameter of the node for a while."""
    before = parameter_value_to_python(client.get_parameter(name))
    assert client.set_parameter(name, value).successful
    yield
    assert client.set_parameter(name, before).successful


class Said:
    """What /diagnostics says of cameras and nodes, in the order in which it came."""

    def __init__(self, client: Client) -> None:
        self.messages = client.diagnostics()

    def statuses(self, name: str = "camera") -> list[Any]:
        return [s for m in list(self.messages) for s in m.status if s.name.endswith(f": {name}")]

    def last(self, name: str = "camera") -> Any:
        found = self.statuses(name)
        return found[-1] if found else DiagnosticStatus()

    def values(self) -> dict[str, str]:
        return {v.key: v.value for v in self.last().values}


def jpeg_message(rgb: Any = RGB) -> CompressedImage:
    message = CompressedImage(format="jpeg")
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.time_ns(), 10**9)
    message.data.frombytes(cv2.imencode(".jpg", rgb)[1].tobytes())
    return message


def send(publisher: Any, make: Callable[[], Any], until: Callable[[], Any], what: str) -> None:
    def sent() -> Any:
        publisher.publish(make())
        time.sleep(0.1)
        return until()

    wait(sent, 20, what)


def rgb_message() -> Image:
    return image_message(RGB, "rgb8", time.time_ns())


def test_near_misses_and_wrong_types_come_before_stale(client: Client, node: NodeProcess) -> None:
    said = Said(client)
    wait(lambda: "nothing publishes /cam/image_raw" in said.last().message, 10, "none")
    assert said.last().level == DiagnosticStatus.STALE
    near = client.node.create_publisher(CompressedImage, "/cam/image_raw/compressed", reliable(1))
    hint = "only /cam/image_raw/compressed exists: image_transport:=compressed"
    wait(lambda: hint in said.last().message, 10, "the near miss is named")
    client.node.destroy_publisher(near)
    with contextlib.closing(Client(client.domain)) as other:  # a participant's topic has one type
        other.node.create_publisher(CompressedImage, "/cam/image_raw", reliable(1))
        wait(lambda: said.last().message.startswith("incompatible publishers: /cam/"), 10, "type")
        assert said.last().level == DiagnosticStatus.WARN
        assert "CompressedImage instead of sensor_msgs/msg/Image; no image" in said.last().message
    camera = client.node.create_publisher(Image, "/cam/image_raw", reliable(1))
    client.collect(Image, f"{NODE}/mask")
    send(camera, rgb_message, lambda: "Hz" in said.last().message, "it is answered")
    assert said.values()["topic"] == "/cam/image_raw"


def test_images_of_which_none_is_usable(client: Client, node: NodeProcess, camera: Any) -> None:
    """A depth camera of less than 1 Hz: the reason stays in sight between its images."""
    said, already = Said(client), node.text().count("dropped as invalid")
    client.collect(Image, f"{NODE}/mask")

    def depth(encoding: str = "32FC1") -> Image:
        return image_message(RGB, encoding, time.time_ns())

    with parameter(client, "stale_after_ms", 300.0):
        send(camera, depth, lambda: "32FC1" in said.last().message, "it is said")
        before = len(said.statuses())
        for _ in range(2):
            time.sleep(1.8)
            camera.publish(depth())
        messages = [s.message for s in said.statuses()[before:]]
        assert len(messages) >= 3 and all("32FC1" in m for m in messages), messages
        assert said.last().level == DiagnosticStatus.WARN
        camera.publish(depth("64FC9"))
        wait(lambda: node.text().count("dropped as invalid") == already + 2, 5, "another is news")
        published = int(said.values()["published"])
        send(camera, rgb_message, lambda: int(said.values()["published"]) > published, "usable")


def test_every_image_is_of_another_clock(client: Client, node: NodeProcess, camera: Any) -> None:
    said = Said(client)
    client.collect(Image, f"{NODE}/mask")
    old = lambda: image_message(RGB, "rgb8", time.time_ns() - 3600 * 10**9)  # noqa: E731
    with parameter(client, "max_age_ms", 500.0):
        send(camera, old, lambda: "have the same clock?" in said.last().message, "it is said")
        assert said.last().level == DiagnosticStatus.WARN and "max_age_ms is 500" in node.text()
        assert int(said.values()["dropped_stale"]) > 0


def test_simulated_time_without_a_clock(client: Client, node: NodeProcess) -> None:
    said = Said(client)
    with parameter(client, "use_sim_time", True):
        wait(lambda: "no time has come on /clock" in said.last().message, 10, "it is said")
        assert said.last().level == DiagnosticStatus.WARN
    wait(lambda: "/clock" not in said.last().message, 10, "it is over")


def test_a_namesake_is_warned_of(client: Client, node: NodeProcess) -> None:
    said = Said(client)
    twin = rclpy.create_node("segmentation", context=client.context)
    text = "1 other node has the name /segmentation"
    wait(lambda: text in said.last("node").message, 15, "it is said")
    assert said.last("node").level == DiagnosticStatus.WARN and text in node.text()
    twin.destroy_node()
    wait(lambda: text not in said.last("node").message, 15, "it is over")


def test_camera_info_latched_once_and_frozen_pictures(client: Client, camera: Any) -> None:
    """One CameraInfo, kept by its publisher, is used for every mask; the header is the image's."""
    said = Said(client)
    infos = client.collect(CameraInfo, f"{NODE}/camera_info")
    masks = client.collect(Image, f"{NODE}/mask")
    durations = client.collect(Float64, f"{NODE}/debug/processing_time_ms")
    lossless = client.collect(CompressedImage, f"{NODE}/mask/compressed")
    none = "no CameraInfo: /camera_info: none came"
    send(camera, rgb_message, lambda: none in said.last().message, "it is said that none comes")
    frozen = "frozen: the last"
    send(camera, rgb_message, lambda: frozen in said.last().message, "always the same picture")
    assert said.last().level == DiagnosticStatus.WARN
    assert masks and durations and not infos

    broken = client.node.create_publisher(CameraInfo, "/camera_info", reliable(1))
    wait(lambda: broken.get_subscription_count() > 0, 10, "the node subscribes")
    broken.publish(serialize_message(CameraInfo(distortion_model="plumb_bob"))[:30])
    unreadable = "/camera_info: the last one cannot be read: failed to deserialize ROS message"
    send(camera, rgb_message, lambda: unreadable in said.last().message, "it is said, too")
    client.node.destroy_publisher(broken)

    publisher = client.node.create_publisher(CameraInfo, "/camera_info", latched())
    given = CameraInfo(height=96, width=128, distortion_model="plumb_bob")
    given.k = [100.0, 0.0, 63.5, 0.0, 100.0, 47.5, 0.0, 0.0, 1.0]
    publisher.publish(given)
    time.sleep(1.5)  # the subscription follows; what is published once has long been published
    send(camera, rgb_message, lambda: len(infos) >= 2, "it is beside the masks")
    assert infos[-1].header.frame_id == "camera" and list(infos[-1].k) == list(given.k)
    stamps = {(m.header.stamp.sec, m.header.stamp.nanosec) for m in masks}
    assert {(m.header.stamp.sec, m.header.stamp.nanosec) for m in infos} <= stamps
    wait(lambda: "no CameraInfo" not in said.last().message, 10, "it has come")
    by_stamp = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in masks}
    last = lossless[-1]
    mask = by_stamp[last.header.stamp.sec, last.header.stamp.nanosec]
    decoded = cv2.imdecode(np.array(last.data), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded.ravel(), np.frombuffer(mask.data, np.uint8))


def test_a_compressed_topic_that_is_remapped_itself(random_model: Path, tmp_path: Path) -> None:
    """Two cameras on one topic: gaps between their sequence numbers are not counted."""
    client = Client(new_domain())
    arguments = ("-p", "image_transport:=compressed", "-r", "image/compressed:=/cam/jpeg")
    node = started(tmp_path / "node.log", client.domain, random_model, *arguments)
    said = Said(client)
    client.collect(Image, f"{NODE}/mask")
    cameras = [client.node.create_publisher(CompressedImage, "/cam/jpeg", reliable(1))]
    wait(lambda: cameras[0].get_subscription_count() > 0, 10, "the node subscribes")
    sent = 0
    for i in range(40):
        if i == 20:
            cameras.append(client.node.create_publisher(CompressedImage, "/cam/jpeg", reliable(1)))
            time.sleep(1)
        for camera in cameras:
            camera.publish(jpeg_message())
            sent += 1
            time.sleep(0.05)
    time.sleep(2.5)
    values = said.values()
    assert values["topic"] == "/cam/jpeg"
    assert 0.8 * sent <= int(values["received"]) <= sent
    node.stop()
    client.close()
