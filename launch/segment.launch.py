# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Starts segment_node with a camera, a parameter file and the shared-memory DDS profile.

`ros2 launch lrn_ros segment.launch.py --show-args` lists the arguments. An argument that was not
given never overrides the parameter file.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from lrn_ros.errors import one_line
from lrn_ros.ros.launch_arguments import ARGUMENTS, DEFAULT_IMAGE, NODE, flag, parameter
from lrn_ros.ros.launch_scope import with_arguments
from lrn_ros.ros.parameters import SPECS
from lrn_ros.ros.shared_memory import profile_environment

PACKAGE = "lrn_ros"
SHARE = Path(get_package_share_directory(PACKAGE))
DEFAULTS = {"params_file": str(SHARE / "config" / "segment.yaml")}
RVIZ_TOPICS = ("overlay", "color")
RESPAWN_DELAY_S = 2.0


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then build the nodes from their values."""
    arguments = [replace(a, default=DEFAULTS.get(a.name, a.default)) for a in ARGUMENTS]
    return LaunchDescription(with_arguments(arguments, _nodes))


def _nodes(context: LaunchContext, given: dict[str, str]) -> list[Node]:
    argument = {a.name: given.get(a.name) or DEFAULTS.get(a.name, a.default) for a in ARGUMENTS}
    if not re.fullmatch(r"[A-Za-z_]\w*", argument["name"]):
        raise RuntimeError(
            f"argument name:={argument['name']} is not allowed; letters, digits and _ make a name,"
            " and namespace:= says where it is"
        )
    parent = context.launch_configurations.get("ros_namespace", "")
    full_name = _full_name(parent, argument["namespace"], argument["name"])
    params_file = Path(argument["params_file"]).expanduser().resolve()
    known, overrides = _parameters(context, given, params_file, full_name)
    cameras = parameter("cameras", known.get("cameras") or [""])
    if not isinstance(cameras, list):  # not allowed; the node says so
        cameras = [""]
    image, info = _topics(argument["image"], argument["camera_info"], cameras)
    profile = {}
    if argument["dds_profile"] != "none":
        profile = profile_environment(
            SHARE / "config" / "fastdds_shared_memory.xml", context.environment
        )
    node = Node(
        package=PACKAGE,
        executable="segment_node",
        name=argument["name"],
        # Given even when empty: launch_ros then writes the overrides under the node's full name,
        # which wins over both `/**` and the full name in the parameter file.
        namespace=argument["namespace"],
        parameters=[str(params_file), overrides] if overrides else [str(params_file)],
        remappings=[*image, *info],
        ros_arguments=["--log-level", argument["log_level"]] if argument["log_level"] else None,
        additional_env=profile,
        respawn=flag("respawn", argument["respawn"]),
        respawn_delay=RESPAWN_DELAY_S,
        output="screen",
        emulate_tty=True,
    )
    return [node, *_rviz(argument, full_name, known, cameras, image)]


def _parameters(
    context: LaunchContext, given: dict[str, str], params_file: Path, full_name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The node's parameters as far as they are known here, and those that it is given.

    A parameter file that the user has given for this node wins over SetParameter and
    SetParametersFromFile, which are for all nodes. The package's file holds nothing but defaults,
    and does not. What these set is given to the node once more: launch_ros writes a list as a text.
    """
    in_file, around = _parameters_in_file(params_file, full_name, "argument params_file:="), {}
    for item in context.launch_configurations.get("global_params", []):
        if isinstance(item, tuple):
            around |= dict([item])
        else:
            around |= _parameters_in_file(item, full_name, "SetParametersFromFile: ")
    arguments = {n: _value(n, text) for n, text in given.items() if n in (*SPECS, "use_sim_time")}
    base = around | in_file if "params_file" in given else in_file | around
    overrides = {n: _typed(base[n]) for n in around if n in SPECS} | arguments
    if "autostart" not in base | overrides:
        overrides["autostart"] = True
    return base | overrides, overrides


def _rviz(
    argument: dict[str, str],
    full_name: str,
    known: dict[str, Any],
    cameras: list[str],
    image: list[tuple[str, str]],
) -> list[Node]:
    if not flag("rviz", argument["rviz"]):
        return []
    try:
        get_package_share_directory("rviz2")
    except PackageNotFoundError as error:
        raise RuntimeError("rviz:=true needs the package rviz2, which is not installed") from error
    topics = "/".join([full_name, *filter(None, cameras[:1])])
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=argument["namespace"],
            arguments=["-d", str(SHARE / "config" / "segment.rviz")],
            remappings=[
                *((f"/{NODE}/{topic}", f"{topics}/{topic}") for topic in RVIZ_TOPICS),
                (DEFAULT_IMAGE, image[0][1]),
            ],
            parameters=[{"use_sim_time": bool(known.get("use_sim_time", False))}],
        )
    ]


def _full_name(parent: str, namespace: str, name: str) -> str:
    """The node's full name, from the namespace of the including launch file and the arguments."""
    spaces = [namespace] if namespace.startswith("/") else [parent, namespace]
    return "/" + "/".join([s.strip("/") for s in spaces if s.strip("/")] + [name])


def _value(name: str, text: str) -> Any:
    return _typed(parameter(name, str(Path(text).expanduser()) if name == "model" else text))


def _typed(value: Any) -> Any:
    """The value in a form that launch_ros passes on with its type: "123" stays a text."""
    if isinstance(value, tuple):
        return list(value)
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value


def _topics(
    image: str, camera_info: str, cameras: list[str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Remappings of every camera's `image` and, if it is given, `camera_info`."""
    if cameras != [""] and image == DEFAULT_IMAGE:
        image = "/{camera}/image_raw"
    for name, topic in (("image", image), ("camera_info", camera_info)):
        if len(cameras) > 1 and topic and "{camera}" not in topic:
            raise RuntimeError(
                f"argument {name}:={topic} would give the cameras {', '.join(cameras)} one topic; "
                f"use {{camera}} in it, such as /{{camera}}/{name}"
            )
    prefixes = {camera: f"{camera}/" if camera else "" for camera in cameras}
    return tuple(  # type: ignore[return-value]
        [
            (prefix + name, re.sub("/+", "/", topic.replace("{camera}", camera)))
            for camera, prefix in prefixes.items()
            if topic
        ]
        for name, topic in (("image", image), ("camera_info", camera_info))
    )


def _parameters_in_file(path: str | Path, node_name: str, named_by: str) -> dict[str, Any]:
    """The node's values in a parameter file; keys may hold the wildcards `*` and `**`."""
    path = Path(path)
    if not path.is_file():
        raise RuntimeError(f"{named_by}{path}: there is no such file")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RuntimeError(f"{named_by}{path}: not valid YAML: {one_line(error)}") from error
    found: dict[str, Any] = {}
    for key, values in _sections(document, ""):
        pattern = re.escape(key).replace(r"/\*\*", r"(/\w+)*").replace(r"/\*", r"/\w+")
        if re.fullmatch(pattern, node_name):
            found.update(values)
    return found


def _sections(tree: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in tree.items() if isinstance(tree, dict) else ():
        if key == "ros__parameters" and isinstance(value, dict):
            yield path, value
        else:
            yield from _sections(value, path + "/" + str(key).strip("/"))
