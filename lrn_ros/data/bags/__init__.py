# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""rosbag2 files (sqlite3, mcap), read and written without ROS."""

from __future__ import annotations

from pathlib import Path

STORAGE_SUFFIXES = (".db3", ".mcap", ".db3.zstd", ".mcap.zstd")


def is_bag(path: Path) -> bool:
    """Whether `path` is a rosbag2 folder or its storage file."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(map(is_storage, path.iterdir()))
    return is_storage(path)


def is_storage(path: Path) -> bool:
    """Whether a file is named as rosbag2 names its storage files."""
    return path.name.endswith(STORAGE_SUFFIXES)
