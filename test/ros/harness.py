# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Starts segment_node as a process of its own and talks to it over real DDS."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

NODE = "/segmentation"
# Domains up to 101 keep Fast DDS's ports below the ephemeral range.
_DOMAINS = itertools.cycle(range(1 + os.getpid() % 50, 102))


def new_domain() -> int:
    """A DDS domain id that no other test of this run has now."""
    return next(_DOMAINS)


def reliable(depth: int = 10) -> QoSProfile:
    """A reliable volatile profile."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)


def best_effort(depth: int = 10) -> QoSProfile:
    """A best-effort volatile profile."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


def latched() -> QoSProfile:
    """A reliable transient-local profile."""
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


class NodeProcess:
    """segment_node in a process of its own; its output goes to a file.

    Args:
        log: that file.
        domain: ROS_DOMAIN_ID.
        arguments: of the node, behind --ros-args.
        prefix: a command that starts it.
    """

    def __init__(self, log: Path, domain: int, *arguments: str, prefix: Sequence[str] = ()) -> None:
        self.log = log
        environment = dict(os.environ, ROS_DOMAIN_ID=str(domain), OMP_NUM_THREADS="1")
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        command = [*prefix, sys.executable, "-m", "lrn_ros.ros.node", "--ros-args", *arguments]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    def text(self) -> str:
        """What the node has said so far."""
        return self.log.read_text(errors="replace")

    def stop(self, number: int = signal.SIGINT, timeout: float = 10.0) -> float:
        """Send a signal and wait for the end; returns the seconds it took."""
        start = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        return time.monotonic() - start


class Client:
    """A node of the test's own in this process, spun by a thread."""

    def __init__(self, domain: int) -> None:
        self.domain, self.context = domain, rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("test_client", context=self.context)
        self._services: dict[str, Any] = {}
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while self.context.ok():
                self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        """End the thread and leave the domain."""
        rclpy.shutdown(context=self.context)
        self._thread.join()
        self.node.destroy_node()

    def collect(self, kind: Any, topic: str, qos: QoSProfile | None = None) -> list[Any]:
        """Subscribe; the returned list grows with the messages."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, qos or reliable())
        return messages

    def call(self, kind: Any, name: str, request: Any, timeout: float = 60.0) -> Any:
        """Call a service of the node and wait for the answer."""
        if name not in self._services:  # a new one for every call would be discovered every time
            self._services[name] = self.node.create_client(kind, f"{NODE}/{name}")
        client = self._services[name]
        assert client.wait_for_service(timeout), f"{name} is not offered"
        future = client.call_async(request)
        wait(future.done, timeout, f"{name} answers")
        return future.result()

    def state(self) -> str:
        """Label of the node's lifecycle state."""
        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def transition(self, label: str) -> bool:
        """Ask for a transition; whether it succeeded."""
        request = ChangeState.Request(transition=Transition(label=label))
        return bool(self.call(ChangeState, "change_state", request).success)

    def set_parameter(self, name: str, value: Any) -> Any:
        """Set a parameter; returns the SetParametersResult."""
        request = SetParameters.Request()
        request.parameters = [Parameter(name, value=value).to_parameter_msg()]
        return self.call(SetParameters, "set_parameters", request).results[0]

    def get_parameter(self, name: str) -> Any:
        """A parameter's value message."""
        request = GetParameters.Request(names=[name])
        return self.call(GetParameters, "get_parameters", request).values[0]

    def wait_active(self, timeout: float = 60.0) -> None:
        """Wait until the node is active."""
        wait(lambda: self.state() == "active", timeout, "the node is active")

    def diagnostics(self) -> list[DiagnosticArray]:
        """Collect /diagnostics."""
        return self.collect(DiagnosticArray, "/diagnostics")


def wait(condition: Callable[[], Any], timeout: float, what: str) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it did not within `timeout` seconds; `what` names it.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.02)


def image_message(array: Any, encoding: str, stamp_ns: int, frame_id: str = "camera") -> Image:
    """An Image message of a uint8 array."""
    message = Image(height=array.shape[0], width=array.shape[1], encoding=encoding)
    message.step = array.strides[0]
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message.header.frame_id = frame_id
    message.data.frombytes(array.tobytes())
    return message


def stamp_of(message: Any) -> int:
    """A message's stamp in nanoseconds."""
    return int(message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec)
