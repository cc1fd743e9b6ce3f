# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Serves a feed over Foxglove's WebSocket protocol, under the topics of config/foxglove.json."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import foxglove
import numpy as np
from foxglove.websocket import ServerListener
from rosbags.typesys import Stores, get_typestore

from lrn_ros.errors import RunError
from lrn_ros.images.compressed import encode_jpeg, encode_png
from lrn_ros.inference.overlay import colorize, draw_legend, draw_overlay, legend_picture
from lrn_ros.inference.palette import shown
from lrn_ros.model.labels import LabelSet
from lrn_ros.view.feed import Feed, View

_STORE = get_typestore(Stores.ROS2_JAZZY)
_STATUS, _PART = "segmentation: camera", "/segmentation camera"
_IMAGE, _ARRAY = "sensor_msgs/msg/CompressedImage", "diagnostic_msgs/msg/DiagnosticArray"
_TOPICS = {
    "/camera/image_raw": _IMAGE,
    "/segmentation/overlay/compressed": _IMAGE,
    "/segmentation/color": _IMAGE,
    "/segmentation/legend": _IMAGE,
    "/segmentation/classes": "std_msgs/msg/String",
    "/segmentation/latency": _ARRAY,
    "/diagnostics": _ARRAY,
}


class _Subscriptions(ServerListener):
    """Which topics somebody looks at: only these are encoded."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()
        self.fresh = threading.Event()  # somebody came who needs what is sent once

    def on_subscribe(self, client: Any, channel: Any) -> None:
        self._change(channel.topic, 1)
        self.fresh.set()

    def on_unsubscribe(self, client: Any, channel: Any) -> None:
        self._change(channel.topic, -1)

    def _change(self, topic: str, by: int) -> None:
        with self._lock:
            self._counts[topic] = self._counts.get(topic, 0) + by

    def wanted(self, topic: str) -> bool:
        """Whether somebody looks at it."""
        return self._counts.get(topic, 0) > 0

    def any(self) -> bool:
        """Whether somebody looks at anything."""
        return any(n > 0 for n in self._counts.values())


def serve(feed: Feed, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted, or until the feed ends.

    Args:
        feed: what is shown.
        host: address to serve.
        port: 0: any that is free.
        ready: is told the address.

    Raises:
        RunError: the address cannot be used, or the feed has failed.
    """
    listener = _Subscriptions()
    try:
        server = foxglove.start_server(
            name=f"lrn view {feed.title}", host=host, port=port, server_listener=listener,
            supported_encodings=["cdr"],
        )  # fmt: skip
    except Exception as error:  # the library has no narrower one
        raise RunError(f"{host}:{port} cannot be served: {error}") from error
    channels = {
        topic: foxglove.Channel(
            topic,
            message_encoding="cdr",
            schema=foxglove.Schema(
                name=kind,
                encoding="ros2msg",
                data=_STORE.generate_msgdef(kind, ros_version=2)[0].encode(),
            ),
        )
        for topic, kind in _TOPICS.items()
    }
    ready(f"ws://{host}:{server.port}")
    try:
        _send_all(feed, listener, channels)
    finally:
        server.stop()


def _send_all(feed: Feed, listener: _Subscriptions, channels: dict[str, Any]) -> None:
    number, told = 0, 0.0
    while True:
        if not listener.any():
            time.sleep(0.1)
            continue
        view = feed.slot.newer(number, 0.5)
        if view is None:
            if feed.slot.closed:
                raise RunError(feed.slot.error or "the source has ended")
            continue
        number = view.number
        labels = feed.labels()
        if labels is None:
            continue
        once = listener.fresh.is_set()
        listener.fresh.clear()
        report = time.monotonic() - told > 1
        told = time.monotonic() if report else told
        for topic, fields in _messages(view, shown(labels), once, report, listener.wanted):
            data = _STORE.serialize_cdr(_STORE.types[_TOPICS[topic]](*fields), _TOPICS[topic])
            channels[topic].log(bytes(data), log_time=view.stamp_ns)


def _messages(
    view: View, labels: LabelSet, once: bool, report: bool, wanted: Callable[[str], bool]
) -> list[tuple[str, tuple[Any, ...]]]:
    """(topic, fields) of what is looked at."""
    types = _STORE.types
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
    if once or report:
        picture("/segmentation/legend", "png", lambda: encode_png(legend_picture(labels)))
        classes = [{"name": n, "rgb": list(c)} for n, c in zip(labels.names, labels.colors)]
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
    types = _STORE.types
    pairs = [types["diagnostic_msgs/msg/KeyValue"](k, v) for k, v in values.items()]
    return types["diagnostic_msgs/msg/DiagnosticStatus"](0, _STATUS, message, _PART, pairs)
