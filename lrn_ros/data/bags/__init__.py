# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""rosbag2 files (sqlite3, mcap), read and written without ROS."""

from __future__ import annotations

from pathlib import Path

STORAGE_SUFFIXES = (".db3", ".mcap", ".db3.zstd", ".mcap.zstd")


def is_bag(path: Path) -> bool:
    """Whether `path` is a bag or its storage file; of ROS 1 too, whose reader says what to do."""
    if path.is_dir():
        names = [p for p in path.iterdir() if is_storage(p) or p.suffix == ".bag"]
        return bool(names) or (path / "metadata.yaml").is_file()
    return is_storage(path) or path.suffix == ".bag"


def is_storage(path: Path) -> bool:
    """Whether a file is named as rosbag2 names its storage files."""
    return path.name.endswith(STORAGE_SUFFIXES)
