# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What players of images share: they wait for the node before the first frame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy

from lrn_ros.errors import RunError
from lrn_ros.ros.qos import profile

_STEADY_S = 1.0  # all must be ready for this long
_UNCONFIGURED_S = 6.0  # a node that is unconfigured for so long has failed to configure


class Player(Node):
    """A node with one image publisher.

    Args:
        name: of this node.
        kind: type of the images.
        topic: where to.
        segmentation: full name of the node to wait for.
        outputs: its outputs that somebody must have subscribed.

    Attributes:
        publisher: of the images.
    """

    def __init__(
        self, name: str, kind: Any, topic: str, segmentation: str, outputs: Sequence[str]
    ) -> None:
        super().__init__(name)
        self._topic, self._segmentation, self._outputs = topic, segmentation, outputs
        self.publisher = self.create_publisher(kind, topic, profile(5))
        self._get_state = self.create_client(GetState, f"{segmentation}/get_state")

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until the node is active, subscribed and recorded, and that for a second.

        Raises:
            RunError: it does not get there within `timeout` seconds, or fails to configure.
        """
        deadline, since, idle_since = time.monotonic() + timeout, None, None
        missing = "nothing was seen of it"
        while time.monotonic() < deadline:
            state = self._state()
            missing = self.missing(state)
            now = time.monotonic()
            since = (since or now) if not missing else None
            unconfigured = state == State.PRIMARY_STATE_UNCONFIGURED
            idle_since = (idle_since or now) if unconfigured else None
            if since and now - since > _STEADY_S:
                return
            if idle_since and now - idle_since > _UNCONFIGURED_S:
                raise RunError(f"{self._segmentation} stays unconfigured; its log says why")
            time.sleep(0.1)
        raise RunError(f"{self._segmentation} not ready within {timeout:.0f} s: {missing}")

    def missing(self, state: int | None) -> str:
        """What is not ready yet, given the node's lifecycle state; empty when all is."""
        if state != State.PRIMARY_STATE_ACTIVE:
            return "it is not active"
        readers = self.get_subscriptions_info_by_topic(self._topic)
        reliable = [r.qos_profile.reliability == ReliabilityPolicy.RELIABLE for r in readers]
        if not any(reliable) or not self.publisher.get_subscription_count():
            return f"it has not subscribed {self._topic} as reliable"
        for name in self._outputs:
            if not self.count_subscribers(f"{self._segmentation}/{name}"):
                return f"nobody records {self._segmentation}/{name}"
        return ""

    def finish(self) -> None:
        """Wait until the last frames have arrived, at most ten seconds."""
        self.publisher.wait_for_all_acked(Duration(seconds=10))

    def _state(self) -> int | None:
        if not self._get_state.service_is_ready():
            return None
        future = self._get_state.call_async(GetState.Request())
        rclpy.spin_until_future_complete(self, future, timeout_sec=2.0)
        if not future.done():
            self._get_state.remove_pending_request(future)
            return None
        answer = future.result()
        return int(answer.current_state.id) if answer is not None else None
