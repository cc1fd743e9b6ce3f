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
    open(os.environ["STAND_IN_REPORT"] + node.get_fully_qualified_name().replace("/", "."), "w"),
)
"""
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import *
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import AnyLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import *

file, composition, *arguments = sys.argv[1:]
service = LaunchService(argv=arguments, noninteractive=True)  # as ros2 launch does

def include(*arguments, file=file):
    pairs = [a.split(":=", 1) if isinstance(a, str) else a for a in arguments]
    return IncludeLaunchDescription(AnyLaunchDescriptionSource(file), launch_arguments=pairs)

service.include_launch_description(LaunchDescription(eval(composition)))
sys.exit(service.run())
"""


@pytest.fixture
def launch(tmp_path):
    """Run the launch file; returns the stand-in's report, several by their names, or the output.

    `composition` is a list of the actions of a launch file that includes this one.
    """
    share, lib = tmp_path / "share", tmp_path / "lib" / "lrn_ros"
    index = share / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    lib.mkdir(parents=True)
    (index / "lrn_ros").touch()
    (share / "lrn_ros").symlink_to(ROOT)
    (lib / "segment_node").write_text(STAND_IN)
    (lib / "segment_node").chmod(0o755)

    def run(*arguments, composition="", env=None, fails=False, output=False):
        report = tmp_path / "report"
        variables = {k: v for k, v in os.environ.items() if k not in (OLD, NEW)}
        prefixes = [str(tmp_path), variables.get("AMENT_PREFIX_PATH", "")]
        variables["AMENT_PREFIX_PATH"] = os.pathsep.join(filter(None, prefixes))
        variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
        variables |= {"STAND_IN_REPORT": str(report), "ROS_LOG_DIR": str(tmp_path / "log")}
        file = str(share / "lrn_ros" / "launch" / "segment.launch.py")
        composition = composition or "[include(*arguments)]"
        done = subprocess.run(
            [sys.executable, "-c", RUN, file, composition, *arguments],
            env=variables | (env or {}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        said = done.stdout + done.stderr
        found = [json.loads(p.read_text()) for p in tmp_path.glob("report.*")]
        for path in tmp_path.glob("report.*"):
            path.unlink()
        if fails:
            assert done.returncode != 0 and not found, said
            return said
        assert "Traceback" not in said, said
        if output:
            return said
        assert found, said
        by_name = {report["name"]: report for report in found}
        return by_name if len(by_name) > 1 else next(iter(by_name.values()))

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
        "name:=segmenter",
        "output_size:=network",
        "network_size:=[360, 480]",
        "device:=1",
        "threads:=2",
        "max_age_ms:=500",
        "confidence_threshold:=0.25",
        "engine_cache_dir:=/tmp/engines",
        "respawn:=false",
    )
    assert report["name"] == "/car/segmenter"
    expected = {
        "model": "other",
        "backend": "torch",
        "precision": "fp32",
        "image_transport": "compressed",
        "autostart": False,
        "use_sim_time": True,
        "overlay_alpha": 0.5,
        "output_size": "network",
        "network_size": [360, 480],
        "device": 1,
        "threads": 2,
        "max_age_ms": 500.0,
        "confidence_threshold": 0.25,
        "engine_cache_dir": "/tmp/engines",
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
    robot = "[GroupAction([PushRosNamespace('robot'), include(*arguments)])]"
    report = launch(file, "model:=m", composition=robot)
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
        ("respawn:=often", "respawn:=often is not allowed; use true or false"),
        ("name:=front/camera", "name:=front/camera is not allowed"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(launch, argument, said):
    assert said in launch(argument, fails=True)


def test_a_node_that_has_ended_is_started_again_where_that_is_wanted(launch):
    """The stand-in ends at once; the launch ends with the second one, or with the only one."""
    count = "(ends.append(1), [Shutdown()] if len(ends) > 1 else [])[1]"
    handler = f"RegisterEventHandler(OnProcessExit(on_exit=lambda event, context: {count}))"
    for argument, starts in (("", 1), ("'respawn:=true'", 2)):
        composition = f"(lambda ends: [{handler}, include({argument})])([])"
        said = launch(composition=composition, output=True)
        assert said.count("process started with pid") == starts, said


def test_one_topic_for_several_cameras_is_refused(launch):
    said = launch("cameras:=front,left", "image:=/one/topic", fails=True)
    assert "image:=/one/topic" in said and "{camera}" in said


def test_a_parameter_file_that_is_not_yaml_is_named(launch, tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [")
    bad = tmp_path / "bad.yaml"
    says = f"{bad}: not valid YAML: while parsing a flow node"
    assert f"argument params_file:={says}" in launch(f"params_file:={bad}", fails=True)
    around = f"[SetParametersFromFile({str(bad)!r}), include()]"
    assert f"SetParametersFromFile: {says}" in launch(composition=around, fails=True)


# Inside other launch files ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "action, name",
    [
        ("SetRemap('/tf', 'tf')", "/segmentation"),
        ("SetParameter('use_sim_time', True)", "/segmentation"),
        ("PushRosNamespace('robot1')", "/robot1/segmentation"),
        ("SetLaunchConfiguration('model', 'around')", "/segmentation"),
        ("SetEnvironmentVariable('ANY', 'thing')", "/segmentation"),
    ],
)
@pytest.mark.parametrize("group", ["[GroupAction([{}, {}])]", "[{}, {}]"])
def test_behind_an_action_that_sets_something_for_all_nodes(launch, group, action, name):
    report = launch(composition=group.format(action, "include('backend:=torch')"))
    assert report["name"] == name and report["topics"]["image"] == "/camera/image_raw"
    parameters = report["parameters"]
    assert parameters["backend"] == "torch" and parameters["autostart"] is True
    assert parameters["use_sim_time"] is ("use_sim_time" in action)
    assert parameters["model"] == ("around" if "around" in action else defaults()["model"])


def test_set_parameter_and_set_remap_reach_the_node(launch, params_file, tmp_path):
    around = "SetParameter('threads', 3), SetParameter('cameras', ['a', 'b'])"
    around += ", SetRemap('a/image', '/x')"
    report = launch(composition=f"[{around}, SetParameter('autostart', False), include()]")
    parameters = report["parameters"]
    assert (parameters["threads"], parameters["autostart"]) == (3, False)
    assert report["topics"]["a/image"] == "/x" and report["topics"]["b/image"] == "/b/image_raw"
    file = params_file({"/**": {"threads": 2, "cameras": ["front"]}})
    report = launch(composition=f"[{around}, include('{file}', 'threads:=4')]")
    parameters = report["parameters"]
    assert (parameters["threads"], parameters["cameras"]) == (4, ["front"])
    path = file.removeprefix("params_file:=")
    report = launch(composition=f"[SetParametersFromFile('{path}'), include('model:=m')]")
    assert report["parameters"]["threads"] == 2 and report["parameters"]["model"] == "m"
    assert report["topics"]["front/image"] == "/front/image_raw"


def test_the_second_of_two_includes_knows_nothing_of_the_first(launch, params_file):
    file = params_file({"/**": {"model": "of_the_file", "autostart": False}})
    first = "include('name:=one', 'model:=m', 'threads:=2', 'image:=/one', 'autostart:=true')"
    reports = launch(composition=f"[{first}, include('name:=two', '{file}')]")
    assert set(reports) == {"/one", "/two"}
    assert reports["/one"]["parameters"]["model"] == "m"
    two = reports["/two"]
    assert two["parameters"]["model"] == "of_the_file" and two["parameters"]["autostart"] is False
    assert "threads" not in two["parameters"] and two["topics"]["image"] == "/camera/image_raw"
    # The other way round: the first one's file is not the second one's.
    reports = launch(composition=f"[include('name:=two', '{file}'), include('name:=one')]")
    assert reports["/one"]["parameters"]["model"] == defaults()["model"]
    assert reports["/one"]["parameters"]["autostart"] is True


def test_two_includes_may_be_given_the_same(launch, params_file):
    same = "'image_transport:=compressed', 'model:=m'"
    reports = launch(composition=f"[include('name:=a', {same}), include('name:=b', {same})]")
    for report in reports.values():
        assert report["parameters"]["image_transport"] == "compressed"
        assert report["parameters"]["model"] == "m"


def test_what_the_file_above_declares_counts_for_both_includes(launch):
    """On the command line of the file above, or by its default, and passed on or not."""
    above = "DeclareLaunchArgument('model', default_value='of_above')"
    on = "('model', LaunchConfiguration('model'))"
    for passed in ("", f", {on}"):
        both = f"include('name:=a'{passed}), include('name:=b'{passed})"
        reports = launch(composition=f"[{above}, {both}]")
        assert {r["parameters"]["model"] for r in reports.values()} == {"of_above"}
    # An include that is given something else does not take it from the next one.
    command_line = "SetLaunchConfiguration('model', 'of_above')"
    both = "include('name:=a', 'model:=own'), include('name:=b')"
    reports = launch("model:=of_above", composition=f"[{command_line}, {both}]")
    assert [reports[n]["parameters"]["model"] for n in ("/a", "/b")] == ["own", "of_above"]
    # The file above can still read the argument after the include.
    read = "LogInfo(msg=LaunchConfiguration('model'))"
    reports = launch(composition=f"[{above}, include('name:=a', 'model:=m'), {read}]")
    assert reports["parameters"]["model"] == "m"


def test_groups_in_namespaces_of_their_own(launch, params_file):
    sections = {"/left/segmentation": {"threads": 2}, "/right/segmentation": {"threads": 3}}
    file = params_file(sections)
    around = "PushRosNamespace('{0}'), SetParameter('use_sim_time', {1})"
    group = f"GroupAction([{around}, include('{{2}}', 'image:=/{{0}}/image')])"
    both = [group.format("left", True, file), group.format("right", False, file)]
    reports = launch(composition=f"[{', '.join(both)}]")
    for side, threads in (("left", 2), ("right", 3)):
        report = reports[f"/{side}/segmentation"]
        assert report["parameters"]["threads"] == threads
        assert report["parameters"]["use_sim_time"] is (side == "left")
        assert report["topics"]["image"] == f"/{side}/image"


def test_a_file_that_includes_this_one_twice_is_included_twice(launch, tmp_path):
    inner = tmp_path / "inner.launch.py"
    file = tmp_path / "share" / "lrn_ros" / "launch" / "segment.launch.py"
    inner.write_text(
        f"""from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

def include(letter, *more):
    name = ("name", [LaunchConfiguration("side"), "_", letter])
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource({str(file)!r}), launch_arguments=[name, *more]
    )

def generate_launch_description():
    pair = [include("a", ("threads", "2")), include("b")]
    return LaunchDescription([DeclareLaunchArgument("side"), *pair])
"""
    )
    pair = ", ".join(f"include('side:={side}', file='{inner}')" for side in ("left", "right"))
    reports = launch(composition=f"[{pair}]")
    threads = {name: report["parameters"]["threads"] for name, report in reports.items()}
    assert threads == {"/left_a": 2, "/left_b": 0, "/right_a": 2, "/right_b": 0}


def test_an_argument_that_the_file_does_not_declare_is_named(launch):
    said = launch("image_topic:=/cam/image", "backend:=torch", output=True)
    assert "argument image_topic is unknown and has no effect; is image" in said
    # The arguments of the file above are its own affair.
    above = "[DeclareLaunchArgument('image_topic', default_value='/x'), include('backend:=torch')]"
    assert "is unknown" not in launch(composition=above, output=True)


# With a lifecycle manager ------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path):
    """Installs the stand-in for Nav2's lifecycle manager, and the real node for the other one."""
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    folder = tmp_path / "lib" / "nav2_lifecycle_manager"
    folder.mkdir(parents=True)
    (index / "nav2_lifecycle_manager").touch()
    script = (ROOT / "test" / "ros" / "lifecycle_manager.py").read_text()
    (folder / "lifecycle_manager").write_text(script)
    (folder / "lifecycle_manager").chmod(0o755)
    (tmp_path / "lib" / "lrn_ros" / "segment_node").write_text(
        "#!/usr/bin/env python3\nimport sys\nfrom lrn_ros.ros.node import main\nsys.exit(main())\n"
    )


def run_managed(launch, tmp_path, *arguments):
    """Launch until the stand-in has ended; returns everything that was printed."""
    file = tmp_path / "share" / "lrn_ros" / "launch" / "managed.launch.py"
    ended = "RegisterEventHandler(OnProcessExit(on_exit=[Shutdown()]))"
    given = ", ".join(map(repr, arguments))
    composition = f"[{ended}, include({given}, file={str(file)!r})]"
    return launch(composition=composition, output=True)


def test_the_manager_walks_the_real_node_through_its_life(launch, manager, random_model, tmp_path):
    given = [f"model:={random_model}", "backend:=torch", "namespace:=car", "name:=eyes"]
    said = run_managed(launch, tmp_path, *given)
    assert "managed: every transition succeeded" in said and "FAILED" not in said, said
    assert "eyes: transition 1: now inactive" in said


def test_the_nodes_autostart_is_the_managers(launch, manager, random_model, tmp_path):
    said = run_managed(launch, tmp_path, f"model:={random_model}", "autostart:=false")
    assert "segmentation: unconfigured, autostart False, bond_timeout 0.0" in said


def test_the_defaults_of_the_managed_launch_override_no_file(launch, params_file, tmp_path):
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    (index / "other_manager").touch()
    executable = tmp_path / "lib" / "other_manager" / "lifecycle_manager"
    executable.parent.mkdir()
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    file = str(tmp_path / "share" / "lrn_ros" / "launch" / "managed.launch.py")

    def parameters(*given):
        text = ", ".join(map(repr, ("manager:=other_manager", *given)))
        return launch(composition=f"[include({text}, file={file!r})]")["parameters"]

    assert parameters()["model"] == defaults()["model"]
    own = params_file({"/**": {"use_sim_time": True, "model": "mine", "autostart": True}})
    expected = {"use_sim_time": True, "model": "mine", "autostart": False}
    assert expected.items() <= parameters(own).items()


def test_a_manager_that_is_not_installed_is_named(launch):
    file = ROOT / "launch" / "managed.launch.py"
    said = launch(composition=f"[include(file={str(file)!r})]", fails=True)
    assert "package nav2_lifecycle_manager is not installed" in said and "manager:=PACKAGE" in said
