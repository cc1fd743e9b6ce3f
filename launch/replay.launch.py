# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plays a bag into segment_node and prints where the report is: `lrn replay` as a launch file.

`ros2 launch lrn_ros replay.launch.py --show-args` lists the arguments. Node, player and recorder
are started by `lrn replay`, in a ROS domain of their own unless ROS_DOMAIN_ID is set, and with the
shared-memory DDS profile unless another one is set. The launch ends with the replay.
"""

from pathlib import Path

from ament_index_python.packages import get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.events import Shutdown
from launch.events.process import ProcessExited

PACKAGE = "lrn_ros"
FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
STOP_S = "60"  # an interrupted replay writes its report before it ends

ARGUMENTS = (
    ("bag", None, "rosbag2: its folder or its storage file"),
    ("model", "", "model name or file; empty: the package's model"),
    ("backend", "", "auto, tensorrt, cuda, openvino or torch; empty: auto"),
    ("precision", "", "auto, fp32, fp16, bf16 or int8; empty: auto"),
    ("rate", "", "times as fast as recorded, 0.1 to 10; empty: 1"),
    ("topic", "", "image topic; empty: the only one"),
    ("mode", "both", "accuracy, realtime or both"),
    ("ground_truth", "", "folder or topic of labels; empty: the bag's own label topic"),
    ("output", "lrn_replay", "folder for results and report"),
    ("open", "false", "open the report in a browser"),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then run `lrn replay` with those that were given."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in ARGUMENTS
            ),
            OpaqueFunction(function=_replay),
        ]
    )


def _replay(context: LaunchContext) -> list[ExecuteProcess]:
    argument = {k: v.strip() for k, v in context.launch_configurations.items()}
    command = [str(Path(get_package_prefix(PACKAGE)) / "lib" / PACKAGE / "lrn"), "replay"]
    command += [str(Path(argument["bag"]).expanduser())]
    for name, _, _ in ARGUMENTS[1:-1]:
        if argument[name]:
            command += [f"--{name.replace('_', '-')}", argument[name]]
    if _flag("open", argument["open"]):
        command.append("--open")
    return [
        ExecuteProcess(
            cmd=command, output="screen", emulate_tty=False, sigterm_timeout=STOP_S, on_exit=_ended
        )
    ]


def _ended(event: ProcessExited, context: LaunchContext) -> None:
    """End the launch; a replay that failed makes it fail."""
    context.emit_event_sync(Shutdown(reason="the replay has ended"))
    if event.returncode not in (0, 130):
        raise RuntimeError(f"lrn replay ended with status {event.returncode}")


def _flag(name: str, text: str) -> bool:
    if text.lower() not in FLAGS:
        raise RuntimeError(f"argument {name}:={text} is not allowed; use true or false")
    return FLAGS[text.lower()]
