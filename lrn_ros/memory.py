# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Memory of this process: how much of it is resident, and how much the C library keeps."""

from __future__ import annotations

import ctypes
import math
import os
from pathlib import Path

# glibc's mallopt: blocks up to 32 MB come from the heap, of which up to 128 MB are kept when freed.
_MALLOPT = {-3: 32 << 20, -1: 128 << 20}


def resident_mb(pid: int | str = "self") -> float:
    """Resident memory of a process in MB of 10^6 bytes, nan where /proc does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return math.nan
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def available_memory() -> float:
    """Bytes that this process may still take, by machine and control group; inf if unknown."""
    free = math.inf
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(1024.0 * int(n.split()[1]) for n in lines if n.startswith("MemAvailable"))
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int((group / "memory.current").read_text(encoding="ascii"))
            stat = (group / "memory.stat").read_text(encoding="ascii").splitlines()
            cached = next(int(n.split()[1]) for n in stat if n.startswith("file "))
            free = min(free, int(limit) - used + cached)  # the kernel frees cached file pages
    except (OSError, ValueError, StopIteration):
        pass  # another kernel, or no control groups
    return free


def keep_freed_memory() -> None:
    """Let the C library keep the memory of an image for the next image.

    By default glibc gives freed blocks of megabytes back to the system. Then every new image costs
    a page fault for each 4 KB; benchmark/transport.py measures it. Other C libraries are left as
    they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOPT.items():
            mallopt(option, value)
