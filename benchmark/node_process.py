# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node in a process of its own, and a peer in this one that talks to it over DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from lrn_ros.ros.processes import environment

Peer = TypeVar("Peer", bound=Node)
Process = subprocess.Popen[bytes]


@contextmanager
def running_node(
    make: Callable[[Any], Peer], parameters: Mapping[str, str]
) -> Iterator[tuple[Peer, Process]]:
    """Start the node, and a peer whose callbacks run in a thread; end both.

    Args:
        make: makes the peer, from its rclpy context.
        parameters: of the node, as text; it starts by itself.
    """
    # For this process too: a sender needs the DDS profile.
    with patch.dict(os.environ, environment(None)):
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=int(os.environ["ROS_DOMAIN_ID"]))
        peer = make(context)
        given = {"autostart": "true", **parameters}
        pairs = [a for name, value in given.items() for a in ("-p", f"{name}:={value}")]
        command = [sys.executable, "-m", "lrn_ros.ros.node", "--ros-args", *pairs]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    spinner = threading.Thread(target=_spin, args=(peer, context), daemon=True)
    spinner.start()
    try:
        yield peer, process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            rclpy.shutdown(context=context)
            spinner.join()
            peer.destroy_node()


def until(condition: Callable[[], Any], process: Process, what: str, timeout_s: float) -> None:
    """Wait for a condition.

    Raises:
        SystemExit: the node has ended, or it takes longer.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if process.poll() is not None:
            raise SystemExit(f"the node ended with status {process.poll()}")
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.01)


def _spin(peer: Node, context: Any) -> None:
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(peer)
    try:
        while context.ok():
            executor.spin_once(timeout_sec=0.1)
    except ExternalShutdownException:
        pass
