# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sizes that change, stamps that lie, publishers that do not fit: with the shipped model."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from harness import (
    NODE,
    Client,
    NodeProcess,
    best_effort,
    image_message,
    latched,
    new_domain,
    reliable,
    stamp_of,
    wait,
)
from sensor_msgs.msg import CompressedImage, Image

from lrn_ros.scene import StreetScene

pytest.importorskip("openvino")
SMALL, LARGE = (128, 160), (120, 240)  # neither has the aspect ratio that the model was trained at


@functools.cache
def street(size: tuple[int, int]) -> Any:
    """Rendering takes longer than a test may wait."""
    return StreetScene(seed=6, height=size[0], width=size[1]).frame(0)[0]


def frame(size: tuple[int, int], stamp_ns: int) -> Image:
    return image_message(street(size), "rgb8", stamp_ns)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(new_domain())
    yield client
    client.close()


@pytest.fixture
def start(client: Client, tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Start an active node with OpenVINO and a cache of the test's own."""
    started: list[NodeProcess] = []

    def call(*arguments: str) -> NodeProcess:
        node = NodeProcess(
            tmp_path / f"node{len(started)}.log", client.domain, "-p", "autostart:=true",
            "-p", "backend:=openvino", "-p", f"engine_cache_dir:={tmp_path / 'cache'}", *arguments,
        )  # fmt: skip
        started.append(node)
        client.wait_active()
        return node

    yield call
    for node in started:
        node.stop()


@pytest.fixture
def camera(client: Client) -> Any:
    return client.node.create_publisher(Image, "/image", reliable(1))


def subscribed(client: Client, camera: Any, node: NodeProcess) -> list[Image]:
    masks = client.collect(Image, f"{NODE}/mask")
    wait(lambda: camera.get_subscription_count() > 0, 10, "the node subscribes")
    wait(lambda: " as reliable" in node.text(), 10, "it follows the publisher")
    return masks


def send_until(camera: Any, masks: list[Image], size: tuple[int, int], timeout: float = 60) -> int:
    """Send frames of a size until one is answered; how many were sent."""
    sent = 0
    deadline = time.monotonic() + timeout
    while not any((m.height, m.width) == size for m in masks):
        assert time.monotonic() < deadline, "no answer"
        camera.publish(frame(size, time.time_ns()))
        sent += 1
        time.sleep(0.1)
    return sent


class Report:
    """What /diagnostics said last of the node and of its camera."""

    def __init__(self, client: Client) -> None:
        self.messages = client.diagnostics()

    def values(self, name: str = "camera") -> dict[str, str]:
        status = self.status(name)
        return {} if status is None else {v.key: v.value for v in status.values}

    def status(self, name: str = "camera") -> Any:
        for message in reversed(self.messages):
            for status in message.status:
                if status.name == f"segmentation: {name}":
                    return status
        return None


def test_new_sizes_compile_beside_and_are_remembered(
    client: Client, start: Callable[..., NodeProcess], camera: Any
) -> None:
    node = start()
    report, masks = Report(client), subscribed(client, camera, node)

    def compiles(size: tuple[int, int], count: int) -> Callable[[], bool]:
        def sent() -> bool:
            camera.publish(frame(size, time.time_ns()))
            time.sleep(0.1)
            return node.text().count("ready after") == count

        return sent

    for count, size in enumerate((SMALL, LARGE), 1):
        send_until(camera, masks, size)  # another size stands in, so that none is dropped
        wait(compiles(size, count), 60, "it is compiled beside")
    assert "[WARN]" not in "".join(s for s in node.text().splitlines() if "ready after" in s)
    camera.publish(frame(SMALL, time.time_ns()))
    wait(lambda: (masks[-1].height, masks[-1].width) == SMALL, 10, "the first size still runs")
    wait(lambda: int(report.values()["published"]) >= len(masks) - 1, 5, "counted")
    assert report.values()["dropped_compiling"] == "0"
    assert node.stop() < 3

    again = start()
    masks = subscribed(client, camera, again)
    for size in (LARGE, SMALL):
        camera.publish(frame(size, time.time_ns()))
        wait(lambda s=size: any((m.height, m.width) == s for m in masks), 10, f"{size} at once")
    assert "ready after" not in again.text()


def test_sizes_that_keep_changing_are_all_answered(
    client: Client, start: Callable[..., NodeProcess], camera: Any
) -> None:
    """A zoom: every image has another size, and none waits for a compilation."""
    node = start()
    report, masks = Report(client), subscribed(client, camera, node)
    sizes = [(120 + 4 * i, 160 + 8 * i) for i in range(8)]
    for size in sizes:
        send_until(camera, masks, size, 20)
    assert {(m.height, m.width) for m in masks} == set(sizes)
    wait(lambda: int(report.values().get("published", 0)) >= len(sizes), 5, "counted")
    assert report.values()["dropped_compiling"] == "0"


def test_stamps(client: Client, start: Callable[..., NodeProcess], camera: Any) -> None:
    node = start()
    report, masks = Report(client), subscribed(client, camera, node)
    send_until(camera, masks, SMALL)
    latencies = client.collect(DiagnosticArray, f"{NODE}/latency")
    wait(lambda: client.node.count_publishers(f"{NODE}/latency") > 0, 5, "latency")
    time.sleep(0.5)

    def answered(stamp_ns: int, timeout: float = 3) -> dict[str, str] | None:
        """Latency figures of a frame with this stamp; None if it was dropped."""
        camera.publish(frame(SMALL, stamp_ns))
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for message in list(latencies):
                if stamp_of(message) == stamp_ns:
                    return {v.key: v.value for v in message.status[0].values}
            time.sleep(0.02)
        return None

    street(SMALL)
    now = time.time_ns()
    figures = answered(now)
    assert figures is not None and 0 < float(figures["end_to_end_ms"]) < 3000
    figures = answered(now - 300_000_000)
    assert figures is not None, "two images that have changed places"
    assert float(figures["behind_ms"]) == pytest.approx(300, abs=0.001)
    wait(lambda: report.values().get("out_of_order") == "1", 5, "counted")
    assert report.values()["dropped_stale"] == "0"
    assert client.set_parameter("temporal_smoothing", True).successful
    assert answered(now - 200_000_000, 1.0) is None, "smoothing needs the order"
    wait(lambda: report.values().get("dropped_stale") == "1", 5, "counted")
    assert client.set_parameter("temporal_smoothing", False).successful
    assert node.text().count("stamps went back by") == 2, "each said once"
    for unknown in (0, time.time_ns() + 3600 * 10**9, time.time_ns() - 3600 * 10**9):
        figures = answered(unknown)
        assert figures is not None, "a clock that was set, or a bag that starts again"
        assert figures["end_to_end_ms"] == figures["transport_ms"] == "nan"
        assert float(figures["processing_ms"]) > 0
    assert "stamps went back by" in node.text()
    stamps = [stamp_of(m) for m in masks]
    assert len(set(stamps)) == len(stamps)


def test_peers_that_do_not_fit_are_reported(
    client: Client, start: Callable[..., NodeProcess], camera: Any
) -> None:
    """A publisher that offers less than a pinned subscription asks for; a listener likewise."""
    node = start("-p", "qos_overrides./image.subscription.reliability:=reliable")
    report = Report(client)
    unheard = client.node.create_publisher(Image, "/image", best_effort(1))
    deaf = client.collect(Image, f"{NODE}/mask", latched())
    masks = client.collect(Image, f"{NODE}/mask")
    offered = "/image: Best effort publisher and reliable subscription"
    wanted = f"{NODE}/mask: Volatile publisher and transient local subscription"
    both = {"incompatible publishers": offered, "incompatible subscribers": wanted}.items()
    wait(lambda: both <= report.values().items(), 10, "reported")
    assert report.status().level in (DiagnosticStatus.WARN, DiagnosticStatus.STALE)
    assert offered in node.text() and wanted in node.text()
    assert "subscribed as best_effort" not in node.text().split("active")[-1], "the pin holds"
    wait(lambda: camera.get_subscription_count() > 0, 10, "the fitting one is heard")
    time.sleep(1)
    send_until(camera, masks, SMALL)
    assert not deaf
    client.node.destroy_publisher(unheard)
    wait(lambda: "incompatible publishers" not in report.values(), 10, "it is forgotten")
    with contextlib.closing(Client(client.domain)) as other:  # a participant's topic has one type
        other.node.create_publisher(CompressedImage, "/image", reliable(1))
        expected = "/image: type sensor_msgs/msg/CompressedImage instead of sensor_msgs/msg/Image"
        wait(lambda: report.values().get("incompatible publishers") == expected, 10, "the type")
    wait(lambda: "incompatible publishers" not in report.values(), 10, "it is forgotten")
    assert both - report.values().items() == {("incompatible publishers", offered)}
    client.node.destroy_subscription(
        next(
            s for s in client.node.subscriptions if s.qos_profile.durability == latched().durability
        )
    )
    wait(lambda: "incompatible subscribers" not in report.values(), 10, "it is forgotten")


def test_every_frame_is_accounted_for(
    client: Client, start: Callable[..., NodeProcess], camera: Any
) -> None:
    """A camera faster than the node's reader: what is overwritten before it is taken counts too."""
    node = start()
    report, masks = Report(client), subscribed(client, camera, node)
    send_until(camera, masks, LARGE)
    time.sleep(1.5)
    before = {k: int(v) for k, v in report.values().items() if v.isdigit()}
    message = frame(LARGE, 1)
    for i in range(400):
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.time_ns(), 10**9)
        camera.publish(message)
        if i % 40 == 39:
            time.sleep(0.2)
    camera.publish(frame(LARGE, time.time_ns()))
    time.sleep(3)
    after = {k: int(v) for k, v in report.values().items() if v.isdigit()}
    change = {k: after[k] - before[k] for k in before}
    assert change["received"] + change["dropped_transport"] == 401
    dropped = sum(v for k, v in change.items() if k.startswith("dropped_"))
    assert change["published"] + change["idle"] + dropped == 401
    assert change["dropped_superseded"] > 0 and change["published"] > 0


COMPILES_LONG = """
import sys
from lrn_ros.inference.backends.openvino import OpenVinoBackend
from lrn_ros.ros.node import main

compile = OpenVinoBackend._compile

def compile_long(self, shape):  # the trained size, which is the first, as ever
    engine = compile(self, shape)
    while self._engines:
        print("compiles on", flush=True)
        self._key = (*self._key, "anew")  # not from the cache
        compile(self, shape)
    return engine

OpenVinoBackend._compile = compile_long
sys.exit(main())
"""


@pytest.mark.parametrize("attempt", range(2))
def test_ends_while_something_compiles(client: Client, tmp_path: Path, attempt: int) -> None:
    """The library at work must not crash; that would be by chance, hence two attempts."""
    arguments = ("-p", "autostart:=true", "-p", "backend:=openvino")
    cache = ("-p", f"engine_cache_dir:={tmp_path / 'cache'}")
    prefix = [sys.executable, "-c", COMPILES_LONG]
    node = NodeProcess(tmp_path / "node.log", client.domain, *arguments, *cache, prefix=prefix)
    try:
        client.wait_active()
        camera = client.node.create_publisher(Image, "/image", reliable(1))
        client.collect(Image, f"{NODE}/mask")
        wait(lambda: camera.get_subscription_count() > 0, 10, "the node subscribes")

        def compiles() -> bool:
            camera.publish(frame(SMALL, time.time_ns()))
            return "compiles on" in node.text()

        wait(compiles, 20, "it compiles")
    finally:
        seconds = node.stop()
    assert node.process.returncode == 0, node.text()
    assert seconds < 3
    wait(lambda: camera.get_subscription_count() == 0, 5, "it has taken its leave")


CANNOT_COMPILE = """
import sys
from lrn_ros.inference.backends.base import BackendError
from lrn_ros.inference.backends.openvino import OpenVinoBackend
from lrn_ros.ros.node import main

def refuse(self, shape):
    raise BackendError("not enough memory")

OpenVinoBackend._compile = refuse
sys.exit(main())
"""


@pytest.mark.parametrize("backend", ["auto", "openvino"])
def test_a_backend_that_cannot_compile(client: Client, tmp_path: Path, backend: str) -> None:
    arguments = ("-p", "autostart:=true", "-p", f"backend:={backend}")
    cache = ("-p", f"engine_cache_dir:={tmp_path / 'cache'}")
    prefix = [sys.executable, "-c", CANNOT_COMPILE]
    log = tmp_path / "node.log"
    node = NodeProcess(log, client.domain, *arguments, *cache, prefix=prefix)
    try:
        if backend == "auto":
            client.wait_active()
            assert "backend openvino passed over: not enough memory" in node.text()
            assert "backend onnxruntime fp32 on" in node.text()
        else:
            wait(lambda: "configure failed: not enough memory" in node.text(), 30, "it is said")
            assert client.state() == "unconfigured"
    finally:
        node.stop()
