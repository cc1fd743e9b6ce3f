# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""/diagnostics: the report that the node publishes once per second, in every state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from lrn_ros.errors import RunError
from lrn_ros.inference.supervisor import NotReady, Status, Supervisor
from lrn_ros.ros.guard import Exceptions
from lrn_ros.ros.parameters import Settings
from lrn_ros.ros.qos import profile
from lrn_ros.ros.statistics import WINDOW_S, Snapshot

PERIOD_S = 1.0
NO_CLOCK = "use_sim_time is true, and no time has come on /clock: does anything publish it?"
_MIN_IMAGES = 5  # with fewer images in the window, their rate is not judged
_OK, _WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


def status(
    name: str, level: bytes, message: str, values: Mapping[str, str], hardware_id: str
) -> DiagnosticStatus:
    """Build a DiagnosticStatus."""
    pairs = [KeyValue(key=k, value=v) for k, v in values.items()]
    return DiagnosticStatus(
        level=level, name=name, message=message, values=pairs, hardware_id=hardware_id
    )


def supervisor_verdict(state: Status) -> tuple[bytes, str]:
    """Level and message of a backend that is not simply running; an empty message if it is."""
    if state.failure:
        return DiagnosticStatus.ERROR, state.failure
    if state.restarting:
        return _WARN, f"the backend is restarted: {state.restarting}"
    if state.compiling:
        return _WARN, f"compiling {state.compiling}"
    return _OK, ""


def backend_values(supervisor: Supervisor) -> dict[str, str]:
    """Model and backend as key-value strings; empty while there is none."""
    try:
        model = supervisor.model
    except (NotReady, RunError):
        return {}
    values = {
        "model": model.info.name,
        "licence": model.info.license,
        "backend": model.backend,
        "precision": model.precision,
        "device": model.device,
    }
    return values | {f"passed over {n}": reason for n, reason in model.passed_over}


def camera_verdict(
    snapshot: Snapshot,
    previous: Snapshot | None,
    settings: Settings,
    *,
    has_clock: bool = True,
    no_publisher: str = "",
) -> tuple[bytes, str]:
    """Level and message for an active camera. A known cause comes before what follows from it.

    Args:
        snapshot: the camera's counts now.
        previous: those of the last report, for what happened since.
        settings: gives stale_after_ms.
        has_clock: False where the node waits for simulated time.
        no_publisher: says so where nothing publishes the topic, with what nearly fits.
    """
    causes = [] if has_clock else [NO_CLOCK]
    if publishers := snapshot.peers.get("incompatible publishers"):
        causes.append(f"incompatible publishers: {publishers}")
    faults = "; ".join(snapshot.faults.values())
    if silence := _silence(snapshot, settings, no_publisher):
        if snapshot.blocked and snapshot.age_s is not None and snapshot.age_s <= WINDOW_S:
            causes.append(faults)
        if causes:
            return _WARN, "; ".join([*causes, silence])
        before = f"; the images before that: {faults}" if snapshot.blocked else ""
        return DiagnosticStatus.STALE, silence + before
    if snapshot.recent["failed"]:
        return DiagnosticStatus.ERROR, faults
    lost = [
        c
        for c in ("invalid", "transport", "stale", "compiling", "no_keyframe")
        if snapshot.recent[c]
    ]
    if lost:
        causes.append("drops: " + ", ".join(f"{c} {snapshot.recent[c]}" for c in lost))
    causes += [faults] if faults else []
    causes += _warnings(snapshot)
    rates = _rates(snapshot, previous)
    return (_WARN, "; ".join([*causes, rates])) if causes else (_OK, rates)


def _silence(snapshot: Snapshot, settings: Settings, no_publisher: str) -> str:
    """A text about missing images; empty if images come."""
    if snapshot.age_s is None:
        if no_publisher:
            return f"no image yet: {no_publisher}"
        return "no image yet, although somebody publishes the topic"
    if snapshot.age_s * 1e3 > settings.stale_after_ms:
        reason = f": {no_publisher}" if no_publisher else ""
        return f"no image for {snapshot.age_s:.1f} s{reason}"
    return ""


def _warnings(snapshot: Snapshot) -> list[str]:
    """Warnings that do not keep images from coming and masks from going out."""
    said = [f"{k}: {v}" for k, v in snapshot.peers.items() if k != "incompatible publishers"]
    if snapshot.timeless:
        said.append(
            "stamps are zero, in the future or of another clock: latency is unknown;"
            " use_sim_time and the camera's clock?"
        )
    if snapshot.health is not None:
        said += snapshot.health.warnings
    superseded = snapshot.recent["superseded"]
    if snapshot.recent_received > _MIN_IMAGES and superseded > snapshot.recent_received / 2:
        share = round(100 * superseded / snapshot.recent_received)
        said.append(
            f"{share} % of the images are superseded, as the node is slower than the camera: a"
            " smaller network_size, a faster backend or a lower camera rate helps"
        )
    return said


def _rates(snapshot: Snapshot, previous: Snapshot | None) -> str:
    if previous is not None and snapshot.idle > previous.idle:
        return "idle: no subscribers"
    text = f"{snapshot.output_hz:.1f} of {snapshot.input_hz:.1f} Hz"
    if previous is not None and snapshot.out_of_order > previous.out_of_order:
        text += f"; {snapshot.out_of_order} images so far with stamps that went back"
    return text


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
        "out_of_order": str(snapshot.out_of_order),
    }
    values |= {f"dropped_{cause}": str(n) for cause, n in snapshot.drops.items()}
    for stage, (p50, p95, p99) in snapshot.percentiles.items():
        name = stage.removesuffix("_ms")
        values |= {
            f"{name}_p50_ms": f"{p50:.2f}",
            f"{name}_p95_ms": f"{p95:.2f}",
            f"{name}_p99_ms": f"{p99:.2f}",
        }
    if snapshot.health is not None:
        values |= snapshot.health.values()
    values |= snapshot.peers
    return values | {f"fault {k}": v for k, v in snapshot.faults.items()}


class Heartbeat:
    """Publishes /diagnostics from a thread of its own, so that no transition silences it.

    Args:
        node: publishes.
        report: makes the statuses.
        exceptions: counts what goes wrong with that.
    """

    def __init__(
        self, node: Node, report: Callable[[], list[DiagnosticStatus]], exceptions: Exceptions
    ) -> None:
        self._node, self._report, self._exceptions = node, report, exceptions
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
            try:
                message = DiagnosticArray(status=self._report())
                message.header.stamp = self._node.get_clock().now().to_msg()
                self._publisher.publish(message)
            except Exception as error:
                if self._node.context.ok():  # else the context went down under us
                    self._exceptions.add(error, "/diagnostics")
