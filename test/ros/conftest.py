# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DDS tests: every module gets a domain of its own, on this machine only, over shared memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lrn_ros.ros.shared_memory import VARIABLES, profile_environment

pytest.importorskip("rclpy")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# As launch and demo do: images larger than Fast DDS's own 512 KB segment are lost otherwise.
_PROFILE = Path(__file__).parents[2] / "config" / "fastdds_shared_memory.xml"
os.environ.update(
    profile_environment(_PROFILE, {k: v for k, v in os.environ.items() if k not in VARIABLES})
)


@pytest.fixture(scope="module")
def domain() -> int:
    """A DDS domain id."""
    from harness import new_domain

    return new_domain()


@pytest.fixture(scope="module")
def client(domain: int) -> Iterator[object]:
    """A Client in the module's domain."""
    from harness import Client

    client = Client(domain)
    yield client
    client.close()


@pytest.fixture
def start_node(tmp_path: Path, domain: int) -> Iterator[Callable[..., object]]:
    """Start segment_node with command-line arguments; it is ended with the test."""
    from harness import NodeProcess

    started: list[NodeProcess] = []

    def start(*arguments: str) -> NodeProcess:
        node = NodeProcess(tmp_path / f"node{len(started)}.log", domain, *arguments)
        started.append(node)
        return node

    yield start
    for node in started:
        node.stop()
