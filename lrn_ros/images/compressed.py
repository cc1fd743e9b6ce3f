# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG, and image files: all pictures are decoded and encoded here.

The EXIF orientation is never applied: a mask has the geometry of the pixels as they are stored.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import RunError, UserError
from lrn_ros.images.encodings import ImageError, check_size, flat_bytes, to_8_bit

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Older versions of OpenCV decode to BGR only.
_DECODES_RGB = hasattr(cv2, "IMREAD_COLOR_RGB")
_COLOR = cv2.IMREAD_COLOR_RGB if _DECODES_RGB else cv2.IMREAD_COLOR
_DEPTHS = ("16UC1", "32FC1")  # encodings of depth cameras
_FLAGS = _COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def compressed_to_rgb(data: Buffer, format: str = "") -> NDArray[np.uint8]:
    """RGB pixels of a JPEG or PNG: colour or grey, 8 or 16 bit, alpha dropped, EXIF not applied.

    The bytes decide which format it is; `format` is for the error message, and reveals depth
    images, which may be PNG too. The result is (H, W, 3) uint8, with the height and width that the
    file declares. Bytes after the end of the picture are ignored. Raises ImageError if the data are
    neither JPEG nor PNG, cut short or damaged, have more than `MAX_PIXELS`, or are a depth image.
    """
    flat = flat_bytes(data)
    what = f"compressed image of {flat.size} bytes with format {str(format)[:60]!r}"
    start = flat[:2].tobytes()
    if start not in _MEASURE:
        raise ImageError("undecodable", f"{what}: it begins with {start!r}; jpeg and png work")
    if str(format).partition(";")[0].strip() in _DEPTHS:
        raise ImageError("unknown encoding", f"{what}: it is a depth image, which has no colours")
    return _decode(flat, what, _whole_size(flat, what))


def png_values(data: Buffer) -> NDArray[Any]:
    """(H, W) values of a grey PNG as they are, uint8 or uint16; ImageError as compressed_to_rgb."""
    flat = flat_bytes(data)
    what = f"PNG of {flat.size} bytes"
    return _pixels(flat, what, cv2.IMREAD_UNCHANGED, _whole_size(flat, what))


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 RGB; the EXIF orientation is not applied.

    JPEG and PNG are decoded as `compressed_to_rgb` does, other formats as OpenCV can. A JPEG that
    is damaged in its middle is refused, too, where the package av is installed, and where the
    damage leaves a code that no JPEG has: a few changed bytes may be another right picture.

    Raises:
        UserError: the file cannot be read, or it is no image, or a damaged one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read as an image: {error.strerror}") from error
    try:
        if data[:2] in _MEASURE:
            rgb = compressed_to_rgb(data, path.suffix)
            if data[:2] == _JPEG:
                _check_jpeg(data)
            return rgb
        return _decode(flat_bytes(data), f"file of {len(data)} bytes")
    except ImageError as error:
        raise UserError(f"{path}: cannot be read as an image: {error}") from error


def _check_jpeg(data: bytes) -> None:
    """Raise ImageError for damage within a JPEG, for which OpenCV gives grey or shifted rows.

    FFmpeg's decoder stops at a code that is not in the file's tables. It reads no file of more than
    8 bits and none with arithmetic coding: such a file is not checked.
    """
    try:
        import av
    except ImportError:  # a robot may have no av
        return
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    try:
        decoder.decode(av.Packet(data))
    except av.error.InvalidDataError:
        what = f"JPEG of {len(data)} bytes"
        raise ImageError("undecodable", f"{what}: damaged within, though it has an end") from None
    except av.error.FFmpegError:
        return


def is_complete(data: bytes) -> bool:
    """Whether a PNG or JPEG has its end; without the end, rows may be missing."""
    try:
        return data[:2] not in _MEASURE or _MEASURE[data[:2]](data)[2]
    except ImageError:
        return False


def _whole_size(flat: NDArray[np.uint8], what: str) -> tuple[int, int]:
    """(height, width) of a JPEG or PNG; ImageError if it is cut short or above `MAX_PIXELS`."""
    height, width, complete = _MEASURE[flat[:2].tobytes()](flat.tobytes())
    check_size(f"{width}x{height} {what}", height, width)
    if not complete:  # OpenCV 4.5 would leave the missing part grey
        raise ImageError("undecodable", f"{what}: cut short, its end marker is missing")
    return height, width


def _pixels(
    flat: NDArray[np.uint8], what: str, flags: int, size: tuple[int, int] | None
) -> NDArray[Any]:
    """What OpenCV decodes; `size` is the one that the file declares, None where that is unknown."""
    try:
        image = cv2.imdecode(flat, flags) if flat.size else None
    except cv2.error:
        image = None
    if image is None or size not in (None, image.shape[:2]):
        raise ImageError("undecodable", f"{what}: OpenCV cannot decode it, it may be damaged")
    return image


def _decode(
    flat: NDArray[np.uint8], what: str, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a picture that OpenCV decodes."""
    image = _pixels(flat, what, _FLAGS, size)
    rgb = image if _DECODES_RGB else cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return np.asarray(rgb, np.uint8) if rgb.dtype == np.uint8 else to_8_bit(rgb)


# JPEG (ITU-T T.81, annex B): a frame starts with a marker from C0 to CF, but for the tables C4, C8
# and CC; a length follows every marker but 01 and D0 to D9.
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LONE = frozenset((0x01, *range(0xD0, 0xDA)))
_SCAN, _END = 0xDA, b"\xff\xd9"


def _measure_jpeg(data: bytes) -> tuple[int, int, bool]:
    """Height and width of the first frame, and whether an end follows it."""
    match = _MARKER.search(data, 2)
    while match and (marker := data[match.end() - 1]) != _SCAN:
        at = match.end()
        if marker in _FRAME and len(data) >= at + 7:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return height, width, data.find(_END, at) > 0
        length = 0 if marker in _LONE else int.from_bytes(data[at : at + 2], "big")
        match = _MARKER.search(data, at + length)
    raise ImageError("undecodable", f"JPEG of {len(data)} bytes: it declares no size")


def _measure_png(data: bytes) -> tuple[int, int, bool]:
    """Height and width from the IHDR chunk, and whether chunks that fit lead to an IEND chunk."""
    # OpenCV 4.14 would allocate whatever length a chunk claims.
    if len(data) < 33 or data[:16] != b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR":
        raise ImageError("undecodable", f"PNG of {len(data)} bytes: it declares no size")
    width, height = struct.unpack_from(">II", data, 16)
    at, kind = 33, b""
    while kind != b"IEND" and at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
    return height, width, kind == b"IEND" and at <= len(data)


_JPEG = b"\xff\xd8"
_MEASURE = {_JPEG: _measure_jpeg, b"\x89P": _measure_png}


def png_encoding(data: Buffer) -> str:
    """The encoding of a PNG, as that of a sensor_msgs/Image with the same values.

    `mono8` or `mono16` for grey, `rgb8` or `rgb16` for colours, with or without a colour table;
    `mono1`, `mono2` or `mono4` for grey of fewer bits. Raises ImageError if it is no PNG.
    """
    head = bytes(flat_bytes(data)[:26])
    if len(head) < 26 or head[:4] != b"\x89PNG":
        raise ImageError("undecodable", f"starts with {head[:4]!r}, which is no PNG")
    depth, colour = head[24], head[25]  # in the IHDR chunk
    if colour == _COLOUR_TABLE:
        return "rgb8"
    return f"{'rgb' if colour & _HAS_COLOUR else 'mono'}{depth}"


_COLOUR_TABLE, _HAS_COLOUR = 3, 2  # PNG, section 11.2.1: a type, and a bit of the type


def encode_jpeg(rgb: NDArray[np.uint8], quality: int = 95) -> bytes:
    """JPEG file of an (H, W, 3) uint8 RGB image; raises RunError if OpenCV cannot make it."""
    return _encode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(image: NDArray[np.uint8], level: int = 3) -> bytes:
    """PNG file of (H, W) uint8 values or an (H, W, 3) uint8 RGB image; see `encode_jpeg`.

    A higher `level` of compression, from 0 to 9, makes a smaller file in a longer time.
    """
    return _encode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, level])


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write what `encode_png` takes.

    Raises:
        RunError: OpenCV cannot encode it.
        OSError: the file cannot be written.
    """
    path.write_bytes(encode_png(image))


def _encode(suffix: str, image: NDArray[np.uint8], options: list[int]) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    try:
        done, data = cv2.imencode(suffix, bgr, options)
    except cv2.error as error:
        raise RunError(f"OpenCV cannot make a {suffix} of {image.shape}: {error.err}") from error
    if not done:
        raise RunError(f"OpenCV cannot make a {suffix} of an image of {image.shape}")
    return data.tobytes()
