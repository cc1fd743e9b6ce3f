# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Serves a feed over Foxglove's WebSocket protocol, under the topics of config/foxglove.json."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import foxglove
from foxglove.websocket import ServerListener

from lrn_ros.errors import RunError
from lrn_ros.inference.palette import shown
from lrn_ros.view.feed import Feed
from lrn_ros.view.messages import STORE, TOPICS, messages, serialize


class _Subscriptions(ServerListener):
    """The topics with subscribers; only these are encoded."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()
        self.fresh = threading.Event()  # a new client needs the messages that are sent once

    def on_subscribe(self, client: Any, channel: Any) -> None:
        self._change(channel.topic, 1)
        self.fresh.set()

    def on_unsubscribe(self, client: Any, channel: Any) -> None:
        self._change(channel.topic, -1)

    def _change(self, topic: str, by: int) -> None:
        with self._lock:
            self._counts[topic] = self._counts.get(topic, 0) + by

    def wanted(self, topic: str) -> bool:
        """Whether the topic has a subscriber."""
        return self._counts.get(topic, 0) > 0

    def any(self) -> bool:
        """Whether any topic has a subscriber."""
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
    except Exception as error:  # the library has no narrower type
        raise RunError(f"{host}:{port} cannot be served: {error}") from error
    channels = {
        topic: foxglove.Channel(
            topic,
            message_encoding="cdr",
            schema=foxglove.Schema(
                name=kind,
                encoding="ros2msg",
                data=STORE.generate_msgdef(kind, ros_version=2)[0].encode(),
            ),
        )
        for topic, kind in TOPICS.items()
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
        for topic, fields in messages(view, shown(labels), once, report, listener.wanted):
            channels[topic].log(serialize(topic, fields), log_time=view.stamp_ns)
