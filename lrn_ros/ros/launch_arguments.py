# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The arguments of segment.launch.py: one for every parameter of the node, and those beside them.

This module imports no package from outside, so that documentation is made from it without ROS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lrn_ros.errors import UserError
from lrn_ros.ros.parameters import SPECS, check

NODE = "segmentation"
DEFAULT_IMAGE = "/camera/image_raw"
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Argument:
    """One argument of a launch file.

    Attributes:
        name: name of the argument.
        default: its text; empty: the parameter file decides, or nothing is set; None: the argument
            must be given.
        meaning: one line for users.
        choices: the only values that are allowed; empty: any.
    """

    name: str
    default: str | None
    meaning: str
    choices: tuple[str, ...] = ()


OWN = (
    Argument(
        "image", DEFAULT_IMAGE,
        "camera image topic; with several cameras, {camera} stands for each prefix",
    ),
    Argument(
        "camera_info", "", "CameraInfo topic, {camera} as in image; empty: beside the image topic"
    ),
    Argument("name", NODE, "name of the node"),
    Argument("namespace", "", "namespace of the node"),
    Argument("params_file", "config/segment.yaml", "parameter file; the default is the package's"),
    Argument("rviz", "false", "also start rviz2 with camera, overlay and colour mask"),
    Argument("respawn", "false", "start the node again when its process has ended"),
    Argument(
        "use_sim_time", "false", "take the time from /clock, for bag playback and simulation"
    ),
    Argument(
        "log_level", "", "debug, info, warn, error or fatal, or LOGGER:=LEVEL; empty: info"
    ),
    Argument(
        "dds_profile", "shared_memory",
        "Fast DDS profile; a profile variable that is already set is kept",
        ("shared_memory", "none"),
    ),
)  # fmt: skip
PARAMETERS = tuple(
    Argument(s.name, "", f"{s.meaning} (parameter; empty: as the parameter file says)")
    for s in SPECS.values()
)
ARGUMENTS = OWN + PARAMETERS


def flag(name: str, text: str) -> bool:
    """The value of an argument that is true or false.

    Raises:
        RuntimeError: it is neither; an error of this type ends a launch with its message.
    """
    if text.strip().lower() not in _FLAGS:
        raise RuntimeError(f"argument {name}:={text} is not allowed; use true or false")
    return _FLAGS[text.strip().lower()]


def parameter(name: str, value: Any) -> Any:
    """The value of a parameter, in the type of its default, from the text of its argument.

    A value that is not allowed stays as it is: the node refuses it at configure, says what is
    allowed, and goes on living.

    Raises:
        RuntimeError: see `flag`.
    """
    if name == "use_sim_time" or isinstance(SPECS[name].default, bool):
        return flag(name, str(value))
    try:
        checked = check(name, value)
    except UserError:
        return value
    if checked is None:  # network_size
        return SPECS[name].default
    return list(checked) if isinstance(checked, tuple) else checked
