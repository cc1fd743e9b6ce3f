# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node under steady cameras for a long time: memory, heartbeats, latency, every frame's fate.

python benchmark/soak.py --minutes 30 --rate 30 --size 720 1280      # soak
python benchmark/soak.py --minutes 1 --overload 3                    # three times what it can take
python benchmark/soak.py --minutes 1 --overload 3 --cameras 4        # by four cameras together
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from node_process import running_node, until
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from lrn_ros.images.encodings import fill_image
from lrn_ros.memory import resident_mb
from lrn_ros.metrics.machine import describe
from lrn_ros.play.processes import NODE
from lrn_ros.ros.qos import PublisherEventCallbacks, SubscriptionEventCallbacks, profile
from lrn_ros.scene import StreetScene

PERIOD_S = 1.0  # of /diagnostics
_FRAMES = 8  # rendered ones that are sent in turn
_FLOOD = 200.0  # Hz, more than it can take
_ESTIMATE_S = 5.0  # of what it can take
_START_S = 120.0  # the node is active and answers within
_SETTLE_S = 10.0  # memory counts from here on: allocators have grown by then


@dataclass(frozen=True)
class Result:
    """What was seen; times in ms.

    Attributes:
        rate: of every camera, Hz.
        sent, received, published, idle: frames of all cameras.
        per_second: frames published.
        by_camera: frames published of each.
        dropped: by cause; `transport` never arrived.
        unexplained: sent frames that are in none of these.
        heartbeat_gap_s: longest time between two /diagnostics; sent once a second.
        memory_mb: resident memory of the node after it has settled, and at the end.
        growth: of that memory, in percent.
        inference_p50, inference_p99: the network, pre- and postprocessing of a frame.
        processing_p50, processing_p99: receipt to mask published, waiting included.
        second_half: median processing of the second half of the run by that of the first.
    """

    seconds: float
    rate: float
    sent: int
    received: int
    published: int
    per_second: float
    by_camera: tuple[int, ...]
    idle: int
    dropped: dict[str, int]
    unexplained: int
    heartbeat_gap_s: float
    memory_mb: tuple[float, float]
    growth: float
    inference_p50: float
    inference_p99: float
    processing_p50: float
    processing_p99: float
    second_half: float
    backend: str


def prefixes(count: int) -> list[str]:
    """What the topics of so many cameras begin with."""
    return [""] if count == 1 else [f"camera{i}/" for i in range(count)]


class Cameras(Node):
    """Sends frames and listens to everything that says how the node is.

    Args:
        size: (height, width) of the frames.
        count: cameras, each of which sends them.
        context: of rclpy.
    """

    def __init__(self, size: tuple[int, int], count: int, context: Any) -> None:
        super().__init__("soak_camera", context=context)
        # It stands for processes of the cameras' own, so it must not slow down with their number.
        unwatched = PublisherEventCallbacks(use_default_callbacks=False)
        self.outlets = [
            self.create_publisher(Image, f"/{p}image", profile(1), event_callbacks=unwatched)
            for p in prefixes(count)
        ]
        self.latencies: list[dict[str, str]] = []
        self.beats: list[float] = []
        self.counts: dict[str, dict[str, str]] = {}  # by the name of the camera's status
        self.state = self.create_client(GetState, f"{NODE}/get_state")
        self.create_subscription(DiagnosticArray, f"{NODE}/latency", self._on_latency, profile(10))
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, profile(10))
        for prefix in prefixes(count):
            self.create_subscription(
                Image, f"{NODE}/{prefix}mask", lambda _: None, profile(1),
                raw=True, event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            )  # fmt: skip
        scene = StreetScene(seed=1, height=size[0], width=size[1])
        self.messages = [Image() for _ in range(_FRAMES)]
        for i, message in enumerate(self.messages):
            fill_image(message, scene.frame(i)[0], "rgb8", Header(frame_id="camera"))

    def _on_latency(self, message: DiagnosticArray) -> None:
        self.latencies.append({v.key: v.value for v in message.status[0].values})

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.beats.append(time.monotonic())
        for status in message.status:
            if not status.name.endswith(": node"):
                self.counts[status.name] = {v.key: v.value for v in status.values}

    def is_active(self) -> bool:
        """Whether the node answers that it is active and hears all cameras."""
        if not self.state.wait_for_service(0.2):
            return False
        if not all(outlet.get_subscription_count() for outlet in self.outlets):
            return False
        future = self.state.call_async(GetState.Request())
        deadline = time.monotonic() + 2
        while not future.done() and time.monotonic() < deadline:
            time.sleep(0.02)
        answer = future.result() if future.done() else None
        return answer is not None and answer.current_state.label == "active"

    def send(self, seconds: float, rate: float) -> int:
        """Send frames of every camera at a rate in Hz, one camera after the other; how many."""
        start, sent = time.monotonic(), 0
        while time.monotonic() - start < seconds:
            message = self.messages[sent % _FRAMES]
            message.header.stamp = self.get_clock().now().to_msg()
            self.outlets[sent % len(self.outlets)].publish(message)
            sent += 1
            due = start + sent / (rate * len(self.outlets))
            time.sleep(max(0.0, due - time.monotonic()))
        return sent


def soak(
    seconds: float,
    rate: float,
    size: tuple[int, int],
    parameters: dict[str, str],
    overload: float = 0.0,
    count: int = 1,
) -> Result:
    """Run the node in a process of its own under cameras.

    Args:
        seconds: how long.
        rate: Hz of each camera.
        size: (height, width) of their images.
        parameters: of the node.
        overload: send, all together, this multiple of what the node can take, not `rate`.
        count: of cameras.
    """
    names = ", ".join(f"'{prefix.removesuffix('/')}'" for prefix in prefixes(count))
    parameters = {**parameters, "cameras": f"[{names}]"}
    with running_node(partial(Cameras, size, count), parameters) as (cameras, family, process):
        until(cameras.is_active, family, "active", _START_S)
        until(
            lambda: cameras.send(0.2, 10) and len(cameras.latencies) > 2,
            family, "answering", _START_S,
        )  # fmt: skip
        if overload:
            reached, estimate_s = _FLOOD / overload, min(_ESTIMATE_S, seconds / 3)
            for _ in range(2):  # the second time without a flood, which takes processor time itself
                before = len(cameras.latencies)
                cameras.send(estimate_s, overload * reached / count)
                reached = (len(cameras.latencies) - before) / estimate_s
            rate = overload * reached / count
        _quiet(cameras)
        return _measure(cameras, process.pid, seconds, rate)


def _measure(cameras: Cameras, pid: int, seconds: float, rate: float) -> Result:
    before, first = _counts(cameras), len(cameras.latencies)
    beats = len(cameras.beats)
    settle = min(_SETTLE_S, seconds / 4)
    sent = cameras.send(settle, rate)
    settled_mb = resident_mb(pid)
    sent += cameras.send(seconds - settle, rate)
    end_mb = resident_mb(pid)
    times = np.array(cameras.beats[beats:])
    _quiet(cameras)
    by_camera = [after - before[name] for name, after in _counts(cameras).items()]
    counts = sum(by_camera, Counter())
    dropped = {
        k.removeprefix("dropped_"): n for k, n in counts.items() if k.startswith("dropped_") and n
    }
    frames = cameras.latencies[first:]
    processing = np.array([float(f["processing_ms"]) for f in frames])
    stages = ("preprocess_ms", "inference_ms", "postprocess_ms")
    inference = [sum(float(f[s]) for s in stages) for f in frames]
    half = len(processing) // 2
    return Result(
        seconds=seconds,
        rate=rate,
        sent=sent,
        received=counts["received"],
        published=counts["published"],
        per_second=counts["published"] / seconds,
        by_camera=tuple(c["published"] for c in by_camera),
        idle=counts["idle"],
        dropped=dropped,
        unexplained=sent - counts["published"] - counts["idle"] - sum(dropped.values()),
        heartbeat_gap_s=float(np.diff(times).max()),
        memory_mb=(settled_mb, end_mb),
        growth=100 * (end_mb / settled_mb - 1),
        inference_p50=float(np.median(inference)),
        inference_p99=float(np.percentile(inference, 99)),
        processing_p50=float(np.median(processing)),
        processing_p99=float(np.percentile(processing, 99)),
        second_half=float(np.median(processing[half:]) / np.median(processing[:half])),
        backend=frames[-1]["backend"],
    )


def _counts(cameras: Cameras) -> dict[str, Counter[str]]:
    return {
        name: Counter({k: int(v) for k, v in values.items() if v.isdigit()})
        for name, values in cameras.counts.items()
    }


def _quiet(cameras: Cameras) -> None:
    """Wait until what was sent is answered and reported."""
    answered = -1
    while answered != len(cameras.latencies):
        answered = len(cameras.latencies)
        time.sleep(2.5 * PERIOD_S)


def main() -> int:
    """Print the figures; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=30.0, help="Hz")
    parser.add_argument("--size", type=int, nargs=2, default=(720, 1280), metavar=("H", "W"))
    parser.add_argument("--overload", type=float, default=0.0, help="multiple of what it can take")
    parser.add_argument("--cameras", type=int, default=1)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    backend = {"backend": args.backend}
    size = tuple(args.size)
    result = soak(60 * args.minutes, args.rate, size, backend, args.overload, args.cameras)
    if args.json:
        print(json.dumps({"machine": asdict(describe()), **asdict(result)}, indent=2))
    else:
        for name, value in asdict(result).items():
            print(f"{name:16} {value:.2f}" if isinstance(value, float) else f"{name:16} {value}")
    bars = {
        "memory grows by 2 % or more": result.growth >= 2,
        "a heartbeat was missed": result.heartbeat_gap_s > 2 * PERIOD_S,
        "frames are unexplained": result.unexplained != 0,
        "p99 of processing is above twice the inference": bool(args.overload)
        and result.processing_p99 > 2 * result.inference_p50,
    }
    for bar, missed in bars.items():
        if missed:
            print(f"MISSED: {bar}")
    return int(any(bars.values()))


if __name__ == "__main__":
    sys.exit(main())
