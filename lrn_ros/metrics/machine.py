# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a measurement was made with: machine, memory, versions of the software."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("numpy", "opencv-python-headless", "torch", "openvino", "rclpy", "rosbags")


@dataclass(frozen=True)
class Machine:
    """Processor, usable cores, operating system, and name -> version of the software."""

    cpu: str
    cores: int
    system: str
    versions: dict[str, str]


def describe() -> Machine:
    """Describe this machine; packages that are not installed are left out."""
    from lrn_ros import __version__

    versions = {"lrn_ros": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    if distribution := os.environ.get("ROS_DISTRO"):
        versions["ros"] = distribution
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    return Machine(_cpu(), cores, platform.platform(), versions)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
