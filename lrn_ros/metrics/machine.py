# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Describes the machine of a measurement: processor, memory, speed, versions of the software."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np

_PACKAGES = ("numpy", "opencv-python-headless", "torch", "openvino", "rclpy", "rosbags")


@dataclass(frozen=True)
class Machine:
    """Processor, usable cores, operating system, and name -> version of the software."""

    cpu: str
    cores: int
    system: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Pace:
    """How fast a machine is at a moment.

    Attributes:
        reference_ms: how long a fixed piece of work takes one processor; NaN: was not measured.
        load: processes that wanted to run in the last minute, per usable core.
    """

    reference_ms: float = float("nan")
    load: float = float("nan")


def measure_pace(repeats: int = 15) -> Pace:
    """Measure the machine's pace, which takes a few tenths of a second."""
    image = np.random.default_rng(0).integers(0, 255, (720, 1280), np.uint8)
    times, threads = [], cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for _ in range(repeats):
            start = time.perf_counter()
            cv2.GaussianBlur(image, (0, 0), 5.0)
            times.append(1000 * (time.perf_counter() - start))
    finally:
        cv2.setNumThreads(threads)
    return Pace(round(statistics.median(times), 3), round(os.getloadavg()[0] / _cores(), 2))


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
    return Machine(_cpu(), _cores(), platform.platform(), versions)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
