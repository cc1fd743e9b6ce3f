# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decodes image messages of a bag to pixels, and label images to class ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.images.cdr import (
    Header,
    ImageMessage,
    parse_compressed_image,
    parse_compressed_video,
    parse_ffmpeg_packet,
    parse_image,
)
from lrn_ros.images.compressed import compressed_to_rgb, png_encoding, png_values
from lrn_ros.images.encodings import ImageError, message_to_rgb
from lrn_ros.model.labels import UNLABELLED, LabelSet

if TYPE_CHECKING:
    from lrn_ros.data.bags.reader import BagMessage

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
VIDEO = "foxglove_msgs/msg/CompressedVideo"
PACKET = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
IMAGE_TYPES = (IMAGE, COMPRESSED, VIDEO, PACKET)
VIDEO_TYPES = (VIDEO, PACKET)
_TRANSPORTS = ("/compressed", "/foxglove", "/ffmpeg", "/compressedDepth", "/zstd")
_DEPTH = ("16UC1", "32FC1", "64FC1")


def base_of(topic: str) -> str:
    """The name of an image topic without the end that image_transport gives it."""
    return next((topic.removesuffix(t) for t in _TRANSPORTS if topic.endswith(t)), topic)


def rank_of(topic: str, kind: str) -> tuple[bool, int]:
    """Smaller for the image topic of a camera that is rather taken; zstd cannot be decoded."""
    return topic.endswith(_TRANSPORTS[-2:]), IMAGE_TYPES.index(kind)


def depth_of(message: BagMessage) -> str | None:
    """The format of a depth image; None for other images. Raises ImageError for a damaged one."""
    if message.type == IMAGE:
        encoding = parse_image(message.data).encoding
        return encoding if encoding in _DEPTH else None
    if message.type == COMPRESSED:
        kind = parse_compressed_image(message.data).format
        return kind if "compressedDepth" in kind else None
    return None


@dataclass(frozen=True)
class DecodedImage:
    """A message whose pixels are known.

    Attributes:
        index: position of the message in its topic.
        recorded_ns: time at which the message was recorded, nanoseconds.
        header: header of the message.
        data: the serialized message.
        to_rgb: gives the pixels as (H, W, 3) uint8; may raise ImageError.
    """

    index: int
    recorded_ns: int
    header: Header
    data: bytes
    to_rgb: Callable[[], NDArray[np.uint8]]


class StillDecoder:
    """Decodes messages of which each holds one image."""

    def __init__(self, kind: str) -> None:
        self._compressed = kind == COMPRESSED

    def add(self, index: int, message: BagMessage) -> list[DecodedImage]:
        """The image of a message; raises ImageError if it has none."""
        if self._compressed:
            packed = parse_compressed_image(message.data)
            make = partial(compressed_to_rgb, packed.data, packed.format)
            return [DecodedImage(index, message.recorded_ns, packed.header, message.data, make)]
        image = parse_image(message.data)
        make = partial(message_to_rgb, image)
        return [DecodedImage(index, message.recorded_ns, image.header, message.data, make)]

    def finish(self) -> list[DecodedImage]:
        """Nothing is left."""
        return []

    def without_image(self) -> list[tuple[int, ImageError]]:
        """None: every message has an image or an error."""
        return []


class VideoDecoder:
    """Decodes the messages of a video topic, which must be given from the first message on."""

    def __init__(self, kind: str) -> None:
        from lrn_ros.images.video_packets import PacketDecoder

        self._parse = parse_compressed_video if kind == VIDEO else parse_ffmpeg_packet
        self._packets = PacketDecoder()
        self._about: dict[
            int, tuple[int, Header, bytes]
        ] = {}  # facts of the messages whose pictures have not come yet

    def add(self, index: int, message: BagMessage) -> list[DecodedImage]:
        """The images that are complete now; raises ImageError for a message without one."""
        packet = self._parse(message.data)
        pictures = self._packets.decode(index, packet)
        self._about[index] = message.recorded_ns, packet.header, message.data
        return list(self._images(pictures))

    def finish(self) -> list[DecodedImage]:
        """The images that were waiting for later messages."""
        return list(self._images(self._packets.flush()))

    def without_image(self) -> list[tuple[int, ImageError]]:
        """After `finish`: the messages that gave neither an image nor an error."""
        from lrn_ros.images.video_packets import missing_keyframe

        return [(index, missing_keyframe()) for index in self._about]

    def _images(self, pictures: list[tuple[int, Any]]) -> Iterator[DecodedImage]:
        from lrn_ros.images.video_packets import to_rgb

        for index, picture in pictures:
            recorded_ns, header, data = self._about.pop(index)
            yield DecodedImage(index, recorded_ns, header, data, partial(to_rgb, picture))


def decoder_of(kind: str) -> StillDecoder | VideoDecoder:
    """The decoder for a topic of one of IMAGE_TYPES; raises UserError if PyAV is missing."""
    return VideoDecoder(kind) if kind in VIDEO_TYPES else StillDecoder(kind)


def label_pixels(message: BagMessage) -> tuple[Header, str, NDArray[np.uint8]]:
    """Header, encoding and (H, W, 3) uint8 pixels of a label image.

    Raises:
        ImageError: it cannot be decoded.
        UserError: it is compressed with losses.
    """
    if message.type != COMPRESSED:
        image = parse_image(message.data)
        if image.encoding in _WIDE_IDS:
            return image.header, "mono8", _narrow(_wide(image))
        if image.encoding not in (*IDS, *_COLOURS):
            raise UserError(f"labels cannot be in {image.encoding or 'no encoding'}; {_WORKS}")
        return image.header, image.encoding, message_to_rgb(image)
    packed = parse_compressed_image(message.data)
    if bytes(packed.data[:2]) == b"\xff\xd8":
        raise UserError("JPEG changes the values of labels; PNG works")
    encoding = png_encoding(packed.data)
    if encoding == "mono16":
        return packed.header, "mono8", _narrow(png_values(packed.data))
    return packed.header, encoding, compressed_to_rgb(packed.data, packed.format)


IDS = ("mono8", "8UC1")
_WIDE_IDS = {"mono16": "u2", "16UC1": "u2", "16SC1": "i2", "32SC1": "i4"}
_COLOURS = ("rgb8", "bgr8", "rgba8", "bgra8", "8UC3", "8UC4")
_WORKS = f"{', '.join((*IDS, *_WIDE_IDS, *_COLOURS))} work"


def _wide(image: ImageMessage) -> NDArray[Any]:
    """(H, W) ids of more than 8 bits; raises ImageError if there are too few bytes."""
    kind = np.dtype((">" if image.is_bigendian else "<") + _WIDE_IDS[image.encoding])
    row = image.width * kind.itemsize
    if image.step < row or len(image.data) < image.height * image.step:
        raise ImageError("malformed", f"{len(image.data)} bytes are too few for its size")
    octets = np.frombuffer(image.data, np.uint8, image.height * image.step)
    rows = octets.reshape(image.height, image.step)[:, :row]
    return np.ascontiguousarray(rows).view(kind)


def _narrow(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of (H, W) ids of more bits; raises UserError if one does not fit."""
    low, high = int(ids.min(initial=0)), int(ids.max(initial=0))
    if low < 0 or high > UNLABELLED:
        raise UserError(f"id {low if low < 0 else high} is no class; ids from 0 to 255 work")
    return np.repeat(ids.astype(np.uint8)[..., None], 3, axis=2)


def label_of(
    encoding: str, rgb: NDArray[np.uint8], label_set: LabelSet, where: str
) -> NDArray[np.uint8]:
    """Class ids of a label image.

    Args:
        encoding: encoding of the message; mono8 and 8UC1 hold ids of the set, others colours.
        rgb: (H, W, 3) uint8, the pixels as RGB; the channels are equal if they hold ids.
        label_set: the classes, see LabelSet.ids, ignore, void.
        where: the image's origin, for errors.

    Returns:
        (H, W) uint8 class ids; 255 where the image has 255, the set's `ignore` or `void`, or
        black if black is the colour of no class.

    Raises:
        UserError: the encoding is another one, or the set does not have an id or a colour.
    """
    if encoding in IDS:
        return label_set.classes_of(rgb[..., 0], where)
    if encoding in _COLOURS:
        return _by_colour(rgb, label_set, where)
    raise UserError(f"{where}: labels cannot be in {encoding}; {_WORKS}")


def _by_colour(rgb: NDArray[np.uint8], label_set: LabelSet, where: str) -> NDArray[np.uint8]:
    colours = {_packed(np.array(c, np.uint8)[None])[0]: i for i, c in enumerate(label_set.colors)}
    if len(colours) < len(label_set):
        raise UserError(f"{where}: classes of {label_set.name} share a colour; use mono8 labels")
    colours.setdefault(np.uint32(0), UNLABELLED)
    known = np.array(sorted(colours), np.uint32)
    ids = np.array([colours[c] for c in known], np.uint8)
    packed = _packed(rgb)
    at = np.minimum(np.searchsorted(known, packed), len(known) - 1)
    if (wrong := known[at] != packed).any():
        red, green, blue = rgb[wrong][0]
        raise UserError(
            f"{where}: no class of {label_set.name} has the colour ({red}, {green}, {blue})"
        )
    return ids[at]


def _packed(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(..., 3) colours as one number each."""
    return rgb.astype(np.uint32) @ np.array((65536, 256, 1), np.uint32)
