# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""replay.launch.py, run for real around a stand-in for lrn that writes down its arguments."""

import argparse
import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrn_ros.cli import replay

pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS installation")

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = """#!/usr/bin/env python3
import json, os, sys
json.dump(sys.argv[1:], open(os.environ["STAND_IN_REPORT"], "w"))
print("report    somewhere/report.html")
sys.exit(int(os.environ.get("STAND_IN_STATUS", 0)))
"""
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
from launch_ros.actions import SetParameter, SetRemap

file, *arguments = sys.argv[1:]
service = LaunchService(argv=arguments, noninteractive=True)  # as ros2 launch does
source = AnyLaunchDescriptionSource(file)
include = IncludeLaunchDescription(source, launch_arguments=[a.split(":=", 1) for a in arguments])
around = [SetParameter("use_sim_time", True), SetRemap("/tf", "tf")]  # lists in the context
service.include_launch_description(LaunchDescription([*around, include]))
sys.exit(service.run())
"""


@pytest.fixture
def launch(tmp_path):
    """Run the launch file; returns its exit status, what it printed, and lrn's arguments."""
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    lib = tmp_path / "lib" / "lrn_ros"
    index.mkdir(parents=True)
    lib.mkdir(parents=True)
    (index / "lrn_ros").touch()
    (lib / "lrn").write_text(STAND_IN)
    (lib / "lrn").chmod(0o755)

    def run(*arguments, status=0):
        report = tmp_path / "report.json"
        prefixes = [str(tmp_path), os.environ.get("AMENT_PREFIX_PATH", "")]
        variables = {
            "AMENT_PREFIX_PATH": os.pathsep.join(filter(None, prefixes)),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "STAND_IN_REPORT": str(report),
            "STAND_IN_STATUS": str(status),
            "ROS_LOG_DIR": str(tmp_path / "log"),
        }
        file = str(ROOT / "launch" / "replay.launch.py")
        done = subprocess.run(
            [sys.executable, "-c", RUN, file, *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
        given = json.loads(report.read_text()) if report.exists() else None
        return done.returncode, done.stdout + done.stderr, given

    return run


def test_the_bag_alone_is_enough_and_the_launch_ends_by_itself(launch):
    status, output, given = launch("bag:=drive")
    assert status == 0 and "somewhere/report.html" in output
    assert given == ["replay", "drive", "--mode", "both", "--output", "lrn_replay"]


def test_every_argument_reaches_lrn(launch):
    _, _, given = launch(
        "bag:=drive", "model:=other", "backend:=torch", "precision:=fp32", "rate:=2",
        "topic:=/cam /left", "network_size:=360 480", "mode:=realtime", "ground_truth:=labels",
        "output:=out", "open:=True", "thorough:=true", "clock:=no",
    )  # fmt: skip
    assert given == [
        "replay", "drive", "--model", "other", "--backend", "torch", "--precision", "fp32",
        "--network-size", "360", "480", "--mode", "realtime", "--topic", "/cam", "--topic", "/left",
        "--ground-truth", "labels", "--rate", "2", "--output", "out", "--thorough", "--open",
    ]  # fmt: skip


def test_every_option_of_lrn_replay_is_an_argument():
    """But for what makes no sense in a launch file: JSON on the terminal, and help."""
    file = ast.parse((ROOT / "launch" / "replay.launch.py").read_text())
    tables = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in file.body
        if isinstance(node, ast.Assign) and node.targets[0].id in ("ARGUMENTS", "SWITCHES")
    }
    names = {row[0] for rows in tables.values() for row in rows}
    parser = argparse.ArgumentParser()
    replay.add_parser(parser.add_subparsers())
    (options,) = (a.choices["replay"]._actions for a in parser._actions if a.choices)
    assert names == {o.dest for o in options} - {"help", "json", "bags"} | {"bag"}


def test_several_bags(launch):
    assert launch("bag:=one two")[2][:3] == ["replay", "one", "two"]


@pytest.mark.parametrize("status", [1, 2])
def test_a_replay_that_fails_makes_the_launch_fail(launch, status):
    failed, output, _ = launch("bag:=drive", status=status)
    assert failed == 1 and f"lrn replay ended with status {status}" in output


def test_an_interrupted_replay_is_no_failure(launch):
    assert launch("bag:=drive", status=130)[0] == 0


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((), "missing required argument 'bag'"),
        (("bag:=a", "open:=maybe"), "open:=maybe is not"),
        (("bag:=a", "modle:=b"), "unknown argument modle:=; there are bag, model,"),
    ],
)
def test_a_wrong_argument_is_named(launch, arguments, said):
    status, output, given = launch(*arguments)
    assert status == 1 and said in output and given is None
