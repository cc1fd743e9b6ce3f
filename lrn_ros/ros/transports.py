# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How images come: the type and the decoding of every `image_transport`."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.images.cdr import (
    CompressedImageMessage,
    Header,
    ImageMessage,
    VideoMessage,
    parse_compressed_image,
    parse_compressed_video,
    parse_ffmpeg_packet,
    parse_image,
)
from lrn_ros.ros import graph

_VIDEO_DEPTH = 60  # messages: some seconds, in case the executor is held up


@dataclass(frozen=True)
class Picture:
    """A picture of a video topic.

    Attributes:
        header: header of the message whose picture it is.
        to_rgb: gives (H, W, 3) uint8.
        decoding_s: what the codec took for the last packet, in seconds.
    """

    header: Header
    to_rgb: Callable[[], NDArray[np.uint8]]
    decoding_s: float


Message = ImageMessage | CompressedImageMessage | VideoMessage

# How the bytes of each transport are read.
PARSERS: dict[str, Callable[[bytes], Message]] = {
    "raw": parse_image,
    "compressed": parse_compressed_image,
    "foxglove": parse_compressed_video,
    "ffmpeg": parse_ffmpeg_packet,
}
VIDEOS = ("foxglove", "ffmpeg")


def message_class(transport: str) -> Any:
    """The class of a transport's message; raises UserError where its package is not installed."""
    package, _, name = graph.TRANSPORTS[transport][1].split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError as error:
        raise UserError(
            f"image_transport: {transport} needs the ROS package {package}: sudo apt install"
            f" ros-$ROS_DISTRO-{package.replace('_', '-')} ({error})"
        ) from None


def transport_of(kind: str) -> tuple[str, str]:
    """The transport of a message type such as sensor_msgs/msg/Image, and what its topics end with.

    Raises:
        UserError: the messages of this type are no images.
    """
    for name, (suffix, its_kind) in graph.TRANSPORTS.items():
        if its_kind == kind:
            return name, suffix
    works = ", ".join(its_kind for _, its_kind in graph.TRANSPORTS.values())
    raise UserError(f"{kind} is no type of images; {works} work")


def depth(transport: str) -> int:
    """How many messages a subscription holds: none of a video may replace another."""
    return _VIDEO_DEPTH if transport in VIDEOS else 1


class VideoStream:
    """The pictures of a video topic, whose packets are to be given in their order."""

    def __init__(self) -> None:
        from lrn_ros.images.video_packets import PacketDecoder, to_rgb

        self._decoder, self._to_rgb = PacketDecoder(), to_rgb
        self._headers: dict[int, Header] = {}
        self._count = 0

    def lost(self) -> None:
        """Say that packets before the next one are missing."""
        self._decoder.lost()
        self._headers.clear()

    def pictures(self, message: VideoMessage) -> list[Picture]:
        """The pictures that a packet completes; raises ImageError, see PacketDecoder.decode."""
        start = time.perf_counter()
        self._count += 1
        decoded = self._decoder.decode(self._count, message)
        self._headers[self._count] = message.header
        took = time.perf_counter() - start
        found = []
        for index, frame in decoded:
            if header := self._headers.pop(index, None):
                found.append(Picture(header, partial(self._to_rgb, frame), took))
        for index in [i for i in self._headers if i < self._count - _VIDEO_DEPTH]:
            del self._headers[index]
        return found
