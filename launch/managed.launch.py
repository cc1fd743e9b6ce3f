# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Starts segment_node together with a lifecycle manager, which configures and activates it.

It takes the arguments of segment.launch.py and the manager's; `--show-args` lists them. The
manager is Nav2's or another one with the same parameters. To have the manager of your own launch
file manage the node, include segment.launch.py with `autostart:=false` there instead.
"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from lrn_ros.ros.launch_arguments import ARGUMENTS, NODE, Argument, flag
from lrn_ros.ros.launch_scope import with_arguments

SEGMENT = str(Path(__file__).with_name("segment.launch.py"))
MANAGER = Argument(
    "manager", "nav2_lifecycle_manager", "package with the executable lifecycle_manager"
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then include the node and start the manager."""
    return LaunchDescription(with_arguments((*ARGUMENTS, MANAGER), _managed))


def _managed(
    context: LaunchContext, given: dict[str, str]
) -> list[IncludeLaunchDescription | Node]:
    package = given.get(MANAGER.name, MANAGER.default)
    try:
        get_package_prefix(package)
    except PackageNotFoundError as error:
        raise RuntimeError(
            f"the lifecycle manager's package {package} is not installed; Nav2's is"
            " ros-$ROS_DISTRO-nav2-lifecycle-manager, and manager:=PACKAGE names another one"
        ) from error
    passed_on = {n: text for n, text in given.items() if n not in (MANAGER.name, "autostart")}
    name = given.get("name", NODE)
    manager = Node(
        package=package,
        executable="lifecycle_manager",
        name=f"lifecycle_manager_{name}",
        namespace=given.get("namespace", ""),
        parameters=[
            {
                "node_names": [name],
                "autostart": flag("autostart", given.get("autostart", "true")),
                "bond_timeout": 0.0,  # the node has no bond to the manager
                **(
                    {"use_sim_time": flag("use_sim_time", given["use_sim_time"])}
                    if "use_sim_time" in given
                    else {}
                ),
            }
        ],
        output="screen",
        emulate_tty=True,
    )
    segment = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(SEGMENT),
        launch_arguments=[*passed_on.items(), ("autostart", "false")],
    )
    return [segment, manager]
