# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Records what the node publishes, until it is interrupted: latency, and pictures if wanted."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image

from lrn_ros.images.cdr import parse_image, read_stamp, stamp_ns
from lrn_ros.images.compressed import write_png
from lrn_ros.images.encodings import message_to_rgb
from lrn_ros.images.video import VideoWriter
from lrn_ros.play.processes import GREY
from lrn_ros.ros.qos import profile


class Recorder(Node):
    """Subscribes the node's outputs and writes a JSON line per message; masks are not kept.

    Args:
        segmentation: full name of the node to record.
        lines: open file for the JSON lines.
        cameras: those of a node with several cameras; none: it has one.
    """

    def __init__(self, segmentation: str, lines: TextIO, cameras: Sequence[str] = ()) -> None:
        super().__init__("recorder")
        self._name, self._lines = segmentation.rsplit("/", 1)[-1], lines
        self._cameras = cameras
        few, many = profile(10), profile(1000)  # one line lost would be a frame unaccounted for
        for camera in cameras or ("",):
            topic = "/".join(filter(None, (segmentation, camera, "mask")))
            self.create_subscription(Image, topic, partial(self._on_mask, camera), few, raw=True)
        latency = f"{segmentation}/latency"
        self.create_subscription(DiagnosticArray, latency, self._on_latency, many)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, many)

    def close(self) -> None:
        """Finish what is written."""

    def _on_mask(self, camera: str, data: bytes) -> None:
        self._note("mask", read_stamp(data), camera)

    def _camera(self, status: str) -> str:
        """The camera that a status is about, empty where there is one."""
        name = status.rpartition(": ")[2]
        return name if name in self._cameras else ""

    def _on_latency(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {v.key: v.value for v in status.values}
            camera = self._camera(status.name)
            self._note("latency", stamp_ns(message.header.stamp), camera, values=values)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f"{self._name}:"):
                values = {v.key: v.value for v in status.values}
                text = {"name": status.name, "message": status.message, "values": values}
                stamp, camera = stamp_ns(message.header.stamp), self._camera(status.name)
                self._note("diagnostics", stamp, camera, **text)

    def _note(self, kind: str, stamp_ns: int, camera: str = "", **more: Any) -> None:
        line = {"kind": kind, "stamp_ns": stamp_ns, "at_ns": time.monotonic_ns(), **more}
        line |= {"camera": camera} if camera else {}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()


class PictureRecorder(Recorder):
    """Also writes the masks and a video of the overlays.

    Args:
        segmentation, lines: see Recorder.
        output: folder for overlay.mp4 and masks/STAMP.png.
        rate: frames per second of the video.
    """

    def __init__(self, segmentation: str, lines: TextIO, output: Path, rate: float) -> None:
        super().__init__(segmentation, lines)
        self._masks = output / "masks"
        self._masks.mkdir(parents=True, exist_ok=True)
        self._video = VideoWriter(output / "overlay.mp4", rate)
        overlay = f"{segmentation}/overlay"
        self.create_subscription(Image, overlay, self._on_overlay, profile(10))

    def close(self) -> None:
        """Finish the video."""
        self._video.close()

    def _on_mask(self, camera: str, data: bytes) -> None:
        super()._on_mask(camera, data)
        mask = parse_image(data)
        if mask.header.frame_id == GREY:
            return  # it is of no frame
        rows = np.frombuffer(mask.data, np.uint8).reshape(mask.height, mask.step)
        write_png(self._masks / f"{read_stamp(data)}.png", rows[:, : mask.width])

    def _on_overlay(self, message: Image) -> None:
        if message.header.frame_id == GREY:
            return
        stamp = stamp_ns(message.header.stamp)
        position = self._video.add(message_to_rgb(message), stamp / 1e9)  # plays in real time
        self._note("overlay", stamp, position=position)


def main(argv: list[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM, or until the process that started this one is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segmentation", default="/segmentation", help="the node to record")
    parser.add_argument("--output", type=Path, help="folder for pictures; default: none are kept")
    parser.add_argument("--cameras", nargs="*", default=[], help="of a node with several")
    parser.add_argument("--log", type=Path, required=True, help="what came, JSON lines")
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second of the video")
    args = parser.parse_args(remove_ros_args(sys.argv if argv is None else argv)[1:])
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stopped.append(number))
    parent = os.getppid()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor()
    with args.log.open("w", encoding="utf-8") as lines:
        if args.output is None:
            recorder = Recorder(args.segmentation, lines, args.cameras)
        else:
            recorder = PictureRecorder(args.segmentation, lines, args.output, args.rate)
        executor.add_node(recorder)
        while not stopped and os.getppid() == parent:
            executor.spin_once(timeout_sec=0.2)
        recorder.close()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
