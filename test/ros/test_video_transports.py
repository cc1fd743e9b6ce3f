# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Video topics into the node over DDS: every picture from its keyframe on, the rest counted.

The message packages are in no wheel. Where one is missing, a stand-in gives the node its class
under another type's name: the bytes on the wire are those of the real message.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from harness import Client, NodeProcess, new_domain, reliable, wait
from sensor_msgs.msg import CompressedImage, Image
from video_topics import compressed_video, difference, ffmpeg_packet, packets

from lrn_ros.images.encodings import message_to_rgb

rosbag2 = pytest.importorskip("rosbags.rosbag2")
typesys = pytest.importorskip("rosbags.typesys")

TRANSPORTS = {
    "foxglove": ("foxglove_msgs", "CompressedVideo", compressed_video),
    "ffmpeg": ("ffmpeg_image_transport_msgs", "FFMPEGPacket", ffmpeg_packet),
}


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Makes a package with a message class where there is none."""

    def make(package: str, name: str):
        if importlib.util.find_spec(package) is None:
            folder = tmp_path / "packages" / package / "msg"
            folder.mkdir(parents=True)
            (folder.parent / "__init__.py").write_text("")
            (folder / "__init__.py").write_text(
                f"from sensor_msgs.msg import CompressedImage as {name}\n"
            )
            paths = str(tmp_path / "packages"), os.environ.get("PYTHONPATH", "")
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
            return CompressedImage
        return getattr(importlib.import_module(f"{package}.msg"), name)

    return make


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_video(transport, stand_in, random_model: Path, tmp_path: Path) -> None:
    package, name, serialize = TRANSPORTS[transport]
    kind = stand_in(package, name)
    domain = new_domain()
    client = Client(domain)
    node = NodeProcess(
        tmp_path / "node.log", domain, "-p", "autostart:=true", "-p", f"model:={random_model}",
        "-p", f"image_transport:={transport}", "-p", "overlay_alpha:=0.0",
        "-r", "image:=/front/image_raw",
    )  # fmt: skip
    try:
        client.wait_active()
        camera = client.node.create_publisher(kind, f"/front/image_raw/{transport}", reliable(60))
        overlays = client.collect(Image, "/segmentation/overlay")
        reports = client.collect(DiagnosticArray, "/diagnostics")
        wait(lambda: camera.get_subscription_count() and client.node.count_publishers(
            "/segmentation/overlay"), 10, "the node is connected")  # fmt: skip
        time.sleep(0.5)
        found, start = packets("h264", 26), time.time_ns()

        def send(packet) -> None:
            camera.publish(serialize(packet, "h264", start + packet.number))

        for packet in found[3:14]:  # 3 to 9 come without their keyframe
            send(packet)
            time.sleep(0.02)
        wait(lambda: overlays, 120, "the first picture is segmented")
        for packet in [*found[14:16], *found[17:26]]:  # number 16 is lost on its way
            send(packet)
            time.sleep(0.25)
        wait(lambda: _numbers(overlays, start)[-1] == 25, 60, "the last picture is segmented")
        numbers = _numbers(overlays, start)
        assert set(numbers) <= {*range(10, 16), *range(20, 26)}
        for message, number in zip(overlays, numbers):
            assert message.header.frame_id == "camera"
            rgb = message_to_rgb(message)  # with outlines of people
            assert min(range(26), key=lambda i, rgb=rgb: difference(rgb, i)) == number
        wait(lambda: _counts(reports).get("dropped_no_keyframe") == "10", 10, "they are counted")
        wait(lambda: _counts(reports)["received"] == "22", 10, "the last one is counted too")
        counts = _counts(reports)
        assert counts["dropped_invalid"] == "0"
        superseded = int(counts["dropped_superseded"])  # on a slow machine
        assert len(set(numbers)) == 12 - superseded
    finally:
        node.stop()
        client.close()


def test_a_recorded_video_is_played_in_real_time(stand_in, random_model, tmp_path) -> None:
    """Those before the first keyframe are counted, and not decoded from the grey picture on."""
    stand_in("foxglove_msgs", "CompressedVideo")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    kind = "foxglove_msgs/msg/CompressedVideo"
    store.register(typesys.get_types_from_msg("uint8 x", kind))
    with rosbag2.Writer(tmp_path / "bag", version=9) as writer:
        topic = writer.add_connection("/camera/video", kind, typestore=store)
        for packet in packets("h264", 16)[3:]:
            writer.write(topic, packet.number * 10**8, compressed_video(packet, "h264", 0))
    done = subprocess.run(
        [sys.executable, "-m", "lrn_ros", "replay", str(tmp_path / "bag"), "--mode", "realtime",
         "--model", str(random_model), "--domain-id", str(new_domain()), "--output",
         str(tmp_path / "out"), "--json"], capture_output=True, text=True, timeout=150, check=True,
    )  # fmt: skip
    frames = json.loads(done.stdout)["realtime"]["frames"]
    assert frames["published"] == 13 and frames["unaccounted"] == 0
    assert frames["dropped"]["no_keyframe"] == 7 and frames["answered"] >= 1
    assert frames["dropped"].get("invalid", 0) == 0


def test_a_missing_package_is_named(random_model: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("foxglove_msgs"):
        pytest.skip("the package is there")
    domain = new_domain()
    node = NodeProcess(
        tmp_path / "node.log", domain, "-p", "autostart:=true", "-p", f"model:={random_model}",
        "-p", "image_transport:=foxglove",
    )  # fmt: skip
    try:
        wait(
            lambda: "needs the ROS package foxglove_msgs" in node.text(), 60, "the error is logged"
        )
        assert "apt install ros-$ROS_DISTRO-foxglove-msgs" in node.text()
        assert node.process.poll() is None
    finally:
        node.stop()


def _numbers(messages, start: int) -> list[int]:
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in messages]
    return [int(stamp - start) for stamp in stamps]


def _counts(reports) -> dict[str, str]:
    found = [
        {v.key: v.value for v in status.values}
        for message in reports
        for status in message.status
        if any(v.key == "received" for v in status.values)
    ]
    return found[-1] if found else {}
