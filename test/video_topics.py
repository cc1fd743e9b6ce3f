# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Packets of coded video, and messages that hold them, serialized by hand."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np

HEIGHT, WIDTH, KEY = 192, 320, 10
SMOOTH = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8), (WIDTH, HEIGHT),
    interpolation=cv2.INTER_CUBIC,
)  # fmt: skip
FAST = {"preset": "ultrafast", "tune": "zerolatency"}
CODECS = {
    "h264": ("libx264", FAST),
    "h265": ("libx265", FAST | {"x265-params": f"log-level=none:keyint={KEY}"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "lag-in-frames": "0", "cpu-used": "8"}),
    "av1": ("libsvtav1", {"preset": "10", "svtav1-params": "pred-struct=1:lookahead=0"}),
}


@dataclass(frozen=True)
class Packet:
    data: bytes
    is_keyframe: bool
    number: int


def picture(i: int) -> np.ndarray:
    """Frame number `i`: a frame that is guessed from its neighbours differs from it by 30 or so."""
    return np.roll(SMOOTH, 5 * i, 1)


def packets(codec: str, count: int = 26, reordered: bool = False) -> list[Packet]:
    """A keyframe in every KEY packets, the first one among them."""
    name, options = CODECS[codec]
    encoder = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 10), 10
    encoder.gop_size = KEY
    encoder.max_b_frames = 2 if reordered else 0
    encoder.options = {"preset": "medium"} if reordered else options
    found = []
    for i in range(count):
        frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
        frame.pts = i
        found += encoder.encode(frame)
    found += encoder.encode(None)
    return [Packet(bytes(p), p.is_keyframe, p.pts) for p in found]


def difference(rgb: np.ndarray, i: int) -> float:
    return float(np.abs(rgb.astype(int) - picture(i)).mean())


def _text(data: bytearray, text: str) -> None:
    data += bytes(-(len(data) - 4) % 4) + struct.pack("<I", len(text) + 1) + text.encode() + b"\0"


def _octets(data: bytearray, octets: bytes) -> None:
    data += bytes(-(len(data) - 4) % 4) + struct.pack("<I", len(octets)) + octets


def _head(stamp_ns: int) -> bytearray:
    data = bytearray(b"\0\1\0\0" + struct.pack("<iI", *divmod(stamp_ns, 10**9)))
    _text(data, "camera")
    return data


def compressed_video(packet: Packet, codec: str, stamp_ns: int) -> bytes:
    """A serialized foxglove_msgs/CompressedVideo."""
    data = _head(stamp_ns)
    _octets(data, packet.data)
    _text(data, codec)
    return bytes(data)


def ffmpeg_packet(packet: Packet, codec: str, stamp_ns: int) -> bytes:
    """A serialized ffmpeg_image_transport_msgs/FFMPEGPacket."""
    data = _head(stamp_ns)
    data += bytes(-(len(data) - 4) % 4) + struct.pack("<ii", WIDTH, HEIGHT)
    _text(data, codec)
    data += bytes(-(len(data) - 4) % 8) + struct.pack("<Q", packet.number)
    data += bytes((packet.is_keyframe, 0))
    _octets(data, packet.data)
    return bytes(data)
