# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The Fast DDS profile that gives images room in shared memory: how to set it, and a check.

This module imports rclpy only for the check, because launch files read it too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

# Jazzy and older releases read the first variable. Later releases read the second one, and warn
# where the first one is set.
_OLD, _NEW = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
VARIABLES = (_OLD, _NEW)
_READ_THE_OLD = ("humble", "iron", "jazzy")
_NAME = "lrn_ros_shared_memory"  # the name of the profile in its file
_SHM = Path("/dev/shm")
_MIN_SEGMENT = 32 << 20  # bytes; the profile's segment is larger, that of Fast DDS has 512 KB


def profile_environment(profile: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that make Fast DDS load `profile`; none if the user has chosen a profile.

    Args:
        profile: the XML file.
        environment: environment of the process that will be started. ROS_DISTRO names the release;
            without it the release is assumed to be Jazzy, whose wheels do not set it.
    """
    if any(environment.get(name) for name in VARIABLES):
        return {}
    old = environment.get("ROS_DISTRO", "jazzy") in _READ_THE_OLD
    return dict.fromkeys(VARIABLES if old else (_NEW,), str(profile))


def shared_memory_fault(
    maps: str | None = None, environment: Mapping[str, str] = os.environ
) -> str:
    """A fault of the shared memory of this process, whose DDS participant exists; empty: none.

    If Fast DDS cannot make the segment of the package's profile, it goes on with its own 512 KB,
    and its error text does not name the reason. Other middlewares have other transports.

    Args:
        maps: text of /proc/self/maps, or None to read it.
        environment: says whether the package's profile is in use.

    Returns:
        One line that says what to do; empty if all is well, or if the profile is not in use.
    """
    import rclpy

    if "fast" not in rclpy.get_rmw_implementation_identifier() or not _uses_profile(environment):
        return ""
    try:
        maps = Path("/proc/self/maps").read_text() if maps is None else maps
    except OSError:
        return ""  # not Linux
    if any(_size(line) >= _MIN_SEGMENT for line in maps.splitlines() if f"{_SHM}/fast" in line):
        return ""
    room = "is missing"
    if _SHM.is_dir():
        usage = shutil.disk_usage(_SHM)
        room = f"has {usage.free >> 20} of {usage.total >> 20} MB free"
    return (
        f"no shared memory for images: {_SHM} {room}, and every process with the DDS profile takes"
        " 64 MB; large images come over UDP, where many are lost. In Docker: --ipc=host or"
        " --shm-size=1g; else: sudo mount -o remount,size=1g /dev/shm"
    )


def _size(line: str) -> int:
    """Bytes of a mapping, from its line in /proc/PID/maps."""
    start, end = line.split()[0].split("-")
    return int(end, 16) - int(start, 16)


def _uses_profile(environment: Mapping[str, str]) -> bool:
    for name in VARIABLES:
        path = environment.get(name)
        try:
            if path and _NAME in Path(path).read_text(encoding="utf-8"):
                return True
        except (OSError, ValueError):
            continue  # Fast DDS says so itself
    return False
