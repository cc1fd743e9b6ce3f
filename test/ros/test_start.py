# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the executable starts: arguments, parameters that do not exist, Ctrl-C at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Client, NodeProcess, new_domain, wait
from rcl_interfaces.msg import Parameter
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters

from lrn_ros import __version__
from lrn_ros.ros.parameters import SPECS

COMMAND = [sys.executable, "-m", "lrn_ros.ros.node"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the executable to its end."""
    env = dict(os.environ, ROS_DOMAIN_ID=str(new_domain()))
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, env=env
    )


@pytest.mark.parametrize(
    ("flag", "says"), [("-h", "usage: segment_node"), ("--version", f"lrn_ros {__version__}")]
)
def test_help_and_version_start_no_node(flag: str, says: str) -> None:
    done = run(flag)
    assert done.returncode == 0 and done.stdout.startswith(says)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--log-level", "loud"), "loud"),
        (("-r", "image:=bad topic"), "image:=bad topic"),
        (("-r", "__node:=bad-name"), "bad-name"),
        (("--params-file", "/no/such/file.yaml"), "/no/such/file.yaml"),
        (("-p", "no value"), "no value"),
        (("--nonsense",), "unknown ROS arguments: ['--nonsense']"),
    ],
)
def test_bad_arguments_are_one_line(arguments: tuple[str, ...], says: str) -> None:
    done = run("--ros-args", *arguments)
    assert done.returncode == 2
    (line,) = [s for s in done.stderr.splitlines() if s.startswith("segment_node: ")]
    assert says in line and "Traceback" not in done.stderr


def handles_sigterm(pid: int) -> bool:
    """Whether a process has come so far that it catches SIGTERM, as Linux tells."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.8, 1.5, 2.5])
def test_ctrl_c_in_the_first_seconds(tmp_path: Path, seconds: float) -> None:
    node = NodeProcess(tmp_path / "log", new_domain(), "-p", "autostart:=true")
    wait(lambda: handles_sigterm(node.process.pid), 20, "the interpreter has started")
    time.sleep(seconds)
    node.stop(signal.SIGINT)
    assert "Traceback" not in node.text()
    assert node.process.returncode == 0, node.text()


def test_parameters_of_an_active_node(
    start_node: Callable[..., NodeProcess], client: Client, random_model: Path
) -> None:
    """Descriptors, its own dump loaded again, a misspelt one."""
    node = start_node(
        "-p", f"model:={random_model}", "-p", "autostart:=true", "-p", "overlay_alfa:=0.3",
        "-p", "backend:=torch", "-p", "max_batch:=2.0",
    )  # fmt: skip
    client.wait_active()
    assert "no parameter 'overlay_alfa' (is 'overlay_alpha' meant?)" in node.text()

    names = client.call(ListParameters, "list_parameters", ListParameters.Request()).result.names
    assert {*SPECS, "qos_overrides./image.subscription.depth"} <= set(names)
    values = client.call(GetParameters, "get_parameters", GetParameters.Request(names=names)).values
    request: Any = SetParameters.Request()
    request.parameters = [Parameter(name=n, value=v) for n, v in zip(names, values)]
    results = client.call(SetParameters, "set_parameters", request).results
    assert all(r.successful for r in results), [r.reason for r in results]
    assert client.set_parameter("backend", "torch").successful
    depth = client.set_parameter("qos_overrides./image.subscription.depth", 7)
    assert not depth.successful and "read-only" in depth.reason
    assert "deactivate" in client.set_parameter("backend", "auto").reason

    described = client.call(
        DescribeParameters, "describe_parameters", DescribeParameters.Request(names=list(SPECS))
    ).descriptors
    by_name = {d.name: d for d in described}
    (alpha,) = by_name["overlay_alpha"].floating_point_range
    assert (alpha.from_value, alpha.to_value) == (0.0, 1.0)
    (batch,) = by_name["max_batch"].integer_range
    assert (batch.from_value, batch.to_value) == (1, 64)
    assert by_name["backend"].additional_constraints.startswith("one of auto")
    assert (
        "'overlay_alpha': 1.5 is not allowed" in client.set_parameter("overlay_alpha", 1.5).reason
    )
