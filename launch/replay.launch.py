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
from launch.actions import ExecuteProcess
from launch.events import Shutdown
from launch.events.process import ProcessExited

from lrn_ros.ros.launch_arguments import Argument
from lrn_ros.ros.launch_scope import with_arguments

PACKAGE = "lrn_ros"
FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
STOP_S = "60"  # an interrupted replay writes its report before it ends

# Name, default, meaning. All but `bag` are options of `lrn replay`, with underscores for dashes.
ARGUMENTS = (
    ("bag", None, "rosbag2: its folder or its storage file; several with spaces between them"),
    ("model", "", "model name or file; empty: the package's model"),
    ("backend", "", "auto, tensorrt, cuda, openvino, onnxruntime or torch; empty: auto"),
    ("precision", "", "auto, fp32, fp16, bf16 or int8; empty: auto"),
    ("network_size", "", "height and width that the network runs at, such as '360 480'"),
    ("threads", "", "CPU threads of the backend"),
    ("mode", "both", "accuracy, realtime or both"),
    ("topic", "", "image topic; empty: all of the bag"),
    ("ground_truth", "", "folder or topic of labels; empty: the bag's own label topic"),
    ("labels", "", "label set of the ground truth; empty: what the bag says, else the model's"),
    ("mapping", "", "brings other classes and the model's together"),
    ("tolerance", "", "seconds between the stamps of an image and its label"),
    ("start", "", "seconds of the bag to skip"),
    ("duration", "", "seconds of the bag to replay"),
    ("rate", "", "times as fast as recorded, 0.1 to 10; empty: 1"),
    ("loop", "", "how many times real time plays the bag"),
    ("domain_id", "", "ROS domain of real time"),
    ("workers", "", "bags to replay side by side"),
    ("scheduler", "", "address of a Dask scheduler, instead of workers"),
    ("output", "lrn_replay", "folder for results and report"),
)
SWITCHES = (
    ("thorough", "take the costly figures of every frame, however long that takes"),
    ("temporal_smoothing", "average over frames, as the node can"),
    ("clock", "real time: publish /clock and leave the stamps as recorded"),
    ("open", "open the report in a browser"),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then run `lrn replay` with those that were given."""
    switches = [(name, "false", meaning) for name, meaning in SWITCHES]
    arguments = [Argument(*a) for a in (*ARGUMENTS, *switches)]
    return LaunchDescription(with_arguments(arguments, _replay, refuse_others=True))


def _replay(context: LaunchContext, given: dict[str, str]) -> list[ExecuteProcess]:
    defaults = {name: default for name, default, _ in ARGUMENTS} | {n: "false" for n, _ in SWITCHES}
    argument = defaults | given
    command = [str(Path(get_package_prefix(PACKAGE)) / "lib" / PACKAGE / "lrn"), "replay"]
    command += [str(Path(bag).expanduser()) for bag in _bags(argument["bag"])]
    for name, _, _ in ARGUMENTS[1:]:
        if argument[name]:
            option = f"--{name.replace('_', '-')}"
            topics = argument[name].split() if name == "topic" else []
            values = argument[name].split() if name == "network_size" else [argument[name]]
            command += [w for t in topics for w in (option, t)] if topics else [option, *values]
    command += [f"--{n.replace('_', '-')}" for n, _ in SWITCHES if _flag(n, argument[n])]
    return [
        ExecuteProcess(
            cmd=command, output="screen", emulate_tty=False, sigterm_timeout=STOP_S, on_exit=_ended
        )
    ]


def _bags(text: str) -> list[str]:
    """One bag, whose path may hold spaces, or several."""
    return [text] if Path(text).expanduser().exists() else text.split()


def _ended(event: ProcessExited, context: LaunchContext) -> None:
    """End the launch; it fails if the replay has failed."""
    context.emit_event_sync(Shutdown(reason="the replay has ended"))
    if event.returncode not in (0, 130):
        raise RuntimeError(f"lrn replay ended with status {event.returncode}")


def _flag(name: str, text: str) -> bool:
    if text.lower() not in FLAGS:
        raise RuntimeError(f"argument {name}:={text} is not allowed; use true or false")
    return FLAGS[text.lower()]
