# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `lrn view` of a running node costs, and how long after its mask a frame is on the page.

A camera of 1280x720 publishes to the node; first a subscriber of the mask is all there is, then
`lrn view` and Chromium show it too. Processor time is that of the node's process for a frame.
Page: from the mask's arrival at `lrn view` until the browser has painted the frame.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from node_process import running_node, until
from rclpy.node import Node
from sensor_msgs.msg import Image

from lrn_ros.cli.common import positive
from lrn_ros.images.encodings import fill_image
from lrn_ros.metrics.latency import percentiles
from lrn_ros.play.processes import NODE, environment
from lrn_ros.ros.qos import profile
from lrn_ros.scene import StreetScene

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))
from browser import Browser

_BAR_MS = 100.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Camera(Node):
    """Publishes a street at a steady rate, and counts the masks."""

    def __init__(self, context: Any, rate: float) -> None:
        super().__init__("camera", context=context)
        scene = StreetScene(seed=3, height=720, width=1280)
        self._frames = [scene.frame(i)[0] for i in range(8)]
        self._publisher = self.create_publisher(Image, "/image", profile())
        self._sent, self.masks = 0, 0
        self.create_subscription(Image, f"{NODE}/mask", self._on_mask, profile(), raw=True)
        self.create_timer(1 / rate, self._publish)

    def _publish(self) -> None:
        message = Image()
        message.header.frame_id, message.header.stamp = "camera", self.get_clock().now().to_msg()
        fill_image(message, self._frames[self._sent % 8], "rgb8", message.header)
        self._publisher.publish(message)
        self._sent += 1

    def _on_mask(self, _: bytes) -> None:
        self.masks += 1


def main() -> int:
    """Print processor time of the node with and without the page, and the page's delay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=positive, default=100, help="a measurement (%(default)s)")
    parser.add_argument("--rate", type=positive, default=5, help="Hz of the camera (%(default)s)")
    args = parser.parse_args()
    os.environ |= environment(None)  # for lrn view, too
    with running_node(lambda context: Camera(context, args.rate), {}) as (camera, family, node):

        def cost() -> float:
            """Processor milliseconds of the node for a frame."""
            begin, used = camera.masks, _cpu_ms(node.pid)
            until(lambda: camera.masks >= begin + args.frames, family, "masks", 600)
            return (_cpu_ms(node.pid) - used) / (camera.masks - begin)

        until(lambda: camera.masks > 10, family, "the first masks", 120)
        alone, (watched, delays) = [cost()], asyncio.run(_watch(cost))
        alone.append(cost())
    spread = percentiles(delays)
    assert spread is not None
    print(f"node, processor ms a frame: {watched:.1f} with the page, {statistics.mean(alone):.1f}"
          f" without ({alone[0]:.1f} before, {alone[1]:.1f} after)")  # fmt: skip
    print(f"mask to page: p50 {spread.p50:.0f} ms, p95 {spread.p95:.0f} ms, {len(delays)} frames")
    return int(spread.p50 > _BAR_MS)


async def _watch(cost: Any) -> tuple[float, list[float]]:
    """The node's cost while Chromium shows the page, and the page's delays."""
    command = [sys.executable, "-m", "lrn_ros", "view", NODE, "--port", "0"]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONUNBUFFERED="1")
    ) as view:  # fmt: skip
        try:
            assert view.stdout is not None
            line = view.stdout.readline()
            found = re.search(r"open (\S+)", line)
            if found is None:
                raise SystemExit("lrn view has no page")
            async with Browser(Path(folder) / "profile", (1280, 900)) as page:
                await page.open(found[1])
                await page.wait("window.shown && shown.delays.length > 20")
                await page.evaluate("shown.delays.length = 0")
                used = await asyncio.to_thread(cost)
                return used, await page.evaluate("shown.delays")
        finally:
            view.terminate()


def _cpu_ms(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS * 1e3


if __name__ == "__main__":
    start = time.monotonic()
    status = main()
    print(f"measured in {time.monotonic() - start:.0f} s")
    sys.exit(status)
