# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every path of the viewers' layouts gives numbers and pictures with messages of a real node."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from harness import Client, NodeProcess, image_message, latched, new_domain, reliable, wait
from sensor_msgs.msg import CompressedImage, Image

from lrn_ros.scene import StreetScene

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
