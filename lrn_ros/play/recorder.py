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
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image

from lrn_ros.images.cdr import parse_image, read_stamp, stamp_ns
from lrn_ros.images.compressed import write_png
from lrn_ros.images.encodings import message_to_rgb
from lrn_ros.images.video import VideoWriter
from lrn_ros.inference.overlay import draw_note
from lrn_ros.play.processes import GREY, NewLines
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
    """Also writes the masks and a video of the overlays, with time, frame and latency of each.

    Where frames got no mask, the overlay before them is shown again and says so.

    Args:
        segmentation, lines: see Recorder.
        output: folder for overlay.mp4 and masks/STAMP.png.
        rate: frames per second of the video.
        sent: the player's log.
    """

    def __init__(
        self, segmentation: str, lines: TextIO, output: Path, rate: float, sent: Path
    ) -> None:
        super().__init__(segmentation, lines)
        self._masks = output / "masks"
        self._masks.mkdir(parents=True, exist_ok=True)
        self._video = VideoWriter(output / "overlay.mp4", rate)
        self._sent = SentFrames(sent)
        self._overlays: dict[int, NDArray[np.uint8]] = {}  # by stamp, until their latency is known
        self._latency_ms: dict[int, float] = {}
        self._shown: tuple[int, NDArray[np.uint8]] | None = None  # the last one in the video
        overlay = f"{segmentation}/overlay"
        self.create_subscription(Image, overlay, self._on_overlay, profile(10))

    def close(self) -> None:
        """Finish the video."""
        self._write_until(None)
        self._video.close()

    def _on_mask(self, camera: str, data: bytes) -> None:
        super()._on_mask(camera, data)
        mask = parse_image(data)
        if mask.header.frame_id == GREY:
            return  # it is of no frame
        rows = np.frombuffer(mask.data, np.uint8).reshape(mask.height, mask.step)
        write_png(self._masks / f"{read_stamp(data)}.png", rows[:, : mask.width])

    def _on_latency(self, message: DiagnosticArray) -> None:
        super()._on_latency(message)
        stamp = stamp_ns(message.header.stamp)
        for status in message.status:
            values = {v.key: v.value for v in status.values}
            self._latency_ms[stamp] = float(values["end_to_end_ms"])
        self._write_until(stamp)

    def _on_overlay(self, message: Image) -> None:
        if message.header.frame_id == GREY:
            return
        stamp = stamp_ns(message.header.stamp)
        self._overlays[stamp] = message_to_rgb(message)
        known = stamp in self._latency_ms
        self._write_until(stamp if known else stamp - 1)

    def _write_until(self, stamp: int | None) -> None:
        """Write the overlays that wait and are not newer than this; None: all."""
        for due in sorted(s for s in self._overlays if stamp is None or s <= stamp):
            picture = self._overlays.pop(due)
            self._repeat(due)
            milliseconds = self._latency_ms.pop(due, float("nan"))
            note = self._sent.note(due)
            position = self._add(picture, due, f"{note}  {milliseconds:.0f} ms".replace("nan", "?"))
            self._shown = due, picture
            self._note("overlay", due, position=position)

    def _repeat(self, stamp: int) -> None:
        """Show the last overlay once more where frames between it and the next have no mask."""
        if self._shown is None:
            return
        last, picture = self._shown
        if skipped := self._sent.between(last, stamp):
            more = f" +{len(skipped) - 1}" if len(skipped) > 1 else ""
            self._add(picture, skipped[0], f"{self._sent.note(skipped[0])}{more}: no mask")

    def _add(self, picture: NDArray[np.uint8], stamp: int, note: str) -> int:
        """Append the picture with its note; the video plays in real time."""
        noted = picture.copy()
        draw_note(noted, note)
        return self._video.add(noted, stamp / 1e9)


class SentFrames:
    """Which frames the player has published, as its log says so far.

    Args:
        log: JSON lines; the file may not be there yet.
    """

    def __init__(self, log: Path) -> None:
        self._lines = NewLines(log)
        self._index: dict[int, int] = {}  # index of every frame by its stamp, in published order

    def note(self, stamp: int) -> str:
        """Time since the first frame, and the number of the frame with this stamp."""
        self._update()
        if stamp not in self._index:
            return "frame ?"
        first = next(iter(self._index))
        return f"{(stamp - first) / 1e9:.2f} s  frame {self._index[stamp]}"

    def between(self, after: int, before: int) -> list[int]:
        """Stamps of the frames between these two."""
        self._update()
        return [stamp for stamp in self._index if after < stamp < before]

    def _update(self) -> None:
        for sent in self._lines.read():
            self._index[sent["stamp_ns"]] = sent["index"]


def main(argv: list[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM, or until the process that started this one is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segmentation", default="/segmentation", help="the node to record")
    parser.add_argument("--output", type=Path, help="folder for pictures; default: keep none")
    parser.add_argument("--cameras", nargs="*", default=[], help="camera prefixes of the node")
    parser.add_argument("--log", type=Path, required=True, help="file for what came, JSON lines")
    parser.add_argument("--sent", type=Path, help="log of the player; needed with --output")
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
            recorder = PictureRecorder(args.segmentation, lines, args.output, args.rate, args.sent)
        executor.add_node(recorder)
        while not stopped and os.getppid() == parent:
            executor.spin_once(timeout_sec=0.2)
        recorder.close()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
