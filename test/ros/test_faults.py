# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Faults around the node: the rows of the table in docs/faults.md."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from harness import NODE, Client, NodeProcess, image_message, new_domain, reliable, stamp_of, wait
from sensor_msgs.msg import Image

from lrn_ros.inference.backends.base import SUFFIXES
from lrn_ros.model.artifact import weights_folder

pytest.importorskip("openvino")
RGB = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
_PEER = """
import rclpy, sys, time
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("peer")
if sys.argv[1] == "publish":
    publisher = node.create_publisher(Image, "/image", 1)
    message = Image(height=64, width=96, step=288, encoding="rgb8")
    message.data.frombytes(bytes(64 * 288))
    while True:
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        time.sleep(0.1)
node.create_subscription(Image, "/segmentation/mask", lambda m: print("mask", flush=True), 1)
rclpy.spin(node)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The shipped model under a name of the test's own."""
    for suffix in SUFFIXES:
        shutil.copy(weights_folder() / f"ndnet45_camvid{suffix}", tmp_path / f"own{suffix}")
    return tmp_path / "own.onnx"


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(new_domain())
    yield client
    client.close()


class Rig:
    """An active node on a small network, a camera and what it answers."""

    def __init__(self, client: Client, folder: Path, model: Path, *prefix: str) -> None:
        self.client, self.cache = client, folder / "cache"
        self.node = NodeProcess(
            folder / "node.log", client.domain, "-p", f"model:={model}", "-p", "autostart:=true",
            "-p", "backend:=openvino", "-p", "network_size:=[64, 96]",
            "-p", f"engine_cache_dir:={self.cache}", prefix=prefix,
        )  # fmt: skip
        self.masks = client.collect(Image, f"{NODE}/mask")
        self.camera = client.node.create_publisher(Image, "/image", reliable(1))
        self.diagnostics = client.diagnostics()

    def answers(self, height: int = 64, timeout: float = 30) -> None:
        """Send frames until one is answered."""
        deadline, sent = time.monotonic() + timeout, set()
        while not any(stamp_of(m) in sent for m in list(self.masks)):
            assert time.monotonic() < deadline, self.node.text()
            sent.add(stamp := time.time_ns())
            self.camera.publish(image_message(RGB[:height], "rgb8", stamp))
            time.sleep(0.1)

    def camera_message(self) -> str:
        """What /diagnostics said last of the camera."""
        return next(
            (
                s.message
                for a in reversed(self.diagnostics)
                for s in a.status
                if s.name.endswith(": camera")
            ),
            "",
        )


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One for the tests after which the node runs as before."""
    client = Client(new_domain())
    rig = Rig(client, tmp_path_factory.mktemp("rig"), weights_folder() / "ndnet45_camvid.onnx")
    client.wait_active()
    yield rig
    rig.node.stop()
    client.close()


@pytest.fixture
def peer(rig: Rig) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """A publisher or subscriber in a process of its own, that can be killed."""
    started: list[subprocess.Popen[str]] = []

    def start(kind: str) -> subprocess.Popen[str]:
        env = dict(os.environ, ROS_DOMAIN_ID=str(rig.client.domain))
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", _PEER, kind], env=env, stdout=subprocess.PIPE, text=True
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_camera_goes_stale_and_comes_back(
    rig: Rig, peer: Callable[[str], subprocess.Popen[str]]
) -> None:
    for _ in range(2):
        before = len(rig.masks)
        camera = peer("publish")
        wait(lambda n=before: len(rig.masks) > n + 3, 20, "it is answered")
        camera.kill()
        wait(lambda: rig.camera_message().startswith("no image for"), 10, "STALE")
    rig.answers()


def test_a_killed_subscriber_takes_nobody_with_it(
    rig: Rig, peer: Callable[[str], subprocess.Popen[str]]
) -> None:
    rig.answers()
    subscriber = peer("listen")
    wait(lambda: rig.client.node.count_subscribers(f"{NODE}/mask") == 2, 10, "it listens")
    assert subscriber.stdout is not None

    def hears() -> bool:
        rig.answers()
        return bool(select.select([subscriber.stdout], [], [], 0.1)[0])

    wait(hears, 20, "it gets masks")
    subscriber.kill()
    for _ in range(5):
        rig.answers(timeout=5)


def test_participants_that_come_and_go(rig: Rig) -> None:
    rig.answers()
    for _ in range(8):
        guest = Client(rig.client.domain)
        guest.collect(Image, f"{NODE}/mask")
        rig.answers(timeout=5)
        guest.close()
    rig.answers(timeout=5)


def test_a_storm_of_parameters(rig: Rig) -> None:
    rig.answers()
    beats = len(rig.diagnostics)
    start = time.monotonic()
    for i in range(150):
        result = rig.client.set_parameter("overlay_alpha", (i % 11) / 10)
        assert result.successful
        refused = rig.client.set_parameter("overlay_alpha", 2.0 + i)
        assert not refused.successful
        if i % 30 == 0:
            rig.answers(timeout=5)
    seconds = time.monotonic() - start
    assert rig.client.get_parameter("overlay_alpha").double_value == pytest.approx(149 % 11 / 10)
    wait(lambda: len(rig.diagnostics) - beats >= int(seconds) - 1, 3, "no heartbeat is missing")
    rig.answers(timeout=5)


def test_a_corrupt_model_is_refused_and_a_whole_one_taken(
    client: Client, tmp_path: Path, model: Path
) -> None:
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    rig = Rig(client, tmp_path, model)
    try:
        wait(lambda: "configure failed" in rig.node.text(), 30, "it says so")
        assert "own.onnx: truncated, or not an ONNX file" in rig.node.text()
        assert client.state() == "unconfigured" and "Traceback" not in rig.node.text()
        model.write_bytes(whole)
        assert client.transition("configure") and client.transition("activate")
        rig.answers()
        model.write_bytes(b"")  # a running node has it in memory
        rig.answers(timeout=5)
    finally:
        rig.node.stop()


def test_a_cache_folder_that_vanishes(rig: Rig) -> None:
    rig.answers()
    shutil.rmtree(rig.cache)
    assert rig.client.transition("deactivate") and rig.client.transition("cleanup")
    assert rig.client.set_parameter("network_size", [72, 96]).successful
    assert rig.client.transition("configure") and rig.client.transition("activate")
    rig.answers()
    assert len(list(rig.cache.glob("*.engine"))) >= 1, "it is made anew"


def test_a_full_disk(client: Client, tmp_path: Path, model: Path) -> None:
    """No file above 64 KB can be written: compiled models are larger."""
    log = tmp_path / "node.log"
    rig = Rig(client, tmp_path, model, "bash", "-c", 'ulimit -f 64; exec "$@"', "limited")
    try:
        client.wait_active()
        rig.answers()
        assert log.read_text().count("compiled engines are not kept") == 1
        assert all(f.stat().st_size < 100_000 for f in rig.cache.iterdir())
    finally:
        rig.node.stop()


def test_the_table_is_complete() -> None:
    table = Path(__file__).parents[2].joinpath("docs", "faults.md").read_text()
    tests = [n for n in globals() if n.startswith("test_") and n != "test_the_table_is_complete"]
    assert all(f"`{name}`" in table for name in tests)
