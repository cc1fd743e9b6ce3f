# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service: what the node offers, and what it asks for given what publishers offer."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions


def profile(depth: int = 1, *, reliable: bool = True, latched: bool = False) -> QoSProfile:
    """Keep-last profile; latched is ROS 1's word for transient local."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def overrides(node: Node, topic: str) -> QoSOverridingOptions:
    """The `qos_overrides` parameters that a subscription or publisher of a topic takes.

    Reliability only where the user gives it: as a declared parameter it could not follow the
    publishers any more.
    """
    kinds = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.DURABILITY]
    if reliability_given(node, topic):
        kinds.append(QoSPolicyKind.RELIABILITY)
    return QoSOverridingOptions(kinds)


def reliability_given(node: Node, topic: str) -> bool:
    """Whether the user overrides the reliability of a topic's subscription."""
    return f"qos_overrides.{topic}.subscription.reliability" in node._parameter_overrides


def all_reliable(node: Node, topic: str) -> bool | None:
    """Whether every publisher of a topic offers reliable delivery; None without publishers."""
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return None
    return all(p.qos_profile.reliability == ReliabilityPolicy.RELIABLE for p in publishers)
