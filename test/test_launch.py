# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""segment.launch.py, run for real around a stand-in node that writes down what it was given."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("launch_ros", reason="launch_ros comes with a ROS installation")

ROOT = Path(__file__).resolve().parent.parent
OLD, NEW = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"

STAND_IN = """#!/usr/bin/env python3
import json, os, sys
import rclpy
from rclpy.node import Node

rclpy.init(args=sys.argv)
node = Node("some_name", automatically_declare_parameters_from_overrides=True)
cameras = node.get_parameter_or("cameras").value or [""]
topics = [f"{c}/{n}".lstrip("/") for c in cameras for n in ("image", "camera_info")]
json.dump(
    {
        "name": node.get_fully_qualified_name(),
        "parameters": {k: v.value for k, v in node.get_parameters_by_prefix("").items()},
        "topics": {t: node.resolve_topic_name(t) for t in topics},
        "environment": {k: v for k, v in os.environ.items() if k.startswith("FAST")},
        "arguments": sys.argv,
    },
    open(os.environ["STAND_IN_REPORT"], "w"),
)
"""
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace

file, pushed, *arguments = sys.argv[1:]
service = LaunchService(noninteractive=True)
source = AnyLaunchDescriptionSource(file)
include = IncludeLaunchDescription(source, launch_arguments=[a.split(":=", 1) for a in arguments])
actions = [PushRosNamespace(pushed), include] if pushed else [include]
service.include_launch_description(LaunchDescription([GroupAction(actions)]))
sys.exit(service.run())
"""


@pytest.fixture
def launch(tmp_path):
    """Run the launch file with arguments; returns the stand-in's report, or the error output."""
    share, lib = tmp_path / "share", tmp_path / "lib" / "lrn_ros"
    index = share / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    lib.mkdir(parents=True)
    (index / "lrn_ros").touch()
    (share / "lrn_ros").symlink_to(ROOT)
    (lib / "segment_node").write_text(STAND_IN)
    (lib / "segment_node").chmod(0o755)

    def run(*arguments, pushed="", env=None, fails=False):
        report = tmp_path / "report.json"
        variables = {k: v for k, v in os.environ.items() if k not in (OLD, NEW)}
        prefixes = [str(tmp_path), variables.get("AMENT_PREFIX_PATH", "")]
        variables["AMENT_PREFIX_PATH"] = os.pathsep.join(filter(None, prefixes))
        variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
        variables |= {"STAND_IN_REPORT": str(report), "ROS_LOG_DIR": str(tmp_path / "log")}
        file = str(share / "lrn_ros" / "launch" / "segment.launch.py")
        done = subprocess.run(
            [sys.executable, "-c", RUN, file, pushed, *arguments],
            env=variables | (env or {}),
            capture_output=True,
            text=True,
            timeout=60,
        )
        output = done.stdout + done.stderr
        if fails:
            assert done.returncode != 0 and not report.exists(), output
            return output
        assert report.exists(), output
        return json.loads(report.read_text())

    return run


@pytest.fixture
def params_file(tmp_path):
    """Write a parameter file; keys of the mapping are node names as in the file."""

    def write(sections):
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump({k: {"ros__parameters": v} for k, v in sections.items()}))
        return f"params_file:={path}"

    return write


def defaults():
    """Parameters of the package's own file."""
    text = (ROOT / "config" / "segment.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["/**"]["ros__parameters"]


def test_without_arguments_the_node_gets_the_packages_file_and_profile(launch):
    report = launch()
    assert report["name"] == "/segmentation"
    resolved = report["parameters"]
    assert {k: resolved[k] for k in defaults()} == defaults()
    assert resolved["use_sim_time"] is False
    assert report["topics"]["image"] == "/camera/image_raw"
    assert report["topics"]["camera_info"] == "/camera_info"  # the node then looks beside the image
    profile = Path(report["environment"][NEW])
    assert profile.samefile(ROOT / "config" / "fastdds_shared_memory.xml")
    assert "--log-level" not in report["arguments"]


def test_every_given_argument_reaches_the_node(launch):
    report = launch(
        "image:=/cam/image",
        "camera_info:=/cam/info",
        "namespace:=car",
        "model:=other",
        "backend:=torch",
        "precision:=fp32",
        "image_transport:=compressed",
        "autostart:=False",
        "use_sim_time:=true",
        "log_level:=debug",
    )
    assert report["name"] == "/car/segmentation"
    expected = {
        "model": "other",
        "backend": "torch",
        "precision": "fp32",
        "image_transport": "compressed",
        "autostart": False,
        "use_sim_time": True,
        "overlay_alpha": 0.5,
    }
    assert {k: report["parameters"][k] for k in expected} == expected
    assert report["topics"] == {"image": "/cam/image", "camera_info": "/cam/info"}
    position = report["arguments"].index("--log-level")
    assert report["arguments"][position + 1] == "debug"


# A file may name the node in each of these ways, and set other nodes' parameters beside it.
@pytest.mark.parametrize("key", ["/**", "/segmentation", "segmentation", "/**/segmentation"])
def test_only_given_arguments_override_the_file(launch, params_file, key):
    own = {"model": "mine", "backend": "openvino", "autostart": False, "use_sim_time": True}
    file = params_file({"/**": {"precision": "int8"}, key: own})
    kept = launch(file)["parameters"]
    assert {k: kept[k] for k in own} == own
    given = launch(file, "model:=123", "autostart:=true", "use_sim_time:=false")["parameters"]
    expected = {"model": "123", "backend": "openvino", "autostart": True, "use_sim_time": False}
    assert {k: given[k] for k in expected} == expected


def test_a_file_without_autostart_starts_the_node(launch, params_file):
    resolved = launch(params_file({"/**": {"threads": 2}}))["parameters"]
    assert resolved["autostart"] is True and resolved["threads"] == 2
    assert "model" not in resolved


@pytest.mark.parametrize("cameras", ["front,left", "[front, left]", "['front', 'left']"])
def test_cameras_get_a_topic_each(launch, cameras):
    report = launch(f"cameras:={cameras}", "camera_info:=/{camera}/info")
    assert report["parameters"]["cameras"] == ["front", "left"]
    assert report["topics"] == {
        "front/image": "/front/image_raw",
        "front/camera_info": "/front/info",
        "left/image": "/left/image_raw",
        "left/camera_info": "/left/info",
    }


def test_cameras_of_the_file_get_a_topic_each(launch, params_file):
    file = params_file({"/car/segmentation": {"cameras": ["front", "left"]}})
    report = launch(file, "namespace:=car", "image:=/sim/{camera}/rgb")
    assert report["topics"]["front/image"] == "/sim/front/rgb"
    assert report["topics"]["left/image"] == "/sim/left/rgb"


def test_the_including_launch_files_namespace_counts(launch, params_file):
    file = params_file({"/robot/segmentation": {"cameras": ["front"], "autostart": False}})
    report = launch(file, "model:=m", pushed="robot")
    assert report["name"] == "/robot/segmentation"
    assert report["topics"]["front/image"] == "/front/image_raw"
    assert report["parameters"]["model"] == "m"
    assert report["parameters"]["autostart"] is False


@pytest.mark.parametrize("name", [OLD, NEW])
def test_a_profile_variable_that_is_set_is_kept(launch, name):
    assert launch(env={name: "/mine.xml"})["environment"] == {name: "/mine.xml"}


@pytest.mark.parametrize(
    "distribution, names", [("jazzy", {OLD, NEW}), ("kilted", {NEW}), ("humble", {OLD, NEW})]
)
def test_the_distribution_decides_the_variables(launch, distribution, names):
    assert set(launch(env={"ROS_DISTRO": distribution})["environment"]) == names
    assert launch("dds_profile:=none", env={"ROS_DISTRO": distribution})["environment"] == {}


@pytest.mark.parametrize(
    "argument, said",
    [
        ("dds_profile:=udp", "shared_memory"),
        ("params_file:=/no/such.yaml", "/no/such.yaml: there is no such file"),
        ("autostart:=maybe", "autostart:=maybe is not allowed; use true or false"),
        ("use_sim_time:=2", "use_sim_time:=2 is not allowed; use true or false"),
        ("rviz:=perhaps", "rviz:=perhaps is not allowed; use true or false"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(launch, argument, said):
    assert said in launch(argument, fails=True)


def test_one_topic_for_several_cameras_is_refused(launch):
    said = launch("cameras:=front,left", "image:=/one/topic", fails=True)
    assert "image:=/one/topic" in said and "{camera}" in said


def test_a_parameter_file_that_is_not_yaml_is_named(launch, tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [")
    assert "bad.yaml: not valid YAML" in launch(f"params_file:={tmp_path}/bad.yaml", fails=True)
