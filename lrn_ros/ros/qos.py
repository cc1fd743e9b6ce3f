# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Quality of service: what the node offers, and what it asks for given what publishers offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rclpy.duration import Infinite
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.topic_endpoint_info import TopicEndpointTypeEnum

from lrn_ros.errors import UserError

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

_POLICIES = {
    "history": HistoryPolicy,
    "reliability": ReliabilityPolicy,
    "durability": DurabilityPolicy,
}

__all__ = [
    "PublisherEventCallbacks",
    "SubscriptionEventCallbacks",
    "UnsupportedEventTypeError",
    "all_latched",
    "all_reliable",
    "check_overrides",
    "incompatible_peers",
    "overrides",
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


def check_overrides(given: Mapping[str, Any]) -> None:
    """Check the values of `qos_overrides` parameters; rcl says little of bad ones.

    Args:
        given: name -> value.

    Raises:
        UserError: names the parameter, the value and what is allowed.
    """
    for name, value in given.items():
        policy = name.rsplit(".", 1)[-1]
        if policy == "depth":
            allowed = "a whole number from 1 up"
            is_right = type(value) is int and value > 0
        elif policy in _POLICIES:
            keys = [k for k in _POLICIES[policy].short_keys() if k != "unknown"]
            allowed, is_right = f"one of {', '.join(keys)}", value in keys
        else:
            continue
        if not is_right:
            raise UserError(f"parameter '{name}': {value!r} is not allowed; {allowed}")


def incompatible_peers(ours: Any, peers: Iterable[Any]) -> str:
    """Why some of a topic's peers cannot be connected; empty where all can.

    Args:
        ours: a publisher and its `peers` subscriptions, or the other way round.
        peers: TopicEndpointInfo of the graph.
    """
    reasons = {_incompatibility(ours, peer) for peer in peers} - {""}
    return ", ".join(sorted(reasons))


def _incompatibility(ours: Any, peer: Any) -> str:
    if (expected := _type_name(ours.msg_type)) != peer.topic_type:
        return f"type {peer.topic_type} instead of {expected}"
    profiles = peer.qos_profile, _as_in_graph(ours.qos_profile)
    offers = peer.endpoint_type == TopicEndpointTypeEnum.PUBLISHER
    compatibility, reason = qos_check_compatible(*(profiles if offers else profiles[::-1]))
    if compatibility != QoSCompatibility.ERROR:
        return ""
    faults = [part.strip() for part in reason.split(";")]
    return ", ".join(f.removeprefix("ERROR: ") for f in faults if f.startswith("ERROR"))


def _as_in_graph(qos: QoSProfile) -> QoSProfile:
    """Our own profile with the durations that it leaves to their default: they are infinite."""
    return QoSProfile(
        history=qos.history,
        depth=qos.depth,
        reliability=qos.reliability,
        durability=qos.durability,
        deadline=Infinite,
        lifespan=Infinite,
        liveliness=LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Infinite,
    )


def _type_name(message: type) -> str:
    """A message class's name in the graph, such as sensor_msgs/msg/Image."""
    package, kind, *_ = message.__module__.split(".")
    return f"{package}/{kind}/{message.__name__}"


def reliability_given(node: Node, topic: str) -> bool:
    """Whether the user overrides the reliability of a topic's subscription."""
    return f"qos_overrides.{topic}.subscription.reliability" in node._parameter_overrides


def all_reliable(publishers: Iterable[Any]) -> bool | None:
    """Whether these publishers of the graph all offer reliable delivery; None without any."""
    reliable = [p.qos_profile.reliability == ReliabilityPolicy.RELIABLE for p in publishers]
    return all(reliable) if reliable else None


def all_latched(publishers: Iterable[Any]) -> bool | None:
    """Whether these publishers of the graph all keep their last message for late subscribers.

    A subscription that asks for such messages is not connected to a publisher that keeps none.
    None without any publisher.
    """
    kept = [p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers]
    return all(kept) if kept else None
