# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several cameras on one model, and that every frame is accounted for."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from harness import (
    Client,
    NodeProcess,
    image_message,
    new_domain,
    reliable,
    stamp_of,
    wait,
)
from sensor_msgs.msg import Image

from lrn_ros import Segmenter
from lrn_ros.scene import StreetScene

SIZES = {"front": (120, 160), "left": (96, 200)}


def test_two_cameras(random_model: Path, tmp_path: Path) -> None:
    domain = new_domain()
    client = Client(domain)
    node = NodeProcess(
        tmp_path / "node.log", domain, "-p", "autostart:=true", "-p", f"model:={random_model}",
        "-p", "cameras:=[front, left]",
    )  # fmt: skip
    try:
        client.wait_active()
        diagnostics = client.diagnostics()
        reference = Segmenter.load(random_model, backend="torch")
        publishers, masks, frames = {}, {}, {}
        for name, size in SIZES.items():
            publishers[name] = client.node.create_publisher(Image, f"/{name}/image", reliable(1))
            masks[name] = client.collect(Image, f"/segmentation/{name}/mask")
            rgb, _ = StreetScene(seed=4, height=size[0], width=size[1]).frame(0)
            frames[name] = image_message(rgb, "rgb8", 0, name)
        wait(lambda: all(p.get_subscription_count() for p in publishers.values()), 10, "subscribed")
        time.sleep(1.5)
        sent: dict[str, list[int]] = {name: [] for name in SIZES}
        for _ in range(60):
            for name, publisher in publishers.items():
                now = time.time_ns()
                stamp = frames[name].header.stamp
                stamp.sec, stamp.nanosec = divmod(now, 10**9)
                publisher.publish(frames[name])
                sent[name].append(now)
            time.sleep(0.02)
        count = len(diagnostics)
        wait(lambda: len(diagnostics) >= count + 2, 5, "what was sent last is counted")
        counted = sorted(len(m) for m in masks.values())
        assert counted[0] >= 2 and counted[1] <= 2 * counted[0], "no camera starves"
        for name, size in SIZES.items():
            expected = reference(StreetScene(seed=4, height=size[0], width=size[1]).frame(0)[0])
            last = masks[name][-1]
            assert last.header.frame_id == name and stamp_of(last) == sent[name][-1]
            shown = np.frombuffer(last.data, np.uint8).reshape(size)
            np.testing.assert_array_equal(shown, expected.mask)
            counts = _values(diagnostics, f"segmentation: {name}")
            dropped = sum(int(v) for k, v in counts.items() if k.startswith("dropped_"))
            received = int(counts["received"])
            assert received == int(counts["published"]) + int(counts["idle"]) + dropped
            assert received <= len(sent[name])
            assert int(counts["published"]) == len(masks[name])
    finally:
        node.stop()
        client.close()


BATCHING = """
import sys
from lrn_ros.inference.backends.openvino import OpenVinoBackend
from lrn_ros.ros.node import main
OpenVinoBackend.batches = True  # as a GPU's; on a CPU it gains nothing
sys.exit(main())
"""


def test_cameras_of_one_size_share_an_inference(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    domain, names = new_domain(), [f"c{i}" for i in range(4)]
    client = Client(domain)
    parameters = {
        "autostart": True, "backend": "openvino", "precision": "fp32", "max_batch": 2,
        "network_size": "[256, 320]", "cameras": f"[{', '.join(names)}]",
        "engine_cache_dir": tmp_path / "cache",
    }  # fmt: skip
    arguments = [a for n, v in parameters.items() for a in ("-p", f"{n}:={v}")]
    prefix = [sys.executable, "-c", BATCHING]
    node = NodeProcess(tmp_path / "node.log", domain, *arguments, prefix=prefix)
    try:
        client.wait_active()
        size = (256, 320)
        scenes = [StreetScene(seed=i, height=size[0], width=size[1]).frame(0)[0] for i in range(4)]
        publishers = [
            client.node.create_publisher(Image, f"/{n}/image", reliable(1)) for n in names
        ]
        masks = {n: client.collect(Image, f"/segmentation/{n}/mask") for n in names}
        latencies = client.collect(DiagnosticArray, "/segmentation/latency", reliable(1000))
        wait(lambda: all(p.get_subscription_count() for p in publishers), 10, "subscribed")
        messages = [image_message(rgb, "rgb8", 0, n) for n, rgb in zip(names, scenes)]

        def batches() -> list[int]:
            return [int(v.value) for m in latencies for v in m.status[0].values if v.key == "batch"]

        def publish() -> bool:
            for publisher, message in zip(publishers, messages):
                now = message.header.stamp
                now.sec, now.nanosec = divmod(time.time_ns(), 10**9)
                publisher.publish(message)
            time.sleep(0.05)
            return batches().count(2) >= 8

        wait(publish, 60, "two frames run together")
        assert max(batches()) == 2, "max_batch"
        wait(lambda: all(masks.values()), 5, "every camera is answered")
        reference = Segmenter.load(
            "lrnnet_c_camvid", backend="openvino", precision="fp32", network_size=size
        )
        for name, rgb in zip(names, scenes):
            shown = np.frombuffer(masks[name][-1].data, np.uint8).reshape(size)
            assert (shown == reference(rgb).mask).mean() > 0.999, "the masks are its own"
        assert node.text().count("256x320 for 2 frames ready after") == 1, "compiled once"
    finally:
        node.stop()
        client.close()


def _values(diagnostics: list[Any], name: str) -> dict[str, str]:
    status = next(s for s in diagnostics[-1].status if s.name == name)
    return {v.key: v.value for v in status.values}


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_the_compressed_topic_follows_the_remapped_image(
    random_model: Path, tmp_path: Path, transport: str
) -> None:
    node = NodeProcess(
        tmp_path / "node.log", new_domain(), "-p", "autostart:=true", "-p",
        f"model:={random_model}", "-p", f"image_transport:={transport}", "-r", "__ns:=/car",
        "-r", "image:=/cam/image_raw",
    )  # fmt: skip
    topic = "/cam/image_raw" + ("/compressed" if transport == "compressed" else "")
    try:
        wait(lambda: f"subscribed {topic} as" in node.text(), 30, topic)
    finally:
        node.stop()
