# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera for demos: publishes frames of a source at a steady rate, once the node is ready."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import rclpy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from lrn_ros.data.sources import Frame, SceneSource, Source, open_source
from lrn_ros.errors import RunError, UserError
from lrn_ros.images.compressed import write_png
from lrn_ros.images.encodings import fill_image
from lrn_ros.play.player import Player

_HELD_BYTES = 512 << 20  # frames prepared ahead, so that making them does not slow the node
_OUTPUTS = ("mask", "overlay", "latency")


class CameraPlayer(Player):
    """Publishes Image messages stamped with the present time.

    Args:
        topic: where to.
        segmentation: full name of the node to wait for.
    """

    def __init__(self, topic: str, segmentation: str, frame_id: str) -> None:
        super().__init__("camera_player", Image, topic, segmentation, _OUTPUTS)
        self._frame_id = frame_id

    def publish(self, frame: Frame) -> int:
        """Publish a frame; returns its stamp in nanoseconds."""
        message, header = Image(), Header(frame_id=self._frame_id)
        now = self.get_clock().now()
        header.stamp = now.to_msg()
        fill_image(message, frame.rgb, "rgb8", header)
        self.publisher.publish(message)
        return int(now.nanoseconds)


def prepare(frames: Iterator[Frame], labels: Path | None) -> Iterator[Frame]:
    """Read ahead as many frames as fit in memory and write their labels; the rest on demand."""
    held, size = [], 0
    for frame in frames:
        held.append(_with_label_written(frame, labels))
        size += frame.rgb.nbytes
        if size > _HELD_BYTES:
            break
    return itertools.chain(held, (_with_label_written(f, labels) for f in frames))


def _with_label_written(frame: Frame, folder: Path | None) -> Frame:
    if folder is not None and frame.label is not None:
        write_png(folder / f"{frame.index:06d}.png", frame.label)
    return frame


def play(player: CameraPlayer, frames: Iterator[Frame], rate: float, log: Path) -> None:
    """Publish at `rate` Hz; a line of `log` per frame says what was sent with which stamp."""
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as lines:
        for count, frame in enumerate(frames):
            time.sleep(max(0.0, start + count / rate - time.monotonic()))
            stamp = player.publish(frame)
            record = {"index": frame.index, "name": frame.name, "stamp_ns": stamp}
            lines.write(json.dumps(record) + "\n")
            lines.flush()
    player.finish()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, help="video, folder or bag; default: the scene")
    parser.add_argument("--bag-topic")
    parser.add_argument("--model", help="whose classes the labels beside a folder have")
    parser.add_argument("--size", type=int, nargs=2, default=(360, 640), metavar=("H", "W"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=0, help="0: all")
    parser.add_argument("--rate", type=float, default=10.0, help="Hz")
    parser.add_argument("--topic", default="/demo/image")
    parser.add_argument("--frame-id", default="camera")
    parser.add_argument("--segmentation", default="/segmentation", help="the node to wait for")
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds to wait for it")
    parser.add_argument("--log", type=Path, required=True, help="what was sent, JSON lines")
    parser.add_argument("--labels", type=Path, help="folder for the labels of the frames")
    return parser


def _source(args: argparse.Namespace) -> Source:
    if args.input is None:
        return SceneSource(args.seed, tuple(args.size), args.rate)
    labels = None
    if args.model:
        from lrn_ros.model.artifact import SUFFIXES, read_info, resolve_model

        labels = read_info(resolve_model(args.model, SUFFIXES)).labels
    return open_source(args.input, labels, args.bag_topic)


def main(argv: list[str] | None = None) -> int:
    """Play a source once; 0 when all was sent."""
    args = _parser().parse_args(remove_ros_args(sys.argv if argv is None else argv)[1:])
    try:
        frames = _source(args).frames()
        frames = prepare(itertools.islice(frames, args.frames or None), args.labels)
        rclpy.init()
        player = CameraPlayer(args.topic, args.segmentation, args.frame_id)
        player.wait_until_ready(args.timeout)
        play(player, frames, args.rate, args.log)
    except (UserError, RunError) as error:
        print(f"camera_player: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
