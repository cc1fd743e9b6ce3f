# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every path of the viewers' layouts gives numbers and pictures with messages of a real node."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
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
from sensor_msgs.msg import CompressedImage, Image

from lrn_ros import Segmenter
from lrn_ros.errors import UserError
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


@pytest.mark.parametrize(
    ("layout", "cameras", "images"),
    [
        ("foxglove.json", "[\"\"]", ["/camera/image_raw"]),
        ("foxglove_cameras.json", "[front, left]", ["/front/image_raw", "/left/image_raw"]),
    ],
)  # fmt: skip
def test_every_panel_has_data(
    random_model: Path, tmp_path: Path, layout: str, cameras: str, images: list[str]
) -> None:
    domain = new_domain()
    client = Client(domain)
    remaps = [
        argument
        for topic in images
        for argument in (
            "-r",
            f"{'image' if 'camera' in topic else topic[1:].replace('_raw', '')}:={topic}",
        )
    ]
    node = NodeProcess(
        tmp_path / "node.log", domain, "-p", "autostart:=true", "-p", f"model:={random_model}",
        "-p", f"cameras:={cameras}", *remaps,
    )  # fmt: skip
    panels = json.loads((CONFIG / layout).read_text())["configById"]
    try:
        client.wait_active()
        pictures, arrays = {}, {}
        for panel in panels.values():
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
        names = {s.name: s.hardware_id for m in arrays["/diagnostics"] for s in m.status}
        for name, panel in panels.items():
            for path in panel.get("paths", ()):
                topic, status, key = PATH.fullmatch(path["value"]).groups()  # type: ignore[union-attr]
                numbers = found(arrays[topic], status, key)
                assert numbers and max(numbers) >= 0, (name, path["label"])
            if name.startswith("DiagnosticStatusPanel"):
                assert names[panel["selectedName"]] == panel["selectedHardwareId"]
    finally:
        node.stop()
        client.close()


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


def test_lrn_view_of_no_node(monkeypatch: Any) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(new_domain()))
    with pytest.raises(UserError, match="/nobody: no such node within 1 s"):
        NodeFeed("/nobody", timeout=1)
