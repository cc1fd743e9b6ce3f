# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Starts segment_node with a camera, a parameter file and the shared-memory DDS profile.

`ros2 launch lrn_ros segment.launch.py --show-args` lists the arguments. An argument that was not
given never overrides the parameter file.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from lrn_ros.ros.dds_profile import profile_environment

PACKAGE, NODE = "lrn_ros", "segmentation"
SHARE = Path(get_package_share_directory(PACKAGE))
DEFAULT_IMAGE = "/camera/image_raw"
# Arguments that are parameters of the same name; all strings but the two flags and the list.
PARAMETER_ARGUMENTS = (
    "model",
    "backend",
    "precision",
    "image_transport",
    "cameras",
    "autostart",
    "use_sim_time",
)
FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
RVIZ_TOPICS = ("overlay", "color")

ARGUMENTS = (
    ("image", DEFAULT_IMAGE, "camera image topic; with cameras, {camera} stands for each prefix"),
    ("camera_info", "", "CameraInfo topic, {camera} as in image; empty: beside the image topic"),
    ("namespace", "", "namespace of the node"),
    ("params_file", str(SHARE / "config" / "segment.yaml"), "parameter file"),
    ("model", "", "model name or file; empty: as the parameter file says"),
    ("backend", "", "auto, tensorrt, cuda, openvino or torch; empty: as the parameter file says"),
    ("precision", "", "auto, fp32, fp16, bf16 or int8; empty: as the parameter file says"),
    ("cameras", "", "camera prefixes such as front,left; empty: as the parameter file says"),
    ("image_transport", "", "raw or compressed; empty: as the parameter file says"),
    ("rviz", "false", "also start rviz2 with camera, overlay and colour mask"),
    ("autostart", "true", "configure and activate the node; false: use `ros2 lifecycle set`"),
    ("use_sim_time", "false", "take the time from /clock, for bag playback and simulation"),
    ("log_level", "", "debug, info, warn, error or fatal, or LOGGER:=LEVEL; empty: info"),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then build the nodes from their values."""
    given: set[str] = set()  # the arguments that someone set, known only before the declarations
    return LaunchDescription(
        [
            OpaqueFunction(function=lambda context: given.update(context.launch_configurations)),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in ARGUMENTS
            ),
            DeclareLaunchArgument(
                "dds_profile",
                default_value="shared_memory",
                choices=["shared_memory", "none"],
                description="Fast DDS profile; a profile variable that is already set is kept",
            ),
            OpaqueFunction(function=_nodes, args=[given]),
        ]
    )


def _nodes(context: LaunchContext, given: set[str]) -> list[Node]:
    argument = dict(context.launch_configurations)
    set_by_user = {name: argument[name] for name in given if argument.get(name, "").strip()}
    parent = argument.get("ros_namespace", "")
    node_name = _full_name(parent, argument["namespace"])
    params_file = Path(argument["params_file"]).expanduser().resolve()
    in_file = _parameters_in_file(params_file, node_name)

    overrides = {n: _value(n, v) for n, v in set_by_user.items() if n in PARAMETER_ARGUMENTS}
    if "autostart" not in overrides and "autostart" not in in_file:
        overrides["autostart"] = True
    cameras = overrides.get("cameras") or _prefixes(in_file.get("cameras", ""))
    image, info = _topics(argument["image"], argument["camera_info"], cameras)
    profile = {}
    if argument["dds_profile"] != "none":
        profile = profile_environment(
            SHARE / "config" / "fastdds_shared_memory.xml", context.environment
        )
    node = Node(
        package=PACKAGE,
        executable="segment_node",
        name=NODE,
        # Given even when empty: launch_ros then writes the overrides under the node's full name,
        # which wins over both `/**` and the full name in the parameter file.
        namespace=argument["namespace"],
        parameters=[str(params_file), overrides] if overrides else [str(params_file)],
        remappings=[*image, *info],
        ros_arguments=["--log-level", argument["log_level"]] if argument["log_level"] else None,
        additional_env=profile,
        output="screen",
        emulate_tty=True,
    )
    return [node, *_rviz(argument, node_name, cameras, image)]


def _rviz(
    argument: dict[str, str], node_name: str, cameras: list[str], image: list[tuple[str, str]]
) -> list[Node]:
    if not _flag("rviz", argument["rviz"]):
        return []
    try:
        get_package_share_directory("rviz2")
    except PackageNotFoundError as error:
        raise RuntimeError("rviz:=true needs the package rviz2, which is not installed") from error
    topics = "/".join([node_name, *filter(None, cameras[:1])])
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
            parameters=[{"use_sim_time": _flag("use_sim_time", argument["use_sim_time"])}],
        )
    ]


def _full_name(parent: str, namespace: str) -> str:
    """The node's full name, from the namespace of the including launch file and the argument."""
    spaces = [namespace] if namespace.startswith("/") else [parent, namespace]
    return "/" + "/".join([s.strip("/") for s in spaces if s.strip("/")] + [NODE])


def _flag(name: str, text: str) -> bool:
    if text.strip().lower() not in FLAGS:
        raise RuntimeError(f"argument {name}:={text} is not allowed; use true or false")
    return FLAGS[text.strip().lower()]


def _value(name: str, text: str) -> Any:
    if name == "cameras":
        return _prefixes(text)
    if name in ("autostart", "use_sim_time"):
        return _flag(name, text)
    return ParameterValue(str(Path(text).expanduser()) if name == "model" else text, value_type=str)


def _prefixes(value: Any) -> list[str]:
    """Camera prefixes from `front,left`, `[front, left]` or a list; one empty prefix for none."""
    names = value if isinstance(value, list) else str(value).strip().strip("[]").split(",")
    found = [str(name).strip().strip("'\"").strip("/") for name in names]
    return [name for name in found if name] or [""]


def _topics(
    image: str, camera_info: str, cameras: list[str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Remappings of every camera's `image` and, where it is given, `camera_info`."""
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


def _parameters_in_file(path: Path, node_name: str) -> dict[str, Any]:
    """What the parameter file sets for the node; keys may hold the wildcards `*` and `**`."""
    if not path.is_file():
        raise RuntimeError(f"argument params_file:={path}: there is no such file")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RuntimeError(f"argument params_file:={path}: not valid YAML: {error}") from error
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
