# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that Fast DDS uses the shared memory of the package's profile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import rclpy

from lrn_ros.ros.dds_profile import VARIABLES

_NAME = "lrn_ros_shared_memory"  # the name of the profile in its file
_SHM = Path("/dev/shm")
_MIN_SEGMENT = (
    32 << 20
)  # bytes; a segment of the profile is larger, one of Fast DDS's own has 512 KB


def shared_memory_fault(
    maps: str | None = None, environment: Mapping[str, str] = os.environ
) -> str:
    """A fault of the shared memory of this process, whose DDS participant exists; empty: none.

    Fast DDS goes on with its own 512 KB where it cannot make the segment of the package's profile,
    with an error text that does not name the reason. Other middlewares have other transports.

    Args:
        maps: text of /proc/self/maps, or None to read it.
        environment: says whether the package's profile is in use.

    Returns:
        one line that says what to do; empty when all is well, another profile is used or none.
    """
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
        " 64 MB; large ones come over UDP, where many are lost. In Docker: --ipc=host or"
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
