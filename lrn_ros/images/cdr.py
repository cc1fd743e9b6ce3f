# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Serialized image messages, read in place: fields by position, pixels as a view, no copy.

The bytes are those of a subscription with `raw=True`: CDR (OMG DDS-RTPS 2.5, section 10; DDS-XTypes
1.3, section 7.4), an encapsulation of four bytes and then the fields in the order of the .msg file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from lrn_ros.images.encodings import ImageError


@dataclass(frozen=True)
class Stamp:
    """Fields of builtin_interfaces/Time: seconds and nanoseconds."""

    sec: int
    nanosec: int


@dataclass(frozen=True)
class Header:
    """Fields of std_msgs/Header."""

    stamp: Stamp
    frame_id: str


@dataclass(frozen=True)
class ImageMessage:
    """Fields of sensor_msgs/Image; `data` is a read-only view that keeps the message's bytes."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


@dataclass(frozen=True)
class CompressedImageMessage:
    """Fields of sensor_msgs/CompressedImage; `data` is a read-only view as in ImageMessage."""

    header: Header
    format: str
    data: memoryview


@dataclass(frozen=True)
class VideoMessage:
    """A packet of a video topic; `data` is a read-only view as in ImageMessage.

    Attributes:
        header: its header; of a CompressedVideo its timestamp and frame_id.
        codec: what the message says, such as h264 or libx264.
        data: one packet; of H.264 and H.265 as in Annex B of their standards.
        is_keyframe: None where the message does not say.
        number: number of the packet, by the encoder; None where the message does not say.
    """

    header: Header
    codec: str
    data: memoryview
    is_keyframe: bool | None = None
    number: int | None = None


def parse_image(data: bytes) -> ImageMessage:
    """Fields of a serialized sensor_msgs/Image, in either byte order.

    Bytes after the last field are ignored, as rclpy does. Stricter than rclpy: text must be UTF-8
    whose only NUL is its last byte, and the encapsulation must be CDR_BE or CDR_LE. Whether the
    fields make an image is for `lrn_ros.images.encodings.message_to_rgb` to say.

    Raises:
        ImageError: of cause `malformed`; nothing is read or allocated beyond `data`.
    """
    reader = _Reader(data, "sensor_msgs/Image")
    header = reader.header()
    height, width = reader.integers("II", "height and width")
    encoding, is_bigendian = reader.text("encoding"), reader.octets(1, "is_bigendian")[0]
    (step,) = reader.integers("I", "step")
    return ImageMessage(header, height, width, encoding, is_bigendian, step, reader.sequence())


def parse_compressed_image(data: bytes) -> CompressedImageMessage:
    """Fields of a serialized sensor_msgs/CompressedImage; otherwise as `parse_image`."""
    reader = _Reader(data, "sensor_msgs/CompressedImage")
    return CompressedImageMessage(reader.header(), reader.text("format"), reader.sequence())


def parse_compressed_video(data: bytes) -> VideoMessage:
    """Fields of a serialized foxglove_msgs/CompressedVideo; otherwise as `parse_image`."""
    reader = _Reader(data, "foxglove_msgs/CompressedVideo")
    header, packet = reader.header(), reader.sequence()
    return VideoMessage(header, reader.text("format"), packet)


def parse_ffmpeg_packet(data: bytes) -> VideoMessage:
    """Fields of a serialized ffmpeg_image_transport_msgs/FFMPEGPacket; as `parse_image`.

    Its encoding may be followed by pixel formats, with semicolons between.
    """
    reader = _Reader(data, "ffmpeg_image_transport_msgs/FFMPEGPacket")
    header = reader.header()
    reader.integers("ii", "width and height")
    codec, number = reader.text("encoding").partition(";")[0], reader.long("pts")
    flags, _ = reader.octets(2, "flags and is_bigendian")
    return VideoMessage(header, codec, reader.sequence(), bool(flags & 1), number)


def serialize_video(frame_id: str, codec: str, data: bytes, size: tuple[int, int] | None) -> bytes:
    """A keyframe as a serialized message without a stamp, see `with_stamp`.

    Args:
        frame_id: of the header.
        codec: such as vp8.
        data: the packet.
        size: (height, width) in pixels, for an FFMPEGPacket; None: it is a CompressedVideo.
    """
    message = bytearray(b"\0\1\0\0" + bytes(8))  # CDR_LE; the stamp

    def align(octets: int) -> None:
        message.extend(bytes(-(len(message) - 4) % octets))

    def append(octets: bytes) -> None:
        align(4)
        message.extend(struct.pack("<I", len(octets)) + octets)

    append(f"{frame_id}\0".encode())
    if size is None:
        append(data)
        append(f"{codec}\0".encode())
        return bytes(message)
    align(4)
    message.extend(struct.pack("<ii", size[1], size[0]))
    append(f"{codec}\0".encode())
    align(8)
    message.extend(struct.pack("<QBB", 0, 1, 0))  # number of the packet, keyframe, byte order
    append(data)
    return bytes(message)


def stamp_ns(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time, read or of rclpy."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def read_stamp(data: bytes) -> int:
    """Nanoseconds of the stamp of a serialized message that begins with a std_msgs/Header.

    Raises:
        ImageError: of cause `malformed`.
    """
    sec, nanosec = _Reader(data, "message").integers("iI", "stamp")
    return stamp_ns(Stamp(sec, nanosec))


def with_stamp(data: bytes, stamp_ns: int) -> bytes:
    """The same message with another stamp; otherwise as `read_stamp`."""
    reader = _Reader(data, "message")
    reader.integers("iI", "stamp")
    packed = struct.pack(reader.order + "iI", *divmod(stamp_ns, 1_000_000_000))
    return b"".join((data[:4], packed, memoryview(data)[12:]))


_ENCAPSULATIONS = {
    0x0000: "CDR_BE",
    0x0001: "CDR_LE",
    0x0002: "PL_CDR_BE",
    0x0003: "PL_CDR_LE",
    0x0006: "CDR2_BE",
    0x0007: "CDR2_LE",
    0x0008: "D_CDR2_BE",
    0x0009: "D_CDR2_LE",
    0x000A: "PL_CDR2_BE",
    0x000B: "PL_CDR2_LE",
}
_ORDERS = {"CDR_BE": ">", "CDR_LE": "<"}


class _Reader:
    """Takes the fields of one message in their order; never beyond its end.

    Attributes:
        order: byte order of the message, as `struct` writes it.
    """

    def __init__(self, data: bytes, kind: str) -> None:
        self._view, self._what = memoryview(data), f"{kind} of {len(data)} bytes"
        self._at = 0
        # The identifier is big-endian always; two bytes of options follow, which plain CDR ignores.
        (identifier,) = struct.unpack_from(">H", self.octets(4, "encapsulation"))
        name = _ENCAPSULATIONS.get(identifier, "unknown")
        if name not in _ORDERS:
            works = ", ".join(_ORDERS)
            raise self._error(f"encapsulation 0x{identifier:04x} is {name}; supported: {works}")
        self.order = _ORDERS[name]

    def octets(self, count: int, name: str) -> memoryview:
        """The next bytes as a view."""
        left = len(self._view) - self._at
        if count > left:
            raise self._error(f"{name} takes {count} bytes, {left} are left")
        self._at += count
        return self._view[self._at - count : self._at]

    def integers(self, layout: str, name: str) -> tuple[int, ...]:
        """Values of four bytes each; they begin at a multiple of four."""
        padding = -self._at % 4  # from the first field; the encapsulation has four bytes itself
        octets = self.octets(padding + 4 * len(layout), name)
        return struct.unpack_from(self.order + layout, octets, padding)

    def long(self, name: str) -> int:
        """A value of eight bytes; it begins at a multiple of eight after the encapsulation."""
        padding = (4 - self._at) % 8
        value: int = struct.unpack_from(f"{self.order}Q", self.octets(padding + 8, name), padding)[
            0
        ]
        return value

    def text(self, name: str) -> str:
        """A string; its length counts the NUL at its end, and zero stands for an empty one too."""
        (length,) = self.integers("I", f"length of {name}")
        octets = bytes(self.octets(length, name))
        if length and octets.find(b"\0") != length - 1:
            raise self._error(f"{name} must have one NUL, at its end")
        try:
            return octets[:-1].decode()
        except UnicodeDecodeError as error:
            raise self._error(f"{name} is not UTF-8: {error.reason}") from None

    def header(self) -> Header:
        """The fields of std_msgs/Header."""
        sec, nanosec = self.integers("iI", "stamp")
        return Header(Stamp(sec, nanosec), self.text("frame_id"))

    def sequence(self) -> memoryview:
        """The bytes of `data`."""
        (length,) = self.integers("I", "length of data")
        return self.octets(length, "data")

    def _error(self, reason: str) -> ImageError:
        return ImageError("malformed", f"{self._what}: {reason}")
