# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Serialized images, made by rosbags in both byte orders or by hand; damaged ones are refused."""

from __future__ import annotations

import random
import struct
import sys
from typing import Any

import numpy as np
import pytest

from lrn_ros.images.cdr import parse_compressed_image, parse_image, read_stamp, with_stamp
from lrn_ros.images.compressed import compressed_to_rgb
from lrn_ros.images.encodings import ImageError, message_to_rgb

# A 3x2 bgr8 image as rclpy serializes it, with the padding set to 0xee; fields in the comments.
PLAIN = bytes.fromhex(
    "00010000"  # CDR_LE, no options
    "fbffffff 07000000"  # stamp: -5 s, 7 ns
    "05000000 63616d3200 eeeeee"  # frame_id: "cam2"
    "02000000 03000000"  # height, width
    "05000000 6267723800 01"  # encoding: "bgr8"; is_bigendian
    "eeee 09000000"  # step
    "12000000 000102030405060708 090a0b0c0d0e0f1011"  # data
)
FRAME_ID, ENCODING, DATA = 12, 32, 48  # where their lengths are


def changed(at: int, value: bytes) -> bytes:
    """PLAIN with other bytes at a place."""
    return PLAIN[:at] + value + PLAIN[at + len(value) :]


def refused(data: bytes, parse: Any = parse_image) -> str:
    """The message of the refusal."""
    with pytest.raises(ImageError) as info:
        parse(data)
    assert info.value.cause == "malformed"
    text = str(info.value)
    assert "\n" not in text and f"of {len(data)} bytes" in text
    return text


def test_fields_and_pixels_of_a_message():
    message = parse_image(PLAIN)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (-5, 7)
    assert message.header.frame_id == "cam2"
    assert (message.height, message.width, message.step) == (2, 3, 9)
    assert (message.encoding, message.is_bigendian) == ("bgr8", 1)
    assert bytes(message.data) == bytes(range(18))
    blue_green_red = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert np.array_equal(message_to_rgb(message), blue_green_red[..., ::-1])


def test_stamp_is_read_and_replaced():
    assert read_stamp(PLAIN) == -5 * 10**9 + 7
    later = with_stamp(PLAIN, 3 * 10**9 + 9)
    assert later == changed(4, bytes.fromhex("03000000 09000000"))
    big = bytes.fromhex("00000000 00000002 00000004 00000001 00")
    assert read_stamp(big) == 2 * 10**9 + 4
    assert with_stamp(big, 10**9) == bytes.fromhex("00000000 00000001 00000000 00000001 00")
    for read in (read_stamp, lambda data: with_stamp(data, 1)):
        refused(PLAIN[:11], read)


@pytest.fixture(scope="module")
def typestore() -> Any:
    typesys = pytest.importorskip("rosbags.typesys")
    return typesys.get_typestore(typesys.Stores.ROS2_JAZZY)


@pytest.mark.parametrize("little", [True, False], ids=["little", "big"])
@pytest.mark.parametrize("frame_id", ["", "c", "cam", "camera", "kamera číslo 2", "x" * 100_000])
def test_what_rosbags_serializes(typestore, frame_id, little):
    """Every length modulo four, so every padding."""
    types = typestore.types
    stamp = types["builtin_interfaces/msg/Time"](2**31 - 1, 2**32 - 1)
    header = types["std_msgs/msg/Header"](stamp, frame_id)
    for encoding in ("", "rgb8", "mono8", "mono16", "8UC1\t", "bayer_rggb16"):
        for size in (0, 1, 7):
            data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
            kind = "sensor_msgs/msg/Image"
            image = types[kind](header, 480, 2**32 - 1, encoding, 1, 1920, data)
            read = parse_image(bytes(typestore.serialize_cdr(image, kind, little_endian=little)))
            assert (read.header.stamp.sec, read.header.stamp.nanosec) == (stamp.sec, stamp.nanosec)
            assert (read.header.frame_id, read.encoding) == (frame_id, encoding)
            assert (read.height, read.width, read.step) == (480, 2**32 - 1, 1920)
            assert read.is_bigendian == 1 and bytes(read.data) == data.tobytes()

            kind = "sensor_msgs/msg/CompressedImage"
            compressed = types[kind](header, encoding, data)
            got = parse_compressed_image(
                bytes(typestore.serialize_cdr(compressed, kind, little_endian=little))
            )
            assert (got.header, got.format) == (read.header, encoding)
            assert bytes(got.data) == data.tobytes()


def test_pixels_are_a_read_only_view_that_keeps_the_message():
    data = bytes(bytearray(PLAIN.replace(b"bgr8", b"rgb8")))  # an object of its own
    before = sys.getrefcount(data)
    rgb = message_to_rgb(parse_image(data))  # the parsed message is gone, its view is not
    assert sys.getrefcount(data) > before
    assert np.shares_memory(rgb, np.frombuffer(data, np.uint8))
    assert not rgb.flags.writeable
    del rgb
    assert sys.getrefcount(data) == before


def test_options_and_trailing_bytes_are_ignored():
    assert parse_image(changed(2, b"\xff\xff")) == parse_image(PLAIN)
    assert parse_image(PLAIN + b"more") == parse_image(PLAIN)


def test_a_length_of_zero_is_an_empty_string_too():
    data = PLAIN[:FRAME_ID] + bytes(4) + PLAIN[FRAME_ID + 12 :]
    assert parse_image(data).header.frame_id == ""


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("0002", "PL_CDR_BE"),
        ("0003", "PL_CDR_LE"),
        ("0006", "CDR2_BE"),
        ("0007", "CDR2_LE"),
        ("0009", "D_CDR2_LE"),
        ("000b", "PL_CDR2_LE"),
        ("0100", "unknown"),
        ("ffff", "unknown"),
    ],
)
def test_other_encapsulations_are_named(identifier, name):
    for parse in (parse_image, parse_compressed_image):
        text = refused(changed(0, bytes.fromhex(identifier)), parse)
        assert f"0x{identifier} is {name}; supported: CDR_BE, CDR_LE" in text


def test_every_truncation_is_refused():
    names = {refused(PLAIN[:length]).split(": ")[1].split(" takes")[0] for length in range(70)}
    assert names == {
        "encapsulation", "stamp", "length of frame_id", "frame_id", "height and width", "encoding",
        "length of encoding", "is_bigendian", "step", "length of data", "data",
    }  # fmt: skip
    assert len(PLAIN) == 70


@pytest.mark.parametrize(
    ("at", "name", "left"),
    [(FRAME_ID, "frame_id", 54), (ENCODING, "encoding", 34), (DATA, "data", 18)],
)
def test_lengths_beyond_the_message_are_refused(at, name, left):
    for claimed in (left + 1, 2**31 - 1, 2**31, 2**32 - 1):
        text = refused(changed(at, struct.pack("<I", claimed)))
        assert f"{name} takes {claimed} bytes, {left} are left" in text


@pytest.mark.parametrize(("at", "name"), [(FRAME_ID, "frame_id"), (ENCODING, "encoding")])
def test_text_is_utf8_with_one_nul_at_its_end(at, name):
    assert f"{name} must have one NUL, at its end" in refused(changed(at + 8, b"x"))
    assert f"{name} must have one NUL, at its end" in refused(changed(at + 5, b"\0"))
    for bad in (b"\xff", b"\xc3(", b"\xed\xa0\x80"):  # the last one is a surrogate
        assert f"{name} is not UTF-8" in refused(changed(at + 4, bad))


def test_random_damage_raises_nothing_else():
    rng = random.Random(0)
    outcomes = set()
    for _ in range(8_000):
        data = bytearray(PLAIN[: rng.randint(0, len(PLAIN))] if rng.random() < 0.3 else PLAIN)
        for _ in range(rng.randint(1, 4) if data else 0):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        for parse, convert in (
            (parse_image, message_to_rgb),
            (parse_compressed_image, lambda m: compressed_to_rgb(m.data, m.format)),
        ):
            try:
                convert(parse(bytes(data)))
                outcomes.add("image")
            except ImageError as error:
                outcomes.add(error.cause)
    assert {"image", "malformed", "unknown encoding", "wrong step", "undecodable"} <= outcomes
