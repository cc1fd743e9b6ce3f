# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""No client can break the node: wrong transitions, storms of calls, signals, endless cycles."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import NODE, Client, NodeProcess, image_message, new_domain, reliable, stamp_of, wait
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from type_description_interfaces.srv import GetTypeDescription

from lrn_ros.ros.parameters import SPECS

RGB = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(new_domain())
    yield client
    client.close()


@pytest.fixture
def start(client: Client, tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    started: list[NodeProcess] = []

    def call(model: Path | str, *arguments: str) -> NodeProcess:
        log = tmp_path / f"node{len(started)}.log"
        cache = f"engine_cache_dir:={tmp_path / 'cache'}"
        node = NodeProcess(log, client.domain, "-p", f"model:={model}", "-p", cache, *arguments)
        started.append(node)
        return node

    yield call
    for node in started:
        node.stop()


def change(client: Client, number: int = 0, label: str = "", timeout: float = 60.0) -> bool:
    request = ChangeState.Request(transition=Transition(id=number, label=label))
    return bool(client.call(ChangeState, "change_state", request, timeout).success)


def answers(client: Client, camera: Any, masks: list[Image]) -> None:
    """Send frames until one is answered."""
    sent: set[int] = set()

    def answered() -> bool:
        sent.add(stamp := time.time_ns())
        camera.publish(image_message(RGB, "rgb8", stamp))
        time.sleep(0.1)
        return any(stamp_of(m) in sent for m in list(masks))

    wait(answered, 30, "a frame is answered")


def test_transitions_that_the_state_does_not_have(
    client: Client, start: Callable[..., NodeProcess], random_model: Path
) -> None:
    node, diagnostics = start(random_model), client.diagnostics()
    wrong = [Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_CLEANUP, 10, 50, 77, 255]
    assert not any(change(client, number, timeout=10) for number in wrong)
    assert not change(client, label="fly") and client.state() == "unconfigured"
    assert change(client, Transition.TRANSITION_CONFIGURE)
    assert not change(client, Transition.TRANSITION_CONFIGURE) and client.state() == "inactive"
    assert node.process.poll() is None and "Traceback" not in node.text()
    if "Unable to start transition" in node.text():  # rclpy after Jazzy refuses and logs it itself
        assert node.text().count("Unable to start transition") == len(wrong) + 1
    else:
        kind = f"exception service {NODE}/change_state: RCLError:"

        def counted() -> int:
            last = diagnostics[-1].status[0].values if diagnostics else []
            return sum(int(v.value) for v in last if v.key.startswith(kind))

        wait(lambda: counted() == len(wrong) + 1, 5, "every one is counted")
        assert diagnostics[-1].status[0].level != b"\0"
        assert node.text().count("the node goes on") == 1, "said once"
    assert node.stop() < 5 and node.process.returncode == 0


@pytest.mark.parametrize(
    ("steps", "number"),
    [
        (("configure", "cleanup"), signal.SIGINT),
        (("configure", "activate", "deactivate", "cleanup"), signal.SIGTERM),
        (("configure", "activate", "shutdown"), signal.SIGTERM),
        (("configure", "shutdown"), signal.SIGINT),
    ],
)
def test_a_signal_after_the_model_was_released(
    client: Client, start: Callable[..., NodeProcess], steps: tuple[str, ...], number: int
) -> None:
    """As a lifecycle manager ends a node. OpenVINO's signal stack went with its model."""
    pytest.importorskip("openvino")
    node = start("ndnet45_camvid", "-p", "backend:=openvino")
    assert all(client.transition(step) for step in steps)
    node.stop(number)
    assert node.process.returncode == 0, node.text()


class Storm:
    """Random calls of every service of the node, from a seed."""

    def __init__(self, client: Client, seed: int) -> None:
        self._client, self._random = client, random.Random(seed)
        self._calls: list[tuple[Any, str, Callable[[], Any]]] = [
            (ChangeState, "change_state", self._change),
            (GetState, "get_state", GetState.Request),
            (GetAvailableStates, "get_available_states", GetAvailableStates.Request),
            (GetAvailableTransitions, "get_available_transitions", GetAvailableTransitions.Request),
            (GetAvailableTransitions, "get_transition_graph", GetAvailableTransitions.Request),
            (SetParameters, "set_parameters", self._set),
            (SetParametersAtomically, "set_parameters_atomically", self._set_all),
            (GetParameters, "get_parameters", lambda: GetParameters.Request(names=self._names())),
            (
                GetParameterTypes, "get_parameter_types",
                lambda: GetParameterTypes.Request(names=self._names()),
            ),
            (
                DescribeParameters, "describe_parameters",
                lambda: DescribeParameters.Request(names=self._names()),
            ),
            (
                ListParameters, "list_parameters",
                lambda: ListParameters.Request(prefixes=self._names(), depth=self._number(3)),
            ),
            (GetTypeDescription, "get_type_description", self._describe),
        ]  # fmt: skip
        self._clients = {
            name: client.node.create_client(kind, f"{NODE}/{name}") for kind, name, _ in self._calls
        }
        for name, service in self._clients.items():
            assert service.wait_for_service(20), name

    def call(self, count: int) -> int:
        """So many calls, some at once; how many were answered."""
        answered = 0
        while count > 0:
            futures = []
            for _ in range(min(count, self._random.choice((1, 1, 2, 5)))):
                _, name, make = self._random.choice([*self._calls, *self._calls[:1] * 3])
                futures.append((name, self._clients[name].call_async(make())))
            for name, future in futures:
                wait(future.done, 60, f"{name} answers")
                answered += future.result() is not None
            count -= len(futures)
        return answered

    def _number(self, most: int) -> int:
        return self._random.randint(0, most)

    def _change(self) -> Any:
        shutdown = (5, 6, 7, 8)  # would end the storm; see below
        numbers = [n for n in (0, 1, 2, 3, 4, 10, 11, 30, 60, 99, 255) if n not in shutdown]
        weights = [6 if n in (1, 2, 3, 4) else 1 for n in numbers]
        labels = ["", "", "", "configure", "activate", "no such label", "\u00e4"]
        number = self._random.choices(numbers, weights)[0]
        label = self._random.choice(labels)
        return ChangeState.Request(transition=Transition(id=number, label=label))

    def _names(self) -> list[str]:
        names = [*SPECS, "use_sim_time", "no_such", "", "qos_overrides./image.depth"]
        return [self._random.choice(names) for _ in range(self._number(3))]

    def _parameters(self) -> list[Any]:
        values = [
            True,
            3,
            -1,
            0.5,
            1e308,
            "text",
            "",
            [1, 2],
            ["a", "b"],
            [0.5],
            [b"a", b"b"],
            None,
        ]
        return [
            Parameter(name, value=self._random.choice(values)).to_parameter_msg()
            for name in self._names()
            if name not in ("use_sim_time", "model", "engine_cache_dir", "lazy")
        ]

    def _set(self) -> Any:
        return SetParameters.Request(parameters=self._parameters())

    def _set_all(self) -> Any:
        return SetParametersAtomically.Request(parameters=self._parameters())

    def _describe(self) -> Any:
        names = ["sensor_msgs/msg/Image", "std_msgs/msg/String", "no/such/Type", ""]
        hashes = ["", "RIHS01_" + "0" * 64, "nonsense"]
        return GetTypeDescription.Request(
            type_name=self._random.choice(names), type_hash=self._random.choice(hashes),
            include_type_sources=bool(self._number(1)),
        )  # fmt: skip


def test_a_storm_of_calls(
    client: Client, start: Callable[..., NodeProcess], random_model: Path
) -> None:
    node, diagnostics = start(random_model, "-p", "backend:=torch"), client.diagnostics()
    assert Storm(client, seed=5).call(2000) == 2000
    assert node.process.poll() is None and "Traceback" not in node.text()
    state = client.state()
    count = len(diagnostics)
    wait(lambda: len(diagnostics) > count + 1, 5, "the heartbeat goes on")
    assert {v.key: v.value for v in diagnostics[-1].status[0].values}["state"] == state
    for label in {"active": ("deactivate", "cleanup"), "inactive": ("cleanup",)}.get(state, ()):
        assert client.transition(label)
    for name, spec in SPECS.items():  # what the storm has set may be no use together
        if name not in ("model", "autostart", "engine_cache_dir"):
            client.set_parameter(name, spec.default)
    assert client.set_parameter("backend", "torch").successful
    assert client.transition("configure") and client.transition("activate")
    masks = client.collect(Image, f"{NODE}/mask")
    camera = client.node.create_publisher(Image, "/image", reliable(1))
    answers(client, camera, masks)
    assert client.transition("shutdown") and client.state() == "finalized"
    assert node.stop() < 5 and node.process.returncode == 0


def test_cycles_do_not_grow(client: Client, start: Callable[..., NodeProcess]) -> None:
    """One loaded model takes 16 MB: of 12 of them not even one may be left."""
    pytest.importorskip("openvino")
    node = start("ndnet45_camvid", "-p", "backend:=openvino", "-p", "threads:=1")

    def cycle(times: int) -> int:
        for _ in range(times):
            for label in ("configure", "activate", "deactivate", "cleanup"):
                assert client.transition(label), node.text()
        return resident_kb(node.process.pid)

    before = cycle(8)  # the first ones fill caches
    grown = cycle(12) - before
    assert grown < 16_000, "kilobytes"
    assert len(list(Path(f"/proc/{node.process.pid}/task").iterdir())) < 40, "threads"
    node.stop()
    assert node.process.returncode == 0


def resident_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))
