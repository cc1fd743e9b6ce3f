# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""/diagnostics: what the node says of itself once a second, in every state."""

from __future__ import annotations

import threading
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from lrn_ros.inference.supervisor import Status
from lrn_ros.ros.parameters import Settings
from lrn_ros.ros.qos import profile
from lrn_ros.ros.statistics import Snapshot

PERIOD_S = 1.0


def status(name: str, level: bytes, message: str, values: dict[str, str]) -> DiagnosticStatus:
    """Build a DiagnosticStatus."""
    pairs = [KeyValue(key=k, value=v) for k, v in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, values=pairs)


def supervisor_verdict(state: Status) -> tuple[bytes, str]:
    """Level and message of a backend that is not simply running; an empty message if it is."""
    if state.failure:
        return DiagnosticStatus.ERROR, state.failure
    if state.restarting:
        return DiagnosticStatus.WARN, f"the backend is restarted: {state.restarting}"
    if state.compiling:
        return DiagnosticStatus.WARN, f"compiling {state.compiling}"
    return DiagnosticStatus.OK, ""


def camera_verdict(
    snapshot: Snapshot, previous: Snapshot | None, settings: Settings
) -> tuple[bytes, str]:
    """Level and message for an active camera.

    Args:
        snapshot: the camera's counts now.
        previous: those of the last report, for what happened since.
        settings: gives stale_after_ms.
    """
    if snapshot.age_s is None:
        return DiagnosticStatus.STALE, "no image yet; does a camera publish on the topic?"
    if snapshot.age_s * 1e3 > settings.stale_after_ms:
        return DiagnosticStatus.STALE, f"no image for {snapshot.age_s:.1f} s"
    faults = "; ".join(snapshot.faults.values())
    if snapshot.recent["failed"]:
        return DiagnosticStatus.ERROR, faults
    lost = [c for c in ("invalid", "transport", "stale", "compiling") if snapshot.recent[c]]
    if lost:
        counts = ", ".join(f"{c} {snapshot.recent[c]}" for c in lost)
        return DiagnosticStatus.WARN, f"drops: {counts}" + (f"; {faults}" if faults else "")
    if snapshot.peers:
        return DiagnosticStatus.WARN, "; ".join(f"{k}: {v}" for k, v in snapshot.peers.items())
    if snapshot.timeless:
        return DiagnosticStatus.WARN, (
            "stamps are zero, in the future or of another clock: latency is unknown;"
            " use_sim_time and the camera's clock?"
        )
    if previous is not None and snapshot.idle > previous.idle:
        return DiagnosticStatus.OK, "idle: no subscribers"
    return DiagnosticStatus.OK, f"{snapshot.output_hz:.1f} of {snapshot.input_hz:.1f} Hz"


def camera_values(snapshot: Snapshot, topic: str, reliability: str) -> dict[str, str]:
    """Figures of a camera as key-value strings."""
    values = {
        "topic": topic,
        "reliability": reliability,
        "input_hz": f"{snapshot.input_hz:.2f}",
        "output_hz": f"{snapshot.output_hz:.2f}",
        "received": str(snapshot.received),
        "published": str(snapshot.published),
        "idle": str(snapshot.idle),
    }
    values |= {f"dropped_{cause}": str(n) for cause, n in snapshot.drops.items()}
    for stage, (p50, p95, p99) in snapshot.percentiles.items():
        name = stage.removesuffix("_ms")
        values |= {
            f"{name}_p50_ms": f"{p50:.2f}",
            f"{name}_p95_ms": f"{p95:.2f}",
            f"{name}_p99_ms": f"{p99:.2f}",
        }
    values |= snapshot.peers
    return values | {f"fault {k}": v for k, v in snapshot.faults.items()}


class Heartbeat:
    """Publishes /diagnostics from a thread of its own, so that no transition silences it."""

    def __init__(self, node: Node, report: Callable[[], list[DiagnosticStatus]]) -> None:
        self._node, self._report = node, report
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", profile(10))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="diagnostics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S) and self._node.context.ok():
            message = DiagnosticArray(status=self._report())
            message.header.stamp = self._node.get_clock().now().to_msg()
            try:
                self._publisher.publish(message)
            except Exception:
                if self._node.context.ok():  # else the context went down under us: done
                    raise
