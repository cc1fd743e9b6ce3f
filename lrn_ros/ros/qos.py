# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service: what the node offers, and what it asks for given what publishers offer."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )
except ImportError:  # Humble
    from rclpy.qos_event import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )

__all__ = [
    "PublisherEventCallbacks",
    "SubscriptionEventCallbacks",
    "UnsupportedEventTypeError",
    "all_reliable",
    "overrides",
    "policy_name",
    "profile",
    "reliability_given",
]


def profile(depth: int = 1, *, reliable: bool = True, latched: bool = False) -> QoSProfile:
    """Keep-last profile; latched is ROS 1's word for transient local."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def overrides(*, reliability: bool = True) -> QoSOverridingOptions:
    """The `qos_overrides` parameters that a publisher or subscription takes.

    Args:
        reliability: False for a subscription that follows its publishers: as a declared parameter
            its reliability could not change any more.
    """
    kinds = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.DURABILITY]
    return QoSOverridingOptions(kinds + [QoSPolicyKind.RELIABILITY] * reliability)


def policy_name(event: Any) -> str:
    """The policy of an event of incompatible quality of service, such as "reliability"."""
    name = str(getattr(event.last_policy_kind, "name", event.last_policy_kind)).lower()
    return name.removeprefix("rmw_qos_policy_")


def fits(offered: QoSProfile, requested: QoSProfile) -> bool:
    """Whether a publisher's offer meets a subscription's request."""
    return qos_check_compatible(offered, requested)[0] != QoSCompatibility.ERROR


def reliability_given(node: Node, topic: str) -> bool:
    """Whether the user overrides the reliability of a topic's subscription."""
    return f"qos_overrides.{topic}.subscription.reliability" in node._parameter_overrides


def all_reliable(node: Node, topic: str) -> bool | None:
    """Whether every publisher of a topic offers reliable delivery; None without publishers."""
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return None
    return all(p.qos_profile.reliability == ReliabilityPolicy.RELIABLE for p in publishers)
