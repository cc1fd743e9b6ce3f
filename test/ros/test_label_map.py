# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Masks and names with the ids of another label set, over real DDS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from harness import Client, NodeProcess, image_message, latched, reliable, wait
from sensor_msgs.msg import Image
from std_msgs.msg import String

from lrn_ros import Segmenter
from lrn_ros.model.labels import LabelSet
from lrn_ros.scene import StreetScene

RGB = StreetScene(seed=2, height=120, width=160).frame(0)[0]


def pixels(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)


@pytest.fixture(scope="module")
def node(
    domain: int, random_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    """A node that is not configured yet."""
    arguments = [f"model:={random_model}", "backend:=torch", "palette:=dataset"]
    log = tmp_path_factory.mktemp("label_map") / "node.log"
    node = NodeProcess(log, domain, *(a for value in arguments for a in ("-p", value)))
    yield node
    node.stop()


@pytest.mark.parametrize("name", ["cityscapes_labelids", "drivable"])
def test_the_target_is_published(
    random_model: Path, domain: int, node: NodeProcess, name: str
) -> None:
    client = Client(domain)
    try:
        assert client.set_parameter("label_map", name).successful
        assert client.transition("configure") and client.transition("activate")
        topics = ("mask", "confidence", "color")
        got = {t: client.collect(Image, f"/segmentation/{t}") for t in topics}
        classes = client.collect(String, "/segmentation/classes", latched())
        camera = client.node.create_publisher(Image, "/image", reliable(1))
        wait(lambda: camera.get_subscription_count() > 0, 10, "the node subscribes")
        wait(lambda: all(client.node.count_publishers(f"/segmentation/{t}") for t in got), 10, "")
        time.sleep(1.5)  # the subscription becomes reliable once this publisher is seen
        camera.publish(image_message(RGB, "rgb8", time.time_ns()))
        wait(lambda: classes and all(got.values()), 20, "all outputs arrive")

        own = Segmenter.load(random_model, backend="torch")(RGB, confidence=True)
        model = LabelSet.load("camvid11")
        entries = {entry["name"]: entry for entry in json.loads(classes[0].data)}
        mask = pixels(got["mask"][0])[..., 0]
        if name == "drivable":
            target = np.array([int(n == "road") for n in model.names])
            assert [(n, e["id"]) for n, e in entries.items()] == [
                ("not drivable", 0), ("drivable", 1),
            ]  # fmt: skip
        else:
            assert (entries["road"]["id"], entries["person"]["id"], len(entries)) == (7, 24, 19)
            assert entries["road"]["rgb"] == [128, 64, 128]
            cityscapes = {"pavement": 8, "building": 11, "pole": 17, "road": 7, "tree": 21}
            cityscapes |= {"sky": 23, "sign-symbol": 20, "fence": 13, "car": 26}
            cityscapes |= {"pedestrian": 24, "bicyclist": 25}
            target = np.array([cityscapes[n] for n in model.names])
        np.testing.assert_array_equal(mask, target[own.mask])
        by_id = {entry["id"]: entry["rgb"] for entry in entries.values()}
        colors = pixels(got["color"][0])
        for number in np.unique(mask):
            assert (colors[mask == number] == by_id[int(number)]).all()
        confidence = pixels(got["confidence"][0])[..., 0].astype(int)
        assert own.confidence is not None
        assert (confidence >= own.confidence.astype(int) - 1).all()
        assert (confidence > own.confidence).any() == (name == "drivable")
    finally:
        assert client.transition("deactivate") and client.transition("cleanup")
        client.close()
