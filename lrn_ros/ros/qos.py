# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service: what the node offers, and what it asks for given what publishers offer."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def profile(depth: int = 1, *, reliable: bool = True, latched: bool = False) -> QoSProfile:
    """Keep-last profile; latched is ROS 1's word for transient local."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def all_reliable(node: Node, topic: str) -> bool | None:
    """Whether every publisher of a topic offers reliable delivery; None without publishers."""
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return None
    return all(p.qos_profile.reliability == ReliabilityPolicy.RELIABLE for p in publishers)
