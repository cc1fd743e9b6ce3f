#!/usr/bin/env python3
# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a lifecycle manager: walks a node through its life as Nav2's does, then ends.

Like Nav2's manager it reads the parameters `node_names`, `autostart` and `bond_timeout`, asks for
one transition after the other, and believes an answer only if `get_state` then agrees. It walks
start-up, pause, resume, reset, start-up again and shutdown. Exit status 0: all succeeded.
"""

from __future__ import annotations

import sys
from typing import Any

import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
SHUTDOWN = Transition.TRANSITION_UNCONFIGURED_SHUTDOWN
GOAL = {
    CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}
LIFE = (
    *(CONFIGURE, ACTIVATE),  # start-up
    *(DEACTIVATE, ACTIVATE),  # pause and resume
    *(DEACTIVATE, CLEANUP),  # reset
    *(CONFIGURE, ACTIVATE),  # start-up
    *(DEACTIVATE, CLEANUP, SHUTDOWN),  # shutdown
)
TIMEOUT_S = 60.0


class Manager(Node):
    """Its clients belong to the namespace that it is in."""

    def __init__(self) -> None:
        super().__init__("lifecycle_manager")
        self.names = list(self.declare_parameter("node_names", [""]).value)
        self.autostart = bool(self.declare_parameter("autostart", False).value)
        self.bond_timeout = float(self.declare_parameter("bond_timeout", 4.0).value)

    def call(self, kind: Any, service: str, request: Any) -> Any:
        """The answer of a service; a TimeoutError names the one that is not there."""
        client = self.create_client(kind, service)
        if not client.wait_for_service(TIMEOUT_S):
            raise TimeoutError(f"{client.srv_name} is not offered")
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self, future, timeout_sec=TIMEOUT_S)
        self.destroy_client(client)
        if not future.done():
            raise TimeoutError(f"{service} does not answer")
        return future.result()

    def state(self, name: str) -> State:
        """The state that the node says it is in."""
        return self.call(GetState, f"{name}/get_state", GetState.Request()).current_state

    def change(self, name: str, transition: int) -> bool:
        """Whether the node has made a transition and says so."""
        request = ChangeState.Request(transition=Transition(id=transition))
        done = self.call(ChangeState, f"{name}/change_state", request).success
        state = self.state(name)
        right = done and state.id == GOAL[transition]
        print(f"{name}: transition {transition}: {'now' if right else 'FAILED:'} {state.label}")
        return right


def main() -> int:
    """Walk every node through its life."""
    rclpy.init(args=sys.argv)
    manager = Manager()
    if not manager.autostart or manager.bond_timeout > 0:
        given = f"autostart {manager.autostart}, bond_timeout {manager.bond_timeout}"
        for name in manager.names:
            print(f"{name}: {manager.state(name).label}, {given}", flush=True)
        return 3
    right = all(manager.change(name, step) for step in LIFE for name in manager.names)
    print("managed: every transition succeeded" if right else "managed: FAILED", flush=True)
    rclpy.shutdown()
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
