# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node among others: remapped topics, wrong peers, clocks, namesakes; and what it says."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from harness import NODE, Client, NodeProcess, image_message, latched, new_domain, reliable, wait
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64

RGB = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(new_domain())
    yield client
    client.close()


@pytest.fixture
def start(
    client: Client, tmp_path: Path, random_model: Path
) -> Iterator[Callable[..., NodeProcess]]:
    """Start an active node on the torch backend."""
    started: list[NodeProcess] = []

    def call(*arguments: str) -> NodeProcess:
        node = NodeProcess(
            tmp_path / f"node{len(started)}.log", client.domain, "-p", f"model:={random_model}",
            "-p", "backend:=torch", "-p", "autostart:=true", *arguments,
        )  # fmt: skip
        started.append(node)
        wait(lambda: ": active" in node.text(), 60, "the node is active")
        return node

    yield call
    for node in started:
        node.stop()


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


def test_near_misses_and_wrong_types_come_before_stale(
    client: Client, start: Callable[..., NodeProcess]
) -> None:
    # A rule for the remapped name itself must not be applied on top.
    start("-r", "image:=/cam/image_raw", "-r", "/cam/image_raw:=/elsewhere")
    said = Said(client)
    wait(
        lambda: said.last().message.startswith("no image yet: nothing publishes /cam/"), 10, "none"
    )
    assert said.last().level == DiagnosticStatus.STALE
    near = client.node.create_publisher(CompressedImage, "/cam/image_raw/compressed", reliable(1))
    hint = "only /cam/image_raw/compressed exists: image_transport:=compressed"
    wait(lambda: said.last().message.endswith(hint), 10, "the near miss is named")
    client.node.destroy_publisher(near)
    with contextlib.closing(Client(client.domain)) as other:  # a participant's topic has one type
        other.node.create_publisher(CompressedImage, "/cam/image_raw", reliable(1))
        wait(lambda: said.last().message.startswith("incompatible publishers: /cam/"), 10, "type")
        assert said.last().level == DiagnosticStatus.WARN
        assert (
            "CompressedImage instead of sensor_msgs/msg/Image; no image yet" in said.last().message
        )
    camera = client.node.create_publisher(Image, "/cam/image_raw", reliable(1))
    client.collect(Image, f"{NODE}/mask")
    send(camera, rgb_message, lambda: "Hz" in said.last().message, "it is answered")
    assert said.values()["topic"] == "/cam/image_raw"


def test_images_of_which_none_is_usable(client: Client, start: Callable[..., NodeProcess]) -> None:
    """A depth camera of less than 1 Hz: the reason stays in sight between its images."""
    node, said = start("-p", "stale_after_ms:=300"), Said(client)
    camera = client.node.create_publisher(Image, "/image", reliable(1))
    client.collect(Image, f"{NODE}/mask")
    wait(lambda: camera.get_subscription_count() > 0, 10, "the node subscribes")

    def depth(encoding: str = "32FC1") -> Image:
        return image_message(RGB, encoding, time.time_ns())

    send(camera, depth, lambda: "32FC1" in said.last().message, "it is said")
    before = len(said.statuses())
    for _ in range(2):
        time.sleep(1.8)
        camera.publish(depth())
    messages = [s.message for s in said.statuses()[before:]]
    assert len(messages) >= 3 and all("32FC1" in m for m in messages), messages
    assert said.last().level == DiagnosticStatus.WARN
    camera.publish(depth("64FC9"))
    wait(lambda: node.text().count("dropped as invalid") == 2, 5, "another kind is news")
    send(camera, rgb_message, lambda: said.values().get("published", "0") != "0", "usable ones")


def test_every_image_is_of_another_clock(client: Client, start: Callable[..., NodeProcess]) -> None:
    node, said = start("-p", "max_age_ms:=500"), Said(client)
    camera = client.node.create_publisher(Image, "/image", reliable(1))
    client.collect(Image, f"{NODE}/mask")
    old = lambda: image_message(RGB, "rgb8", time.time_ns() - 3600 * 10**9)  # noqa: E731
    send(camera, old, lambda: "have the same clock?" in said.last().message, "it is said")
    assert said.last().level == DiagnosticStatus.WARN and "max_age_ms is 500" in node.text()
    assert int(said.values()["dropped_stale"]) > 0


def test_simulated_time_without_a_clock(client: Client, start: Callable[..., NodeProcess]) -> None:
    start("-p", "use_sim_time:=true")
    said = Said(client)
    wait(lambda: "/clock" in said.last().message, 10, "it is said")
    assert said.last().level == DiagnosticStatus.WARN


def test_nodes_are_told_apart_and_namesakes_are_warned_of(
    client: Client, start: Callable[..., NodeProcess]
) -> None:
    start("-r", "__ns:=/front")
    start("-r", "__ns:=/rear", "-p", "cameras:=[left]")
    said = Said(client)

    def identities() -> set[str]:
        return {s.hardware_id for m in list(said.messages) for s in m.status}

    both = {"/front/segmentation", "/front/segmentation camera", "/rear/segmentation"}
    wait(lambda: identities() == both | {"/rear/segmentation left"}, 10, "all are told apart")
    twin = start("-r", "__ns:=/front")
    wait(lambda: "1 other node has the name /front/segmentation" in twin.text(), 15, "warned")
    wait(lambda: any("1 other node has" in s.message for s in said.statuses("node")), 10, "said")


def test_camera_info_latched_once_and_frozen_pictures(
    client: Client, start: Callable[..., NodeProcess]
) -> None:
    """One CameraInfo, kept by its publisher, is used for every mask; the header is the image's."""
    start("-r", "image:=/cam/image_raw", "-r", "camera_info:=/camera_info")
    said = Said(client)
    infos = client.collect(CameraInfo, f"{NODE}/camera_info")
    masks = client.collect(Image, f"{NODE}/mask")
    durations = client.collect(Float64, f"{NODE}/debug/processing_time_ms")
    lossless = client.collect(CompressedImage, f"{NODE}/mask/compressed")
    camera = client.node.create_publisher(Image, "/cam/image_raw", reliable(1))
    none = "no CameraInfo: /camera_info: none has come"
    send(camera, rgb_message, lambda: none in said.last().message, "it is said that none comes")
    frozen = "frozen: the last"
    send(camera, rgb_message, lambda: frozen in said.last().message, "always the same picture")
    assert said.last().level == DiagnosticStatus.WARN
    assert masks and durations and not infos

    publisher = client.node.create_publisher(CameraInfo, "/camera_info", latched())
    given = CameraInfo(height=96, width=128, distortion_model="plumb_bob")
    given.k = [100.0, 0.0, 63.5, 0.0, 100.0, 47.5, 0.0, 0.0, 1.0]
    publisher.publish(given)
    time.sleep(1.5)  # the subscription follows; what is published once has long been published
    send(camera, rgb_message, lambda: len(infos) >= 2, "it is beside the masks")
    assert infos[-1].header.frame_id == "camera" and list(infos[-1].k) == list(given.k)
    stamps = {(m.header.stamp.sec, m.header.stamp.nanosec) for m in masks}
    assert {(m.header.stamp.sec, m.header.stamp.nanosec) for m in infos} <= stamps
    wait(lambda: none not in said.last().message, 10, "it has come")
    by_stamp = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in masks}
    last = lossless[-1]
    mask = by_stamp[last.header.stamp.sec, last.header.stamp.nanosec]
    decoded = cv2.imdecode(np.array(last.data), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded.ravel(), np.frombuffer(mask.data, np.uint8))


def test_a_compressed_topic_that_is_remapped_itself(
    client: Client, start: Callable[..., NodeProcess]
) -> None:
    """Two cameras on it: their sequence numbers are not one another's gaps."""
    start("-p", "image_transport:=compressed", "-r", "image/compressed:=/cam/jpeg")
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
