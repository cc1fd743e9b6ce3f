# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The quality of service that the node asks for, for publishers as the graph describes them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointTypeEnum
from sensor_msgs.msg import Image

from lrn_ros.ros.qos import _as_in_graph, all_latched, all_reliable, incompatible_peers, profile

IMAGE = "sensor_msgs/msg/Image"


def endpoint(qos: Any, kind: str = IMAGE, publisher: bool = True) -> Any:
    types = TopicEndpointTypeEnum
    which = types.PUBLISHER if publisher else types.SUBSCRIPTION
    return SimpleNamespace(qos_profile=_as_in_graph(qos), topic_type=kind, endpoint_type=which)


RELIABLE, BEST_EFFORT = profile(), profile(reliable=False)
LATCHED = profile(latched=True)


@pytest.mark.parametrize(
    ("offers", "reliable", "latched"),
    [
        ([], None, None),
        ([RELIABLE], True, False),
        ([RELIABLE, BEST_EFFORT], False, False),
        ([BEST_EFFORT], False, False),
        ([LATCHED], True, True),
        ([LATCHED, RELIABLE], True, False),
    ],
)
def test_a_subscription_asks_for_what_all_offer(
    offers: list[Any], reliable: bool | None, latched: bool | None
) -> None:
    publishers = [endpoint(qos) for qos in offers]
    assert all_reliable(publishers) is reliable
    assert all_latched(publishers) is latched


def test_a_profile_keeps_the_last() -> None:
    assert (profile(3).depth, profile().depth) == (3, 1)
    assert profile().reliability == ReliabilityPolicy.RELIABLE
    assert profile(latched=True).durability == DurabilityPolicy.TRANSIENT_LOCAL


@pytest.mark.parametrize(
    ("ours", "peer", "reason"),
    [
        (BEST_EFFORT, endpoint(RELIABLE), ""),
        (BEST_EFFORT, endpoint(BEST_EFFORT), ""),
        (RELIABLE, endpoint(BEST_EFFORT), "Best effort publisher and reliable subscription"),
        (RELIABLE, endpoint(LATCHED, publisher=False),
         "Volatile publisher and transient local subscription"),
        (RELIABLE, endpoint(RELIABLE, "sensor_msgs/msg/CompressedImage"),
         f"type sensor_msgs/msg/CompressedImage instead of {IMAGE}"),
    ],
)  # fmt: skip
def test_why_a_peer_cannot_be_connected(ours: Any, peer: Any, reason: str) -> None:
    subscription = SimpleNamespace(msg_type=Image, qos_profile=ours)
    assert incompatible_peers(subscription, [peer, peer]) == reason
