# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every path of the viewers' layouts gives numbers and pictures with messages of a real node."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import lichtblick
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from harness import (
    Client,
    NodeProcess,
    best_effort,
    image_message,
    latched,
    new_domain,
    reliable,
    wait,
)
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage, Image

from lrn_ros import Segmenter
from lrn_ros.errors import UserError
from lrn_ros.images.cdr import stamp_ns
from lrn_ros.inference.palette import shown
from lrn_ros.scene import StreetScene
from lrn_ros.view.node_feed import NodeFeed

CONFIG = Path(__file__).resolve().parents[2] / "config"
PATH = re.compile(r'(/[\w/]+)\.status\[:\]\{name=="([^"]+)"\}\.values\[:\]\{key=="(\w+)"\}\.value')


def found(messages: list[Any], name: str, key: str) -> list[float]:
    """What a plot of the path shows: every status of the name, every value of the key."""
    return [
        float(value.value)
        for message in messages
        for status in message.status
        if status.name == name
        for value in status.values
        if value.key == key
    ]


@dataclass(frozen=True)
class Recording:
    """What a node published on the topics of a layout, also as a file."""

    layout: Path
    pictures: dict[str, list[Any]]
    arrays: dict[str, list[Any]]
    file: Path

    @property
    def panels(self) -> dict[str, Any]:
        return json.loads(self.layout.read_text())["configById"]


@pytest.fixture(
    scope="module",
    params=[
        ("foxglove.json", '[""]', ["/camera/image_raw"]),
        ("foxglove_cameras.json", "[front, left]", ["/front/image_raw", "/left/image_raw"]),
    ],
    ids=["one camera", "several cameras"],
)
def recording(
    request: Any, random_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    layout, cameras, images = request.param
    folder, domain = tmp_path_factory.mktemp("recording"), new_domain()
    client = Client(domain)
    names = ["image" if "camera" in t else t[1:].replace("_raw", "") for t in images]
    remaps = [a for name, t in zip(names, images) for a in ("-r", f"{name}:={t}")]
    node = NodeProcess(
        folder / "node.log", domain, "-p", "autostart:=true", "-p", f"model:={random_model}",
        "-p", f"cameras:={cameras}", *remaps,
    )  # fmt: skip
    try:
        client.wait_active()
        pictures, arrays = {}, {}
        for panel in json.loads((CONFIG / layout).read_text())["configById"].values():
            if "imageMode" in panel:
                topic = panel["imageMode"]["imageTopic"]
                kind = CompressedImage if topic.endswith("/compressed") else Image
                qos = latched() if topic.endswith("/legend") else reliable(1)
                pictures[topic] = client.collect(kind, topic, qos)
        for topic in ("/segmentation/latency", "/diagnostics"):
            arrays[topic] = client.collect(DiagnosticArray, topic)
        publishers = [client.node.create_publisher(Image, topic, reliable(1)) for topic in images]
        wait(lambda: all(p.get_subscription_count() > 1 for p in publishers), 20, "subscribed")
        rgb, _ = StreetScene(seed=4, height=120, width=160).frame(0)
        for _ in range(30):
            for publisher in publishers:
                publisher.publish(image_message(rgb, "rgb8", time.time_ns()))
            time.sleep(0.1)
        wait(lambda: all(pictures.values()), 20, "every picture arrives")
        time.sleep(1.2)  # a report of the diagnostics after that
    finally:
        node.stop()
        client.close()
    write_bag(folder / "bag", pictures | arrays)
    (folder / "bag" / "bag.mcap").replace(folder / "recorded.mcap")
    return Recording(CONFIG / layout, pictures, arrays, folder / "recorded.mcap")


def write_bag(folder: Path, topics: dict[str, list[Any]]) -> None:
    """Write messages as a recorder does that gets each of them at its stamp."""
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, messages in topics.items():
            package, _, kind = type(messages[0]).__module__.partition(".msg.")
            name = f"{package}/msg/{type(messages[0]).__name__}"
            assert kind
            connection = writer.add_connection(topic, name, typestore=store)
            for message in messages:
                writer.write(connection, stamp_ns(message.header.stamp), serialize_message(message))


def test_every_panel_has_data(recording: Recording) -> None:
    arrays = recording.arrays
    names = {s.name: s.hardware_id for m in arrays["/diagnostics"] for s in m.status}
    for name, panel in recording.panels.items():
        for path in panel.get("paths", ()):
            topic, status, key = PATH.fullmatch(path["value"]).groups()  # type: ignore[union-attr]
            numbers = found(arrays[topic], status, key)
            assert numbers and max(numbers) >= 0, (name, path["label"])
        if name.startswith("DiagnosticStatusPanel"):
            assert names[panel["selectedName"]] == panel["selectedHardwareId"]


@pytest.mark.skipif(not lichtblick.AT_HAND, reason=lichtblick.WHY)
def test_every_panel_shows_it_in_lichtblick(recording: Recording) -> None:
    last = max(stamp_ns(m.header.stamp) for m in recording.arrays["/segmentation/latency"])
    at = datetime.fromtimestamp(last / 1e9, timezone.utc).isoformat()
    source = {"ds": "remote-file", "ds.url": f"/data/{recording.file.name}", "time": at}
    asyncio.run(lichtblick.check_panels(recording.layout, recording.file.parent, source))


def test_lrn_view_shows_the_node(random_model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    domain = new_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    client = Client(domain)
    node = NodeProcess(
        tmp_path / "node.log", domain, "-p", "autostart:=true", "-p", f"model:={random_model}",
        "-r", "image:=/camera/image_raw",
    )  # fmt: skip
    try:
        client.wait_active()
        publisher = client.node.create_publisher(Image, "/camera/image_raw", best_effort(1))
        feed = NodeFeed("/segmentation", timeout=30)
        try:
            reference = Segmenter.load(random_model, backend="torch")
            scene = StreetScene(seed=4, height=120, width=160)
            frames = {}
            number, views = 0, []
            for i in range(60):
                stamp = time.time_ns()
                frames[stamp] = scene.frame(i % 4)[0]
                publisher.publish(image_message(frames[stamp], "rgb8", stamp))
                confidence = i >= 10
                if view := feed.slot.newer(number, 0.3, confidence):
                    number = view.number
                    views.append(view)
            assert len(views) > 10
            for view in views[-5:]:
                np.testing.assert_array_equal(view.rgb, frames[view.stamp_ns])
                result = reference(view.rgb, confidence=True)
                np.testing.assert_array_equal(view.mask, result.mask)
                np.testing.assert_array_equal(view.confidence, result.confidence)
            assert views[0].confidence is None, "not asked for yet"
            labels = feed.labels()
            assert labels is not None and labels.colors == shown(reference.labels).colors
            assert dict(views[-1].figures.stages)["inference_ms"] > 0
            # Neither the colours nor the overlay are asked of the node.
            for topic in ("color", "overlay", "overlay/compressed"):
                assert client.node.count_subscribers(f"/segmentation/{topic}") == 0
            wait(lambda: client.node.count_subscribers("/segmentation/confidence") == 0, 10, "gone")
        finally:
            feed.close()
    finally:
        node.stop()
        client.close()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], "/robot/segmentation: no such node within 2 s"),
        (["/other/segmentation", "/other/segmentation camera"], "no such node"),
        (["/robot/segmentation"], "it has no camera yet: unconfigured; next: configure"),
        (
            ["/robot/segmentation", "/robot/segmentation left", "/robot/segmentation front"],
            "its cameras are front, left; name one of them with --camera",
        ),
    ],
)
def test_lrn_view_of_what_is_not_there(said: list[str], expected: str, monkeypatch: Any) -> None:
    domain = new_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    client = Client(domain)
    try:
        publisher = client.node.create_publisher(DiagnosticArray, "/diagnostics", reliable())
        topic = [KeyValue(key="topic", value="/image")]
        statuses = [
            DiagnosticStatus(
                name=f"segmentation: {name.rpartition(' ')[2]}", hardware_id=name,
                message="unconfigured; next: configure", values=topic if " " in name else [],
            )
            for name in said
        ]  # fmt: skip
        client.node.create_timer(0.2, lambda: publisher.publish(DiagnosticArray(status=statuses)))
        with pytest.raises(UserError, match=expected):
            NodeFeed("/robot/segmentation", timeout=2)
    finally:
        client.close()
