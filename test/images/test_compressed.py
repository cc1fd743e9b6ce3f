# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG: lossless ones exactly, lossy ones against OpenCV, damaged ones refused."""

from __future__ import annotations

import array
import random
import struct
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.images.compressed import (
    compressed_to_rgb,
    encode_jpeg,
    png_encoding,
    png_values,
    read_image,
    write_png,
)
from lrn_ros.images.encodings import ImageError

HEIGHT, WIDTH = 48, 80


def picture(channels: int = 3, dtype: Any = np.uint8) -> NDArray[Any]:
    """Smooth random values (H, W, channels), in OpenCV's order: blue first."""
    noise = np.random.default_rng(0).random((6, 10, channels))
    smooth = cv2.resize(noise, (WIDTH, HEIGHT)).reshape(HEIGHT, WIDTH, channels)
    return (smooth * np.iinfo(dtype).max).round().astype(dtype)


def encode(extension: str, image: NDArray[Any], *options: int) -> bytes:
    done, data = cv2.imencode(extension, image, options)
    assert done
    return data.tobytes()


JPEG, PNG = encode(".jpg", picture()), encode(".png", picture())


def refused(data: Any, format: str = "") -> ImageError:
    with pytest.raises(ImageError) as info:
        compressed_to_rgb(data, format)
    assert "\n" not in str(info.value)
    return info.value


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_is_exact(channels: int, dtype: Any) -> None:
    image = picture(channels, dtype)
    rgb = compressed_to_rgb(encode(".png", image))
    values = image.astype(np.int64)
    values = (2 * values + 257) // 514 if dtype is np.uint16 else values
    wanted = values.repeat(3, axis=2) if channels == 1 else values[..., 2::-1]
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, wanted)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_opencv_decodes(channels: int, options: tuple[int, ...]) -> None:
    image = picture(channels)
    data = encode(".jpg", image, *options)
    rgb = compressed_to_rgb(data, "bgr8; jpeg compressed bgr8")
    reference: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(rgb, reference[..., ::-1])
    assert np.abs(rgb - image[..., ::-1].astype(int)).mean() < 4  # quality 95; swapped, 43


@pytest.mark.parametrize("data", [JPEG, PNG])
def test_any_buffer_and_what_follows_the_image(data: bytes) -> None:
    wanted = compressed_to_rgb(data)
    for same in (bytearray(data), memoryview(data), array.array("B", data), data + bytes(5000)):
        np.testing.assert_array_equal(compressed_to_rgb(same), wanted)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF segment that says how to turn it."""
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_does_not_turn_the_image(orientation: int) -> None:
    turned = with_orientation(JPEG, orientation)
    by_default: Any = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert not np.array_equal(
        by_default[..., ::-1], compressed_to_rgb(JPEG)
    )  # OpenCV would turn it
    np.testing.assert_array_equal(compressed_to_rgb(turned), compressed_to_rgb(JPEG))


def test_thumbnail_does_not_give_the_size() -> None:
    thumbnail = encode(".jpg", picture()[:8, :8])
    data = JPEG[:2] + b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + JPEG[2:]
    assert compressed_to_rgb(data).shape == (HEIGHT, WIDTH, 3)
    assert refused(data[:-2]).cause == "undecodable"  # nor its end marker the end


@pytest.mark.parametrize("data", [JPEG, PNG])
def test_cut_short(data: bytes) -> None:
    for length in (0, 1, 2, 7, 20, 40, len(data) // 2, len(data) - 100, len(data) - 9):
        assert refused(data[:length]).cause == "undecodable"
        assert length < 33 or refused(data[:length] + bytes(100)).cause == "undecodable"
    assert "cut short" in str(refused(data[: len(data) // 2]))


@pytest.mark.parametrize(("height", "width"), [(65535, 65535), (8000, 8001), (1001, 64000)])
def test_size_is_checked_before_decoding(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(cv2, "imdecode")
    at = JPEG.index(b"\xff\xc0") + 5
    jpeg = JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]
    png = PNG[:16] + struct.pack(">II", width, height) + PNG[24:]
    for data in (jpeg, png, png[:16] + b"\xff" * 8 + png[24:]):
        error = refused(data)
        assert error.cause == "too large"
        assert "64000000" in str(error)


def test_png_chunk_that_claims_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "imdecode")  # OpenCV would allocate 2 GB
    assert "cut short" in str(refused(PNG[:33] + b"\x7f" + PNG[34:]))


def test_zero_size() -> None:
    at = JPEG.index(b"\xff\xc0") + 5
    assert refused(JPEG[:at] + bytes(4) + JPEG[at + 4 :]).cause == "zero size"
    assert refused(PNG[:16] + bytes(8) + PNG[24:]).cause == "zero size"


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"RIFF", bytes(100), encode(".bmp", picture())])
def test_other_files(data: bytes) -> None:
    error = refused(data, "16UC1; compressedDepth rvl")
    assert error.cause == "undecodable"
    assert "jpeg and png work" in str(error)
    assert "compressedDepth" in str(error)


def test_a_depth_image_is_no_picture() -> None:
    depth = encode(".png", np.zeros((HEIGHT, WIDTH), np.uint16))
    assert refused(depth, "16UC1; png compressed ").cause == "unknown encoding"
    assert compressed_to_rgb(depth, "mono16; png compressed ").shape == (HEIGHT, WIDTH, 3)


def test_not_bytes() -> None:
    assert refused([1, 2, 3]).cause == "not bytes"


@pytest.mark.parametrize("data", [JPEG, PNG])
def test_damaged_files_give_an_image_or_an_image_error(data: bytes) -> None:
    rng = random.Random(0)
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(rng.choice((1, 1, 3, 20))):
            broken[rng.randrange(2, rng.choice((60, len(data))))] = rng.randrange(256)
        try:
            rgb = compressed_to_rgb(bytes(broken))
        except ImageError as error:
            assert error.cause in {"undecodable", "too large", "zero size"}
        else:
            assert rgb.dtype == np.uint8
            assert rgb.ndim == 3


@pytest.mark.parametrize(
    ("image", "encoding"),
    [
        (np.zeros((4, 5), np.uint8), "mono8"),
        (np.zeros((4, 5), np.uint16), "mono16"),
        (np.zeros((4, 5, 3), np.uint8), "rgb8"),
        (np.zeros((4, 5, 4), np.uint16), "rgb16"),
    ],
)
def test_what_a_png_holds(image, encoding):
    assert png_encoding(encode(".png", image)) == encoding
    with pytest.raises(ImageError, match="no PNG"):
        png_encoding(JPEG)


@pytest.mark.parametrize("progressive", [0, 1])
def test_damage_within_a_jpeg_file(tmp_path, progressive):
    """Its end is there, and OpenCV gives a picture: the file is refused all the same."""
    noise = np.random.default_rng(1).integers(0, 256, (200, 300, 3), np.uint8)
    data = encode(".jpg", noise, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    path, middle = tmp_path / "a.jpg", len(data) // 2
    path.write_bytes(data)
    assert read_image(path).shape == noise.shape
    other = np.random.default_rng(2).integers(0, 256, 3000, np.uint8).tobytes()
    for damaged in (
        data[:middle] + other + data[middle + len(other) :],
        data[:middle] + data[middle + 3000 :],
    ):
        assert compressed_to_rgb(damaged).shape == noise.shape
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="a.jpg: cannot be read as an image: .* damaged within"):
            read_image(path)


def test_files_are_read_as_messages_are(tmp_path):
    """Half a JPEG is refused, and EXIF turns no image: the same rules as in the node."""
    file = tmp_path / "a.jpg"
    file.write_bytes(with_orientation(JPEG, 6))
    np.testing.assert_array_equal(read_image(file), compressed_to_rgb(JPEG))
    for data, says in ((JPEG[: len(JPEG) // 2], "cut short"), (b"", "may be damaged")):
        file.write_bytes(data)
        with pytest.raises(UserError, match=f"a.jpg: cannot be read as an image: .*{says}"):
            read_image(file)
    picture = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
    write_png(tmp_path / "b.png", picture)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), picture)
    cv2.imwrite(str(tmp_path / "c.bmp"), picture[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "c.bmp"), picture)
    decoded = compressed_to_rgb(encode_jpeg(np.full((16, 16, 3), (200, 40, 90), np.uint8)))
    np.testing.assert_allclose(decoded, np.broadcast_to((200, 40, 90), (16, 16, 3)), atol=3)


def test_values_of_a_grey_png_are_exact_and_a_cut_one_is_refused() -> None:
    wide = picture(1, np.uint16)[..., 0]
    data = encode(".png", wide)
    np.testing.assert_array_equal(png_values(data), wide)
    with pytest.raises(ImageError, match="cut short, its end marker is missing"):
        png_values(data[: len(data) // 2])
