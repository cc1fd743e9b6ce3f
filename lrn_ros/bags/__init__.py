# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""rosbag2 files (sqlite3, mcap), read and written without ROS."""

from __future__ import annotations

from pathlib import Path


def is_bag(path: Path) -> bool:
    """Whether `path` is a rosbag2 folder or its storage file."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(
            p.suffix in (".db3", ".mcap") for p in path.iterdir()
        )
    return path.suffix in (".db3", ".mcap")
