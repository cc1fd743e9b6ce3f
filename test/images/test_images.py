# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every encoding, row padding and byte order, against cv_bridge, OpenCV or a closed form."""

from __future__ import annotations

import array
import random
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lrn_ros.images.encodings import (
    ENCODINGS,
    MAX_PIXELS,
    ImageError,
    fill_image,
    message_to_rgb,
    to_rgb,
)

HEIGHT, WIDTH = 10, 14
GREY, RGB, BGR = [0, 0, 0], [0, 1, 2], [2, 1, 0]
# Values per pixel, and which of them are red, green and blue.
PICKED = {
    "rgb8": (3, RGB),
    "bgr8": (3, BGR),
    "rgba8": (4, RGB),
    "bgra8": (4, BGR),
    "mono8": (1, GREY),
    "mono16": (1, GREY),
    "8UC1": (1, GREY),
    "8UC3": (3, BGR),
    "8UC4": (4, BGR),
    "rgb16": (3, RGB),
    "bgr16": (3, BGR),
}
PAIRS = {"uyvy": "UYVY", "yuv422": "UYVY", "yuyv": "YUY2", "yuv422_yuy2": "YUY2"}
PLANES = {"nv12": (HEIGHT // 2, WIDTH), "nv21": (HEIGHT // 2, WIDTH), "nv24": (HEIGHT, 2 * WIDTH)}
PATTERNS = {"rggb": "BG", "bggr": "RG", "gbrg": "GR", "grbg": "GB"}  # in ROS and in OpenCV
BAYER = {f"bayer_{pattern}{depth}": name for pattern, name in PATTERNS.items() for depth in (8, 16)}
# What cv_bridge 1.13 converts to rgb8; it raises KeyError on the others.
CV_BRIDGE = {"rgb8", "bgr8", "rgba8", "bgra8", "mono8"} | {
    f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg")
}


def random_planes(encoding: str) -> list[NDArray[Any]]:
    """Rows of random values, and those of the chroma plane if there is one."""
    rng = np.random.default_rng(len(encoding))
    dtype: Any = np.dtype(np.uint16 if encoding.endswith("16") else np.uint8)
    channels = 2 if encoding in PAIRS else PICKED.get(encoding, (1, GREY))[0]
    shapes = [(HEIGHT, WIDTH * channels), *([PLANES[encoding]] if encoding in PLANES else [])]
    return [rng.integers(0, np.iinfo(dtype).max, s, dtype, endpoint=True) for s in shapes]


def lay_out(
    planes: list[NDArray[Any]], padding: int = 0, big: bool = False, fill: int = 0xA5
) -> tuple[int, bytes]:
    """The message's step and bytes; a plane with rows twice as long has twice the step."""
    step = planes[0][0].nbytes + padding
    made = b""
    for plane in planes:
        for row in plane.astype(plane.dtype.newbyteorder(">" if big else "<")):
            stride = step * plane.shape[1] // planes[0].shape[1]
            made += row.tobytes().ljust(stride, bytes([fill]))
    return step, made


def to_8_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """round(v / 257) in integers: 257 is odd, so there are no ties."""
    if values.dtype == np.uint16:
        values = (2 * values.astype(np.int64) + 257) // 514
    return values.astype(np.uint8)


def expected(encoding: str, planes: list[NDArray[Any]]) -> NDArray[Any]:
    pixels = planes[0].reshape(HEIGHT, WIDTH, -1)
    if encoding in PICKED:
        return to_8_bit(pixels[..., PICKED[encoding][1]])
    if encoding in BAYER:
        return to_8_bit(cv2.cvtColor(planes[0], getattr(cv2, f"COLOR_Bayer{BAYER[encoding]}2RGB")))
    if encoding in PAIRS:
        return cv2.cvtColor(pixels, getattr(cv2, f"COLOR_YUV2RGB_{PAIRS[encoding]}"))
    if encoding != "nv24":
        return cv2.cvtColor(np.vstack(planes), getattr(cv2, f"COLOR_YUV2RGB_{encoding.upper()}"))
    # nv24 is an nv12 of twice the size whose pixels come in equal 2x2 blocks.
    doubled = np.vstack([planes[0].repeat(2, axis=0).repeat(2, axis=1), planes[1]])
    return cv2.cvtColor(doubled, cv2.COLOR_YUV2RGB_NV12)[::2, ::2]


def convert(encoding: str, step: int, data: Any, big: bool = False) -> NDArray[np.uint8]:
    return to_rgb(encoding, HEIGHT, WIDTH, step, big, data)


def test_every_encoding_has_a_reference() -> None:
    assert set(ENCODINGS) == {*PICKED, *PAIRS, *PLANES, *BAYER}
    assert len(ENCODINGS) == len(set(ENCODINGS)) == 26


@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("padding", [0, 1, 6, 64])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_pixels(encoding: str, padding: int, big: bool) -> None:
    planes = random_planes(encoding)
    step, data = lay_out(planes, padding, big)
    rgb = convert(encoding, step, data, big)
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    assert rgb.dtype == np.uint8
    assert rgb.strides[1:] == (3, 1)
    np.testing.assert_array_equal(rgb, expected(encoding, planes))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_buffer_at_any_address(encoding: str) -> None:
    planes = random_planes(encoding)
    step, data = lay_out(planes, padding=2)
    shifted = memoryview(bytearray(b"\0\0\0" + data))[3:]  # 16 bit values at an odd address
    for buffer in (bytearray(data), array.array("B", data), np.frombuffer(data, "u1"), shifted):
        np.testing.assert_array_equal(convert(encoding, step, buffer), expected(encoding, planes))


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_reads_to_the_last_pixel_and_no_further(encoding: str, padding: int) -> None:
    planes = random_planes(encoding)
    step, data = lay_out(planes, padding)
    stride = step * planes[-1].shape[1] // planes[0].shape[1]
    needed = len(data) - (stride - planes[-1][0].nbytes)
    for given in (data[:needed], data + b"more"):
        np.testing.assert_array_equal(convert(encoding, step, given), expected(encoding, planes))
    with pytest.raises(ImageError, match=f"needs {needed} bytes of data, got {needed - 1}") as info:
        convert(encoding, step, data[: needed - 1])
    assert info.value.cause == "short buffer"


def test_agrees_with_cv_bridge() -> None:
    cv_bridge = pytest.importorskip("cv_bridge")
    messages = pytest.importorskip("sensor_msgs.msg")
    bridge, converted = cv_bridge.CvBridge(), set()
    for encoding in set(ENCODINGS) - set(PLANES):  # its planes are another layout, where it has any
        message = messages.Image(encoding=encoding, height=HEIGHT, width=WIDTH)
        message.step, data = lay_out(random_planes(encoding))
        message.data.frombytes(data)
        try:
            reference = bridge.imgmsg_to_cv2(message, "rgb8")
        except (KeyError, cv_bridge.CvBridgeError):
            continue
        np.testing.assert_array_equal(message_to_rgb(message), reference, err_msg=encoding)
        converted.add(encoding)
    assert converted >= CV_BRIDGE


@pytest.mark.parametrize("big", [False, True])
def test_all_16_bit_values(big: bool) -> None:
    values = np.arange(65536, dtype=">u2" if big else "<u2")
    rgb = to_rgb("mono16", 256, 256, 512, big, values.tobytes())
    exact = to_8_bit(values.astype(np.uint16)).reshape(256, 256, 1)
    np.testing.assert_array_equal(rgb, exact.repeat(3, axis=2))
    assert (rgb[0, 128, 0], rgb[0, 129, 0], rgb[255, 255, 0]) == (0, 1, 255)  # 128 / 257 < 0.5


@pytest.mark.parametrize("encoding", BAYER)
def test_mosaic_of_one_colour(encoding: str) -> None:
    color = {"r": 10, "g": 100, "b": 200}
    scale = 257 if encoding.endswith("16") else 1
    a, b, c, d = (color[letter] * scale for letter in encoding[6:10])
    tile = np.array([[a, b], [c, d]], np.uint8 if scale == 1 else np.uint16)
    rows = np.tile(tile, (HEIGHT // 2, WIDTH // 2))
    assert (convert(encoding, rows[0].nbytes, rows.tobytes()) == (10, 100, 200)).all()


@pytest.mark.parametrize("encoding", [*PAIRS, *PLANES])
@pytest.mark.parametrize(("y", "u", "v"), [(16, 128, 128), (235, 128, 128), (81, 90, 240)])
def test_yuv_is_bt601_in_limited_range(encoding: str, y: int, u: int, v: int) -> None:
    order = {"UYVY": (u, y, v, y), "YUY2": (y, u, y, v)}.get(PAIRS.get(encoding, ""), ())
    chroma = bytes((v, u) if encoding == "nv21" else (u, v))
    luma, pairs = bytes([y]) * HEIGHT * WIDTH, HEIGHT * WIDTH // (1 if encoding == "nv24" else 4)
    data = bytes(order) * (HEIGHT * WIDTH // 2) if order else luma + chroma * pairs
    rgb = convert(encoding, WIDTH * (2 if order else 1), data)
    red_green_blue = np.array([[1.164, 0, 1.596], [1.164, -0.392, -0.813], [1.164, 2.017, 0]])
    exact = red_green_blue @ (y - 16, u - 128, v - 128)
    assert np.abs(rgb - exact.clip(0, 255)).max() <= 1


@pytest.mark.parametrize("padding", [0, 5])
def test_rgb8_is_a_view(padding: int) -> None:
    step, data = lay_out(random_planes("rgb8"), padding)
    owner = array.array("B", data)
    rgb = convert("rgb8", step, owner)
    assert np.shares_memory(rgb, np.frombuffer(owner, np.uint8))
    owner[step] ^= 0xFF
    assert rgb[1, 0, 0] == owner[step]
    assert not convert("rgb8", step, data).flags.writeable  # bytes cannot be written


@pytest.mark.parametrize("encoding", ["rgb8", "mono16", "rgb16", "uyvy", "nv24", "bgr8"])
def test_one_row_may_claim_any_step(encoding: str) -> None:
    rgb = to_rgb(encoding, 1, 4, 33, False, bytes(400))
    assert rgb.shape == (1, 4, 3)


BIG = 2**32 - 1
REFUSED = [
    (("rgb9", 4, 4, 12, bytes(48)), "unknown encoding", "'rgb9' is not supported; supported: rgb8"),
    (("", 4, 4, 12, bytes(48)), "unknown encoding", "bayer_grbg16"),
    (("x" * 9999, 4, 4, 12, bytes(48)), "unknown encoding", "'x{40}' is not"),
    (("rgb8", 0, 4, 12, b""), "zero size", "4x0 rgb8 image"),
    (("rgb8", 4, 0, 0, b""), "zero size", "0x4 rgb8"),
    (("rgb8", BIG, BIG, BIG, bytes(48)), "too large", str(MAX_PIXELS)),
    (("mono8", 1, MAX_PIXELS + 1, BIG, b""), "too large", str(MAX_PIXELS)),
    (("mono8", 1, MAX_PIXELS, BIG, b""), "short buffer", "needs 64000000 bytes of data, got 0"),
    (("mono8", 2, 1, BIG, bytes(9)), "short buffer", "needs 4294967296 bytes of data, got 9"),
    (("rgb8", 4, 4, 11, bytes(48)), "wrong step", "step is 11, a row needs at least 12 bytes"),
    (("rgb16", 4, 4, 12, bytes(96)), "wrong step", "at least 24 bytes"),
    (("rgb8", 4, 4, 0, bytes(48)), "wrong step", "step is 0"),
    (("uyvy", 4, 5, 10, bytes(99)), "odd size", "5x4 uyvy image: width must be even"),
    (("nv12", 5, 4, 4, bytes(99)), "odd size", "width and height must be even"),
    (("nv21", 4, 5, 5, bytes(99)), "odd size", "width and height must be even"),
    (("bayer_rggb8", 2, 8, 8, bytes(99)), "too small", "at least 3"),
    (("mono8", 2, 2, 2, [1, 2, 3, 4]), "not bytes", "not list"),
    (("mono8", 2, 2, 2, np.zeros((4, 4), np.uint8)[:, ::2]), "not bytes", "not ndarray"),
]


@pytest.mark.parametrize(("fields", "cause", "says"), REFUSED)
def test_refused_with_the_reason(fields: tuple[Any, ...], cause: str, says: str) -> None:
    encoding, height, width, step, data = fields
    with pytest.raises(ImageError, match=says) as info:
        to_rgb(encoding, height, width, step, False, data)
    assert info.value.cause == cause
    assert "\n" not in str(info.value)


def test_mutated_headers_give_an_image_or_an_image_error() -> None:
    rng = random.Random(0)
    numbers = (0, 1, 2, 3, 5, 8, 16, 17, 63, 64, 255, 4096, 2**16, 2**31, BIG)
    causes = set()
    for _ in range(4000):
        encoding = rng.choice(ENCODINGS)
        fields = {"height": 8, "width": 16, "step": rng.choice((16, 32, 48, 64, 96, 97))}
        for name in rng.sample(sorted(fields), rng.choice((0, 1, 2))):
            fields[name] = rng.choice((rng.choice(numbers), rng.randrange(40)))
        data = rng.randbytes(rng.choice((0, 100, 700, 3000)))
        others = {"encoding": encoding, "is_bigendian": rng.randrange(256), "data": data}
        try:
            rgb = message_to_rgb(SimpleNamespace(**fields, **others))
        except ImageError as error:
            causes.add(error.cause)
        else:
            assert rgb.shape == (fields["height"], fields["width"], 3)
            assert rgb.dtype == np.uint8
            causes.add("none")
    sizes = {"zero size", "too large", "too small", "odd size"}
    assert causes == {"none", "wrong step", "short buffer"} | sizes


def outgoing() -> Any:
    """A sensor_msgs/Image, or what looks like one where there is no ROS."""
    try:
        from sensor_msgs.msg import Image
    except ImportError:
        return SimpleNamespace()
    return Image()


def test_filled_message_holds_the_array() -> None:
    header = getattr(outgoing(), "header", object())
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 4), dtype=np.uint8)
    cases = [
        ("mono8", pixels[..., 0].copy(), 8),
        ("mono8", pixels[::2, ::-1, 1], 8),
        ("rgb8", pixels[..., :3].copy(), 24),
        ("rgb8", pixels[:, ::2, 2::-1], 12),
    ]
    message = outgoing()
    for encoding, array_out, step in cases * 2:  # a message may be used again
        fill_image(message, array_out, encoding, header)
        assert message.header is header
        assert (message.height, message.width) == array_out.shape[:2]
        assert (message.encoding, message.is_bigendian, message.step) == (encoding, 0, step)
        assert isinstance(message.data, array.array)
        assert bytes(message.data) == array_out.tobytes()
        wanted = array_out if array_out.ndim == 3 else array_out[..., None].repeat(3, axis=2)
        np.testing.assert_array_equal(message_to_rgb(message), wanted)


@pytest.mark.parametrize(
    ("pixels", "encoding", "cause"),
    [
        (np.zeros((4, 4), np.uint8), "bgr8", "unknown encoding"),
        (np.zeros((4, 4), np.uint8), "rgb8", "wrong shape"),
        (np.zeros((4, 4, 4), np.uint8), "rgb8", "wrong shape"),
        (np.zeros((4, 4, 3), np.uint8), "mono8", "wrong shape"),
        (np.zeros(4, np.uint8), "mono8", "wrong shape"),
        (np.zeros((4, 4), np.int64), "mono8", "wrong shape"),
    ],
)
def test_what_cannot_be_published_is_refused(pixels: Any, encoding: str, cause: str) -> None:
    with pytest.raises(ImageError) as info:
        fill_image(SimpleNamespace(), pixels, encoding, None)
    assert info.value.cause == cause
