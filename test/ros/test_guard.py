# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An executor survives its callbacks, with real rclpy entities in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from harness import new_domain, wait
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import SetBool

from lrn_ros.ros.guard import Exceptions, GuardedExecutor, one_line


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=new_domain())
    yield context
    rclpy.try_shutdown(context=context)


class Rig:
    """A guarded node and one beside it, spun by turns."""

    def __init__(self, context: rclpy.Context) -> None:
        self.said: list[str] = []
        self.exceptions = Exceptions(self.said.append)
        self.node = rclpy.create_node("guarded", context=context)
        self.other = rclpy.create_node("other", context=context)
        self._context = context

    def start(self) -> None:
        self.guarded = GuardedExecutor(self.exceptions, self._context)
        self.guarded.add_node(self.node)
        self.plain = SingleThreadedExecutor(context=self._context)
        self.plain.add_node(self.other)

    def until(self, condition: Callable[[], Any]) -> None:
        def spun() -> Any:
            self.guarded.spin_once(timeout_sec=0.02)
            self.plain.spin_once(timeout_sec=0.02)
            return condition()

        wait(spun, 20, "it happens")


@pytest.fixture
def rig(context: rclpy.Context) -> Rig:
    return Rig(context)


def fail(*arguments: Any) -> Any:
    raise RuntimeError("broken, at /source/file.c:12")


def test_a_service_that_raises_answers_with_its_default(rig: Rig) -> None:
    rig.node.create_service(SetBool, "broken", fail)
    rig.node.create_service(SetBool, "sound", lambda q, a: SetBool.Response(success=True))
    rig.start()
    for name, success in (("broken", False), ("sound", True), ("broken", False)):
        client = rig.other.create_client(SetBool, name)
        rig.until(client.service_is_ready)
        future = client.call_async(SetBool.Request())
        rig.until(future.done)
        assert future.result().success is success
    assert rig.exceptions.counts() == {"service broken: RuntimeError: broken": 2}
    assert len(rig.said) == 1 and rig.said[0].startswith("service broken: RuntimeError: broken (")
    assert rig.exceptions.recent() == "service broken: RuntimeError: broken"


def test_parameters_that_raise_are_refused_one_by_one(rig: Rig) -> None:
    """A type that does not exist: a client that reads the first result finds it."""
    rig.node.declare_parameter("sound", 1)
    rig.start()
    odd = ParameterMessage(name="odd", value=ParameterValue(type=99))
    sound = Parameter("sound", value=2).to_parameter_msg()
    for kind, name in (
        (SetParameters, "set_parameters"),
        (SetParametersAtomically, "set_parameters_atomically"),
    ):
        client = rig.other.create_client(kind, f"guarded/{name}")
        rig.until(client.service_is_ready)
        future = client.call_async(kind.Request(parameters=[sound, odd, odd]))
        rig.until(future.done)
        answer = future.result()
        results = answer.results if kind is SetParameters else [answer.result]
        assert [r.successful for r in results] == [True, False, False][-len(results) :]
        assert results[-1].reason == "99 is not a valid Parameter.Type"


def test_timers_and_subscriptions_that_raise_go_on(rig: Rig) -> None:
    got: list[str] = []

    def take(message: String) -> None:
        got.append(message.data)
        raise ValueError(f"cannot take {message.data}")

    rig.node.create_timer(0.01, fail)
    rig.node.create_subscription(String, "topic", take, 10)
    publisher = rig.other.create_publisher(String, "topic", 10)
    rig.start()
    rig.until(lambda: publisher.get_subscription_count() > 0)
    for text in "abc":
        publisher.publish(String(data=text))
    rig.until(lambda: got == ["a", "b", "c"])
    counts = rig.exceptions.counts()
    assert counts["a callback: RuntimeError: broken"] > 3
    assert [counts[f"a callback: ValueError: cannot take {t}"] for t in "abc"] == [1, 1, 1]


def test_what_cannot_even_be_taken_is_waited_for_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rclpy leaves its callback group locked: without care the whole node would be deaf."""
    got: list[str] = []
    rig.node.create_subscription(String, "topic", lambda m: got.append(m.data), 10)
    publisher = rig.other.create_publisher(String, "topic", 10)
    rig.start()
    rig.until(lambda: publisher.get_subscription_count() > 0)
    take = rig.guarded._take_subscription

    def take_badly(subscription: Node) -> Any:
        take(subscription)
        raise RuntimeError("cannot be deserialized")

    monkeypatch.setattr(rig.guarded, "_take_subscription", take_badly)
    publisher.publish(String(data="lost"))
    rig.until(rig.exceptions.counts)
    monkeypatch.undo()
    publisher.publish(String(data="heard"))
    rig.until(lambda: got)
    assert got == ["heard"]


def test_kinds_do_not_pile_up() -> None:
    said: list[str] = []
    exceptions = Exceptions(said.append)
    for i in range(100):
        exceptions.add(ValueError(f"number {i}"), "here")
    assert len(exceptions.counts()) == 33 == len(said)
    assert exceptions.counts()["other exceptions"] == 68


def test_it_is_recent_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = Exceptions(str)
    assert exceptions.recent() == ""
    exceptions.add(ValueError(), "here")
    assert exceptions.recent() == "here: ValueError: without a message"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)
    assert exceptions.recent() == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Transition is not registered., at /project/src/rcl_lifecycle.c:355",
         "Transition is not registered."),
        ("Couldn't parse: '-r a b', at ./src/arguments.c:1219, at ./src/arguments.c:380",
         "Couldn't parse: '-r a b'"),
        ("Invalid name\n  'a b'\n    ^", "Invalid name 'a b' ^"),
    ],
)  # fmt: skip
def test_one_line_without_rcl_s_places(text: str, line: str) -> None:
    assert one_line(RuntimeError(text)) == line
