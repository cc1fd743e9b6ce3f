# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node object and its arguments, in this process and without a client."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rclpy
from harness import new_domain
from lifecycle_msgs.msg import State
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from lrn_ros.ros.guard import GuardedExecutor
from lrn_ros.ros.node import _Stop
from lrn_ros.ros.segmentation_node import SegmentationNode, unknown_parameters

FAILURE, SUCCESS = TransitionCallbackReturn.FAILURE, TransitionCallbackReturn.SUCCESS


@pytest.fixture(scope="module")
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=new_domain())
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def make(context: rclpy.Context, random_model: Path) -> Iterator[Callable[..., SegmentationNode]]:
    """Make a node on the torch backend with arguments as behind --ros-args."""
    made = []

    def call(*arguments: str) -> SegmentationNode:
        own = ["-p", f"model:={random_model}", "-p", "backend:=torch", *arguments]
        made.append(
            SegmentationNode(
                context=context, cli_args=["--ros-args", *own], use_global_arguments=False
            )
        )
        return made[-1]

    yield call
    for node in made:
        node.destroy_node()


def said(node: SegmentationNode) -> str:
    """What /diagnostics says of the node."""
    return str(node._report()[0].message)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("model:=nonesuch", "unknown model 'nonesuch'"),
        ("backend:=openvino", "has no .onnx file; write it with: lrn export"),
        ("overlay_alpha:=high", "'overlay_alpha': 'high' is not allowed"),
        ("network_size:=[100, 100]", "would work"),
        ("cameras:=[a, a]", "the prefixes must differ"),
        ("threads:=-1", "a whole number"),
        ("autostart:=maybe", "'autostart': 'maybe' is not allowed; true or false"),
        # Of rclpy's own parameters, which would end the process.
        ("use_sim_time:=maybe", "'use_sim_time': 'maybe' is not allowed; true or false"),
        ("start_type_description_service:=3", "3 is not allowed; true or false"),
        ("qos_overrides./image.subscription.depth:=-1", "-1 is not allowed; a whole number from 1"),
        ("qos_overrides./segmentation/mask.publisher.durability:=reliable", "one of system_def"),
    ],
)
def test_bad_values_fail_configure(
    make: Callable[..., SegmentationNode], argument: str, says: str
) -> None:
    node = make("-p", argument)
    assert node.trigger_configure() == FAILURE
    assert said(node).startswith("configure failed: ") and says in said(node)
    assert node._state_machine.current_state[0] == State.PRIMARY_STATE_UNCONFIGURED


def test_a_right_value_mends_a_wrong_override(make: Callable[..., SegmentationNode]) -> None:
    node = make("-p", "use_sim_time:=perhaps")
    assert node.trigger_configure() == FAILURE
    assert node.set_parameters([Parameter("use_sim_time", value=False)])[0].successful
    assert node.trigger_configure() == SUCCESS


def test_label_maps_by_name_and_by_path(make: Callable[..., SegmentationNode]) -> None:
    node = make("-p", "label_map:=nonesuch")
    assert node.trigger_configure() == FAILURE and "'nonesuch' is unknown" in said(node)
    (refused,) = node.set_parameters([Parameter("label_map", value="/tmp/own.yaml")])
    assert not refused.successful and "at process start only" in refused.reason
    assert node.set_parameters([Parameter("label_map", value="drivable")])[0].successful
    assert node.trigger_configure() == SUCCESS


@pytest.mark.parametrize("text", ['"true"', "'True '", "true"])
def test_simulated_time_as_text(make: Callable[..., SegmentationNode], text: str) -> None:
    assert make("-p", f"use_sim_time:={text}").get_parameter("use_sim_time").value is True


@pytest.mark.parametrize(
    ("rules", "topic"),
    [
        (["~/mask:=/image"], "/image"),
        (["image:=~/picture"], "/segmentation/camera_info"),
        (["~/camera_info:=/camera_info"], "/camera_info"),
    ],
)
def test_outputs_that_would_be_inputs_are_refused(
    make: Callable[..., SegmentationNode], rules: list[str], topic: str
) -> None:
    node = make(*(word for rule in rules for word in ("-r", rule)))
    assert node.trigger_configure() == FAILURE
    assert f"{topic}: the node would read what it publishes there itself" in said(node)


def test_autostart_as_text(context: rclpy.Context, make: Callable[..., SegmentationNode]) -> None:
    """Launch files often write a flag in quotes."""
    node = make("-p", 'autostart:="true"')
    executor = GuardedExecutor(node.exceptions, context)
    executor.add_node(node)
    for _ in range(50):
        if said(node) == "active":
            break
        executor.spin_once(0.1)
    assert said(node) == "active"
    executor.remove_node(node)


def test_robots_and_cameras_are_told_apart(make: Callable[..., SegmentationNode]) -> None:
    front, rear = make("-r", "__ns:=/front"), make("-r", "__ns:=/rear", "-p", "cameras:=[left]")
    for node in (front, rear):
        assert node.trigger_configure() == SUCCESS
    identities = [status.hardware_id for node in (front, rear) for status in node._report()]
    cameras = ["/front/segmentation camera", "/rear/segmentation left"]
    assert identities == ["/front/segmentation", cameras[0], "/rear/segmentation", cameras[1]]


@pytest.mark.parametrize("earlier", [False, True])
def test_a_signal_ends_what_waits_for_a_backend(
    make: Callable[..., SegmentationNode], monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    """A backend that hangs in a frame, and a signal that comes while or just before one waits."""
    node, stop = make(), _Stop()
    stop.starting, stop.is_interruptible = False, lambda: node.is_interruptible
    node.is_to_end = lambda: stop.asked
    before = signal.signal(signal.SIGINT, stop)
    timer = threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT])
    try:
        assert node.trigger_configure() == SUCCESS and node.trigger_activate() == SUCCESS
        monkeypatch.setattr(node._worker, "_busy", True)
        if earlier:
            signal.raise_signal(signal.SIGINT)
        else:
            timer.start()
        with pytest.raises(KeyboardInterrupt):
            node.trigger_deactivate()
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("failed", [False, True])
def test_how_to_go_on_is_said_unless_configure_has_failed(
    context: rclpy.Context,
    make: Callable[..., SegmentationNode],
    monkeypatch: pytest.MonkeyPatch,
    failed: bool,
) -> None:
    monkeypatch.setattr("lrn_ros.ros.segmentation_node._HINT_S", 0.3)
    node, lines = make("-p", f"max_batch:={0.5 if failed else 4}"), []
    if failed:
        assert node.trigger_configure() == FAILURE
    monkeypatch.setattr(node, "get_logger", lambda: SimpleNamespace(info=lines.append))
    executor = GuardedExecutor(node.exceptions, context)
    executor.add_node(node)
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        executor.spin_once(0.1)
    executor.remove_node(node)
    next_step = "unconfigured; next: ros2 lifecycle set /segmentation configure"
    assert lines == ([] if failed else [next_step])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["model", "use_sim_time", "qos_overrides./image.subscription.depth"], ""),
        (
            ["confidence_treshold", "model"],
            "the node has no parameter 'confidence_treshold' (is 'confidence_threshold' meant?):"
            " the value has no effect",
        ),
        (["zzz"], "the node has no parameter 'zzz': the value has no effect"),
    ],
)
def test_misspelt_parameters(names: list[str], said: str) -> None:
    assert unknown_parameters(names) == said


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("", 1, "a parameter needs a name"),
        ("device", [1, 2], "[1, 2] is not allowed"),
        ("palette", "x" * 10_000, "... is not allowed; one of display, dataset"),
        ("lazy", None, "None is not allowed; true or false"),
    ],
)
def test_refused_values(
    make: Callable[..., SegmentationNode], name: str, value: Any, says: str
) -> None:
    (result,) = make().set_parameters([Parameter(name, value=value)])
    assert not result.successful and says in result.reason and len(result.reason) < 300
