# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags written with rosbags alone, so that tests of the reader do not rest on the writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rosbag2 = pytest.importorskip("rosbags.rosbag2")
typesys = pytest.importorskip("rosbags.typesys")

STORE = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
STEP_NS = 100_000_000
STAMP_DELAY_NS = 7  # the stamp is before the time of recording


def image(i: int, pixels: np.ndarray, encoding: str) -> Any:
    """Message number `i` of a camera: sensor_msgs/Image, or CompressedImage where encoded."""
    types = STORE.types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(i * STEP_NS + STEP_NS, 10**9))
    header = types["std_msgs/msg/Header"](stamp, f"camera {i}")
    if encoding in ("jpeg", "png"):
        return types["sensor_msgs/msg/CompressedImage"](header, encoding, pixels)
    height, width = pixels.shape[:2]
    step = pixels[0].nbytes
    flat = np.frombuffer(pixels.tobytes(), np.uint8)
    return types["sensor_msgs/msg/Image"](header, height, width, encoding, 0, step, flat)


def text(data: str) -> Any:
    """A std_msgs/String."""
    return STORE.types["std_msgs/msg/String"](data)


def write_bag(
    path: Path, storage: str, topics: Mapping[str, Sequence[Any]], compression: str = "NONE",
    first: int = 0,
) -> Path:  # fmt: skip
    """Write messages by topic; the i-th of a topic is recorded at step `first` + i + 1."""
    writer = rosbag2.Writer(path, version=9, storage_plugin=rosbag2.StoragePlugin[storage])
    writer.set_compression(rosbag2.CompressionMode[compression], rosbag2.CompressionFormat.ZSTD)
    with writer:
        named = {}
        for name, messages in topics.items():
            kind = messages[0].__msgtype__
            named[name] = writer.add_connection(name, kind, typestore=STORE)
        for i in range(max(map(len, topics.values()))):
            for name, messages in topics.items():
                if i < len(messages):
                    data = STORE.serialize_cdr(messages[i], messages[i].__msgtype__)
                    time = (first + i + 1) * STEP_NS + STAMP_DELAY_NS
                    writer.write(named[name], time, data)
    return path


def storage_file(bag: Path) -> Path:
    """The one storage file of a bag."""
    (file,) = (p for p in bag.iterdir() if p.name != "metadata.yaml")
    return file
