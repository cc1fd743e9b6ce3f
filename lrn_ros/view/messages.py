# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames as ROS messages, under the topics of config/foxglove.json and without ROS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from lrn_ros.data.sources import Source
from lrn_ros.images.compressed import encode_jpeg, encode_png
from lrn_ros.inference.overlay import colorize, draw_legend, draw_overlay, legend_picture
from lrn_ros.inference.result import STAGES
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.realtime import PlayFiles
from lrn_ros.replay.recording import RecordedFrame
from lrn_ros.replay.records import read_lines
from lrn_ros.view.feed import FrameFigures, View

STORE = get_typestore(Stores.ROS2_JAZZY)
_STATUS, _PART = "segmentation: camera", "/segmentation camera"
_IMAGE, _ARRAY = "sensor_msgs/msg/CompressedImage", "diagnostic_msgs/msg/DiagnosticArray"
TOPICS = {
    "/camera/image_raw": _IMAGE,
    "/segmentation/overlay/compressed": _IMAGE,
    "/segmentation/color": _IMAGE,
    "/segmentation/mask": "sensor_msgs/msg/Image",
    "/segmentation/legend": _IMAGE,
    "/segmentation/classes": "std_msgs/msg/String",
    "/segmentation/latency": _ARRAY,
    "/diagnostics": _ARRAY,
}


def serialize(topic: str, fields: tuple[Any, ...]) -> bytes:
    """CDR of a message of `TOPICS`."""
    kind = TOPICS[topic]
    return bytes(STORE.serialize_cdr(STORE.types[kind](*fields), kind))


def write_mcap(path: Path, views: Iterable[View], labels: LabelSet) -> int:
    """Write frames to an MCAP file that the viewers open with the layout; returns how many.

    Args:
        path: path of the file; an existing file is replaced.
        views: the frames in the order of their stamps.
        labels: label set with the colours to show.
    """
    count, reported_ns = 0, 0
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        with Writer(Path(folder) / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connections = {
                topic: writer.add_connection(topic, kind, typestore=STORE)
                for topic, kind in TOPICS.items()
            }
            for view in views:
                report = view.stamp_ns - reported_ns >= 10**9
                reported_ns = view.stamp_ns if report else reported_ns
                for topic, fields in messages(view, labels, not count, report, lambda _: True):
                    writer.write(connections[topic], view.stamp_ns, serialize(topic, fields))
                count += 1
        (Path(folder) / "bag" / "bag.mcap").replace(path)
    return count


def messages(
    view: View, labels: LabelSet, once: bool, report: bool, wanted: Callable[[str], bool]
) -> list[tuple[str, tuple[Any, ...]]]:
    """(topic, fields) of the messages by which a viewer shows a frame.

    Args:
        view: the frame.
        labels: label set with the colours to show.
        once: also what is sent once: legend and classes.
        report: also what the node reports once a second.
        wanted: whether somebody looks at a topic of pictures.
    """
    types = STORE.types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(view.stamp_ns, 10**9))
    header = types["std_msgs/msg/Header"](stamp, "camera")
    found: list[tuple[str, tuple[Any, ...]]] = []

    def picture(topic: str, format: str, make: Callable[[], bytes]) -> None:
        if wanted(topic):
            found.append((topic, (header, format, np.frombuffer(make(), np.uint8))))

    def overlay() -> bytes:
        drawn = draw_overlay(view.rgb, view.mask, labels)
        draw_legend(drawn, view.mask, labels)
        return encode_jpeg(drawn, 85)

    picture("/camera/image_raw", "jpeg", lambda: encode_jpeg(view.rgb, 85))
    picture("/segmentation/overlay/compressed", "jpeg", overlay)
    picture(
        "/segmentation/color", "png", lambda: encode_png(colorize(view.mask, labels.lookup()), 1)
    )
    if wanted("/segmentation/mask"):
        height, width = view.mask.shape
        pixels = np.ascontiguousarray(view.mask).reshape(-1)
        found.append(("/segmentation/mask", (header, height, width, "mono8", 0, width, pixels)))
    if once:
        picture("/segmentation/legend", "png", lambda: encode_png(legend_picture(labels)))
        pairs = enumerate(zip(labels.names, labels.colors))
        classes = [{"id": i, "name": n, "rgb": list(c)} for i, (n, c) in pairs]
        found.append(("/segmentation/classes", (json.dumps(classes),)))
    figures = view.figures
    stages = {k: f"{v:.3f}" for k, v in figures.stages}
    more = {"dropped": str(figures.dropped), "backend": figures.backend}
    found.append(("/segmentation/latency", (header, [_status("", stages | more)])))
    if report:
        rates = {"input_hz": f"{figures.input_hz:.2f}", "output_hz": f"{figures.output_hz:.2f}"}
        text = f"{figures.output_hz:.1f} of {figures.input_hz:.1f} Hz"
        found.append(("/diagnostics", (header, [_status(text, rates | more)])))
    return found


def _status(message: str, values: dict[str, str]) -> Any:
    types = STORE.types
    pairs = [types["diagnostic_msgs/msg/KeyValue"](k, v) for k, v in values.items()]
    return types["diagnostic_msgs/msg/DiagnosticStatus"](0, _STATUS, message, _PART, pairs)


def recorded_views(
    frames: Sequence[RecordedFrame], source: Source, files: PlayFiles, backend: str
) -> Iterator[View]:
    """Every frame with a mask, in the order of the source.

    Args:
        frames: see lrn_ros.replay.recording.read_recorded.
        source: the source that was played.
        files: the files with the node's messages.
        backend: the backend that the node used.
    """
    by_index = {frame.index: frame for frame in frames}
    latency: dict[int, dict[str, str]] = {}
    rates: dict[int, dict[str, str]] = {}
    for line in read_lines(files.received):
        if line["kind"] == "latency":
            latency[line["stamp_ns"]] = line["values"]
        elif line["kind"] == "diagnostics" and "input_hz" in line["values"]:
            rates[line["stamp_ns"]] = line["values"]
    reports = sorted(rates)
    for number, frame in enumerate(source.frames(set(by_index)) if by_index else (), 1):
        recorded = by_index[frame.index]
        mask = cv2.imread(str(recorded.mask), cv2.IMREAD_UNCHANGED)
        if mask is None or mask.shape[:2] != frame.rgb.shape[:2]:
            continue  # cut off when the recorder was ended
        stamp = int(recorded.mask.stem)
        values = latency.get(stamp, {})
        before = [at for at in reports if at <= stamp]
        report = rates[before[-1]] if before else {}
        figures = FrameFigures(
            tuple((k, float(values[k])) for k in STAGES if k in values),
            float(report.get("input_hz", 0)),
            float(report.get("output_hz", 0)),
            int(values.get("dropped", 0)),
            values.get("backend", backend),
        )
        yield View(number, frame.rgb, np.asarray(mask, np.uint8), None, stamp, 0.0, figures)
