# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""temporal_smoothing of the running node: per camera, set live, and what makes it start anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Client, NodeProcess, image_message, new_domain, reliable, stamp_of, wait
from sensor_msgs.msg import Image

from lrn_ros import Segmenter
from lrn_ros.inference.smoothing import Smoother
from lrn_ros.scene import StreetScene

SCENES = {"front": StreetScene(seed=4, height=96, width=128), "left": StreetScene(9, 96, 128)}
PERIOD_NS = 20_000_000
START_NS = 1_000 * 10**9


class Rig:
    """Two cameras in step and the masks that the node makes of them."""

    def __init__(self, client: Client) -> None:
        self.client, self.index, self.stamp_ns = client, 0, START_NS
        node = client.node
        self._publishers = {
            n: node.create_publisher(Image, f"/{n}/image", reliable(1)) for n in SCENES
        }
        self._masks = {n: client.collect(Image, f"/segmentation/{n}/mask") for n in SCENES}
        wait(
            lambda: all(p.get_subscription_count() for p in self._publishers.values()), 10, "heard"
        )
        time.sleep(1.5)  # subscriptions become reliable

    def next(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Send both cameras' next frames; their RGB images and masks."""
        self.index, self.stamp_ns = self.index + 2, self.stamp_ns + PERIOD_NS
        found = {}
        for name, scene in SCENES.items():
            rgb, _ = scene.frame(self.index)
            self._publishers[name].publish(image_message(rgb, "rgb8", self.stamp_ns, name))
            wait(lambda n=name: self._last(n) is not None, 20, f"a mask of {name}")
            found[name] = rgb, np.frombuffer(self._last(name).data, np.uint8).reshape(96, 128)
        return found

    def _last(self, name: str) -> Any:
        masks = self._masks[name]
        return masks[-1] if masks and stamp_of(masks[-1]) == self.stamp_ns else None


@pytest.fixture
def rig(random_model: Path, tmp_path: Path) -> Iterator[Rig]:
    domain = new_domain()
    client = Client(domain)
    node = NodeProcess(
        tmp_path / "node.log", domain, "-p", "autostart:=true", "-p", f"model:={random_model}",
        "-p", "cameras:=[front, left]",
    )  # fmt: skip
    try:
        client.wait_active()
        yield Rig(client)
    finally:
        node.stop()
        client.close()


def test_smoothing_is_live_per_camera_and_forgets(rig: Rig, random_model: Path) -> None:
    reference = Segmenter.load(random_model, backend="torch")
    smoothers = {name: Smoother() for name in SCENES}

    def check(smoothed: bool, confidence: float = 0.0) -> None:
        for name, (rgb, mask) in rig.next().items():
            alone = reference(rgb, confidence=True)
            expected = alone
            if smoothed:
                smooth = smoothers[name].at(rig.stamp_ns / 1e9)
                expected = reference(rgb, confidence=True, smooth=smooth)
                assert (expected.mask != alone.mask).mean() > 0.004, "it makes a difference"
            sure = expected.confidence >= confidence * 255
            # the node's process has other threads, so sums may be rounded otherwise
            assert (mask == np.where(sure, expected.mask, 255)).mean() > 0.999, name

    def restart() -> None:
        """The next frame has no past here either."""
        for name, (rgb, mask) in rig.next().items():
            assert (mask == reference(rgb).mask).mean() > 0.999, name
            smoothers[name].reset()
            reference(rgb, smooth=smoothers[name].at(rig.stamp_ns / 1e9))

    def set_smoothing(value: bool) -> None:
        assert rig.client.set_parameter("temporal_smoothing", value).successful

    check(False)
    set_smoothing(True)
    restart()
    check(True)
    check(True)
    assert rig.client.set_parameter("confidence_threshold", 0.3).successful
    check(True, confidence=0.3)
    assert rig.client.set_parameter("confidence_threshold", 0.0).successful
    assert rig.client.transition("deactivate") and rig.client.transition("activate")
    restart()
    check(True)
    rig.stamp_ns -= 100 * 10**9  # a bag starts again
    restart()
    check(True)
    set_smoothing(False)
    check(False)
