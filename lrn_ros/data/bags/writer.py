# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a rosbag2 of one camera with its labels; the bag appears whole or not at all."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from lrn_ros.errors import UserError
from lrn_ros.images.compressed import encode_jpeg
from lrn_ros.model.labels import LabelSet

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}

_TOPIC = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")
_FOREVER = QosTime(9223372036, 854775807)
_LATCHED = Qos(
    QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, _FOREVER,
    _FOREVER, QosLiveliness.AUTOMATIC, _FOREVER, False,
)  # fmt: skip


class BagWriter:
    """A context manager; `write` adds a frame. An error inside leaves nothing under `path`.

    Topics beside `topic` /NS/IMAGE: /NS/camera_info (not calibrated: K is zero) and, with labels,
    /NS/labels (mono8 class ids, 255 unlabelled) and /NS/labels/classes (std_msgs/String, latched:
    JSON list of id, name, rgb, as the node's ~/classes). Frames that are compressed (JPEG of
    quality 95) are in /NS/IMAGE/compressed.

    Args:
        path: folder of the new bag.
        storage: a key of `STORAGES`.
        topic: topic of the images, absolute.
        compressed: JPEG instead of rgb8.
        label_set: classes of the labels; None: there will be none.
        frame_id: frame id of every header.

    Raises:
        UserError: `path` exists or has what an sqlite3 URI takes for its own, or a bad `topic`.
    """

    def __init__(
        self,
        path: Path,
        storage: str = "mcap",
        topic: str = "/camera/image_raw",
        compressed: bool = False,
        label_set: LabelSet | None = None,
        frame_id: str = "camera",
    ) -> None:
        if path.exists() or path.is_symlink():
            raise UserError(f"{path}: exists, nothing was overwritten; name a new folder")
        if storage == "sqlite3" and set("?#%") & set(str(path.absolute())):
            raise UserError(
                f"{path.absolute()}: sqlite3 cannot write under a path with ?, # or %; mcap can"
            )
        space = topic.rpartition("/")[0]
        self._info, self._labels = f"{space}/camera_info", f"{space}/labels"
        if not _TOPIC.fullmatch(topic) or topic in (self._info, self._labels):
            raise UserError(
                f"topic {topic!r}: an absolute name such as /camera/image_raw works,"
                " other than camera_info and labels beside it"
            )
        self._path, self._storage, self._topic = path, STORAGES[storage], topic
        self._compressed, self._label_set, self._frame_id = compressed, label_set, frame_id
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Removed at the end of the process at the latest, wherever an interrupt comes.
        self._folder = tempfile.TemporaryDirectory(
            prefix=f".{self._path.name}.", suffix=".partial", dir=self._path.parent
        )
        self._partial = Path(self._folder.name)
        # The storage file takes its name from the folder, so this has the final one already.
        self._writer = Writer(
            self._partial / self._path.name, version=9, storage_plugin=self._storage
        )
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._writer.__exit__(kind, error, traceback)
            if error is None:
                os.rename(self._partial / self._path.name, self._path)
        finally:
            self._folder.cleanup()

    def write(
        self, stamp_ns: int, rgb: NDArray[np.uint8], label: NDArray[np.uint8] | None = None
    ) -> None:
        """Add a frame, its camera_info and, where there is one, its label.

        Args:
            stamp_ns: stamp of the headers and of the recording, nanoseconds.
            rgb: (H, W, 3) uint8.
            label: (H, W) uint8 class ids, 255 unlabelled.

        Raises:
            RunError: the frame cannot be compressed.
        """
        height, width = rgb.shape[:2]
        if self._label_set and not self._connections:
            classes = _classes(self._label_set)
            self._put(stamp_ns, f"{self._labels}/classes", "std_msgs/msg/String", classes)
        zeros = [np.zeros(n) for n in (0, 9, 9, 12)]
        region = self._store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        fields = (height, width, "", *zeros, 0, 0, region)
        self._put(stamp_ns, self._info, "sensor_msgs/msg/CameraInfo", *fields)
        if self._compressed:
            name, jpeg = f"{self._topic}/compressed", np.frombuffer(encode_jpeg(rgb), np.uint8)
            self._put(stamp_ns, name, "sensor_msgs/msg/CompressedImage", "jpeg", jpeg)
        else:
            self._put_image(stamp_ns, self._topic, "rgb8", rgb)
        if label is not None:
            self._put_image(stamp_ns, self._labels, "mono8", label)

    def _put_image(
        self, stamp_ns: int, topic: str, encoding: str, pixels: NDArray[np.uint8]
    ) -> None:
        height, width = pixels.shape[:2]
        step = pixels[0].size
        flat = np.ascontiguousarray(pixels).reshape(-1)
        fields = (height, width, encoding, 0, step, flat)
        self._put(stamp_ns, topic, "sensor_msgs/msg/Image", *fields)

    def _put(self, stamp_ns: int, topic: str, kind: str, *fields: Any) -> None:
        """Write a message; those of sensor_msgs get a header."""
        types, latched = self._store.types, kind == "std_msgs/msg/String"
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic,
                kind,
                typestore=self._store,
                offered_qos_profiles=[_LATCHED] if latched else [],
            )
        if not latched:
            stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
            fields = (types["std_msgs/msg/Header"](stamp, self._frame_id), *fields)
        data = self._store.serialize_cdr(types[kind](*fields), kind)
        self._writer.write(self._connections[topic], stamp_ns, data)


def _classes(label_set: LabelSet) -> str:
    named = enumerate(zip(label_set.names, label_set.colors))
    return json.dumps([{"id": i, "name": name, "rgb": list(rgb)} for i, (name, rgb) in named])
