# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node in a process of its own, and a peer in this one that talks to it over DDS."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from lrn_ros.errors import RunError
from lrn_ros.play.processes import ProcessGroup, environment, node_arguments
from lrn_ros.ros.parameters import SPECS

Peer = TypeVar("Peer", bound=Node)


@contextmanager
def running_node(
    make: Callable[[Any], Peer], parameters: Mapping[str, str]
) -> Iterator[tuple[Peer, ProcessGroup, subprocess.Popen[bytes]]]:
    """Start the node, and a peer whose callbacks run in a thread; end both.

    Args:
        make: makes the peer, from its rclpy context.
        parameters: of the node, as text; it starts by itself.

    Yields:
        The peer; the node as a family of one, and its process.

    Raises:
        SystemExit: the node does not end as it should.
    """
    env = environment(None)
    arguments = node_arguments({"model": SPECS["model"].default, **parameters}, {})
    with tempfile.TemporaryDirectory() as logs:
        with patch.dict(os.environ, env):  # for this process too: a sender needs the DDS profile
            context = rclpy.Context()
            rclpy.init(context=context, domain_id=int(env["ROS_DOMAIN_ID"]))
            peer = make(context)
        family = ProcessGroup(env, Path(logs))
        process = family.start("node", arguments)
        spinner = threading.Thread(target=_spin, args=(peer, context), daemon=True)
        spinner.start()
        try:
            yield peer, family, process
        finally:
            family.stop()
            rclpy.shutdown(context=context)
            spinner.join()
            peer.destroy_node()
        if process.returncode:
            raise SystemExit(f"the node ended with status {process.returncode}")


def until(condition: Callable[[], Any], family: ProcessGroup, what: str, timeout_s: float) -> None:
    """Wait for a condition.

    Raises:
        SystemExit: the node has ended, or it takes longer.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        try:
            family.check()
        except RunError as error:
            raise SystemExit(str(error)) from error
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
