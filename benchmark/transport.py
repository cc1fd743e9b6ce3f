# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What receiving camera images costs: a plain subscription with cv_bridge against other ways.

A camera process publishes bgr8 images over DDS with the package's shared-memory profile, a receiver
process makes RGB arrays of them. The ways take turns:

    cv_bridge   subscription to sensor_msgs/Image, then CvBridge.imgmsg_to_cv2(message, "rgb8")
    raw         subscription with raw=True, then lrn_ros.images.cdr.parse_image and message_to_rgb
    raw_kept    as raw, and the C library keeps freed memory instead of returning it to the system
    node        as raw_kept, and OpenCV without its pool of threads: what segment_node does

Processor time is that of the whole receiver process, its DDS threads included, per message;
latency is from the camera's call of publish to the finished array. Both are of this machine as
loaded as it is: compare the ways of one run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from lrn_ros.cli.common import positive
from lrn_ros.errors import RunError
from lrn_ros.images.cdr import parse_image
from lrn_ros.images.encodings import message_to_rgb
from lrn_ros.play.processes import environment

WAYS = ("cv_bridge", "raw", "raw_kept", "node")
# For glibc. Without them buffers of megabytes, freed after every message, may be given back to the
# system each time and cost a page fault for every 4 KB when they are next needed.
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
SIZES = [(480, 360), (1024, 512), (1280, 720), (1920, 1080)]
TOPIC = "transport_image"
RATE = 30.0  # Hz
WARM_UP = 15  # first messages, not counted
_PATIENCE = 30.0  # seconds to find each other
_SILENCE = 1.0  # seconds without a message after which the camera has ended


def publish_images(width: int, height: int, count: int) -> list[int]:
    """Publish `count` images; returns when each was handed to publish, monotonic ns.

    They are serialized before, as by a camera driver: the figures are to be the receiver's. The
    seconds of the stamp are the image's number.

    Raises:
        RunError: nobody subscribes.
    """
    image = Image(width=width, height=height, encoding="bgr8", step=3 * width)
    image.header.frame_id = "camera"
    image.data.frombytes(np.random.default_rng(0).bytes(3 * width * height))
    serialized = bytearray(serialize_message(image))
    node = rclpy.create_node("transport_camera")
    publisher = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
    deadline = time.monotonic() + _PATIENCE
    while not publisher.get_subscription_count():
        if time.monotonic() > deadline:
            raise RunError(f"the camera found no receiver within {_PATIENCE:.0f} s")
        time.sleep(0.05)
    time.sleep(0.5)  # until the receiver knows the camera too
    sent: list[int] = []
    start = time.monotonic()
    for number in range(count):
        serialized[4:8] = number.to_bytes(4, sys.byteorder)
        message = bytes(serialized)
        time.sleep(max(0.0, start + number / RATE - time.monotonic()))
        sent.append(time.monotonic_ns())
        publisher.publish(message)
    time.sleep(0.5)
    return sent


def receive_images(way: str) -> list[tuple[int, int, float]]:
    """Decode until the camera falls silent.

    Returns:
        Number, time of the finished array in monotonic ns and process time so far in s, of each.
    """
    if way == "node":
        cv2.setNumThreads(1)
    decode, raw = _decoder(way), way != "cv_bridge"
    received: list[tuple[int, int, float]] = []

    def take(message: Any) -> None:
        number, _ = decode(message)
        received.append((number, time.monotonic_ns(), time.process_time()))

    node = rclpy.create_node("transport_receiver")
    node.create_subscription(Image, TOPIC, take, qos_profile_sensor_data, raw=raw)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    count, until = 0, time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        executor.spin_once(timeout_sec=0.5)
        if len(received) > count:
            count, until = len(received), time.monotonic() + _SILENCE
    return received


def _decoder(way: str) -> Callable[[Any], tuple[int, Any]]:
    """What turns a message into its number and RGB pixels."""
    if way == "cv_bridge":
        from cv_bridge import CvBridge

        bridge = CvBridge()
        return lambda m: (m.header.stamp.sec, bridge.imgmsg_to_cv2(m, "rgb8"))

    def from_bytes(data: bytes) -> tuple[int, Any]:
        message = parse_image(data)
        return message.header.stamp.sec, message_to_rgb(message)

    return from_bytes


def measure(width: int, height: int, way: str, count: int) -> dict[str, Any]:
    """One camera and one receiver; latencies in ms and processor seconds after the warm-up.

    Raises:
        RunError: a process fails, or too few images arrive.
    """
    env = environment(None) | (KEPT if way in ("raw_kept", "node") else {})
    command = [sys.executable, os.path.abspath(__file__)]
    roles = (["--receive", way], ["--send", f"{width}x{height}", "--count", str(count)])
    processes = [
        subprocess.Popen([*command, *role], stdout=subprocess.PIPE, text=True, env=env)
        for role in roles
    ]
    try:
        said = [p.communicate(timeout=3 * _PATIENCE + count / RATE)[0] for p in processes]
    except subprocess.TimeoutExpired:
        raise RunError(f"{width}x{height}, {way}: the receiver or the camera hangs") from None
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if any(p.returncode for p in processes):
        raise RunError(f"{width}x{height}, {way}: the receiver or the camera failed")
    received, sent = json.loads(said[0]), json.loads(said[1])
    received = [r for r in received if r[0] >= WARM_UP]
    if len(received) < 2:
        raise RunError(f"{width}x{height}, {way}: {len(received)} of {count} images arrived")
    return {
        "sent": count - WARM_UP,
        "latencies": [(done - sent[number]) / 1e6 for number, done, _ in received],
        "cpu": received[-1][2] - received[0][2],
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of all rounds of one way; times in ms."""
    latencies = sorted(value for run in runs for value in run["latencies"])
    counted = len(latencies) - len(runs)  # the processor time is that between first and last
    return {
        "sent": sum(run["sent"] for run in runs),
        "received": len(latencies),
        "cpu_ms": 1e3 * sum(run["cpu"] for run in runs) / counted,
        "latency_p50_ms": statistics.median(latencies),
        "latency_p95_ms": latencies[int(0.95 * (len(latencies) - 1))],
    }


def compare(size: tuple[int, int], seconds: int, rounds: int) -> dict[str, Any]:
    """Summaries of all ways in turn for one size, with their ratios to cv_bridge's."""
    width, height = size
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            runs[way].append(measure(width, height, way, WARM_UP + round(seconds * RATE)))
    figures = {way: summary(runs[way]) for way in WAYS}
    plain = figures["cv_bridge"]
    for values in figures.values():
        values["cpu_ratio"] = values["cpu_ms"] / plain["cpu_ms"]
        values["latency_ratio"] = values["latency_p50_ms"] / plain["latency_p50_ms"]
    return {"width": width, "height": height, **figures}


def _size(text: str) -> tuple[int, int]:
    width, height = map(positive, text.split("x"))
    return width, height


def _rows(size: dict[str, Any]) -> str:
    lines = []
    for way in WAYS:
        v = size[way]
        cells = (
            f"{size['width']}x{size['height']}",
            way,
            f"{v['cpu_ms']:.2f} ({v['cpu_ratio']:.2f})",
            f"{v['latency_p50_ms']:.1f} ({v['latency_ratio']:.2f})",
            f"{v['latency_p95_ms']:.1f}",
            f"{v['received']} of {v['sent']}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=_size, nargs="+", default=SIZES, metavar="WxH")
    parser.add_argument("--seconds", type=positive, default=5, help="of every measurement")
    parser.add_argument("--rounds", type=positive, default=2, help="measurements of each way")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument(
        "--send", type=_size, help=argparse.SUPPRESS
    )  # these three: the processes it starts
    parser.add_argument("--count", type=positive, help=argparse.SUPPRESS)
    parser.add_argument("--receive", choices=WAYS, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    """Measure and print; 1 when a measurement fails."""
    args = _parser().parse_args()
    try:
        if args.send or args.receive:
            rclpy.init()
            if args.send:
                print(json.dumps(publish_images(*args.send, args.count)))
            else:
                print(json.dumps(receive_images(args.receive)))
            return 0
        sizes = []
        if not args.json:
            print("| bgr8, 30 Hz | way | CPU ms a message | latency p50 ms | p95 ms | received |")
            print("|---|---|---|---|---|---|")
        for size in args.sizes:
            sizes.append(compare(size, args.seconds, args.rounds))
            if not args.json:
                print(_rows(sizes[-1]), flush=True)
        if args.json:
            print(json.dumps({"rate": RATE, "cpus": os.cpu_count(), "sizes": sizes}, indent=2))
    except RunError as error:
        print(f"transport: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
