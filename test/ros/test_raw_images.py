# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Serialized images against rclpy's own deserializer, and as a raw subscription delivers them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from harness import image_message, reliable, stamp_of, wait
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from lrn_ros.images.cdr import parse_compressed_image, parse_image
from lrn_ros.images.encodings import ImageError, message_to_rgb

ROOT = Path(__file__).resolve().parents[2]
PARSERS = {Image: parse_image, CompressedImage: parse_compressed_image}
LETTERS = "abc/_ 0189\n\té€\U0001f697"


def random_message(rng: random.Random, kind: Any) -> Any:
    """A message whose every field is random."""
    message = kind()
    message.header.stamp.sec = rng.choice((0, -(2**31), rng.randrange(2**31)))
    message.header.stamp.nanosec = rng.randrange(2**32)
    length = rng.choice((0, 1, 7, 200)) if rng.random() < 0.1 else rng.randrange(16)
    message.header.frame_id = "".join(rng.choices(LETTERS, k=length))
    text = "".join(rng.choices(LETTERS, k=rng.randrange(20)))
    if kind is Image:
        message.encoding, message.is_bigendian = text, rng.randrange(256)
        message.height, message.width, message.step = (rng.randrange(2**32) for _ in range(3))
    else:
        message.format = text
    message.data.frombytes(rng.randbytes(rng.choice((0, 1, 5, 300))))
    return message


def fields(message: Any) -> tuple[Any, ...]:
    """Every field, of rclpy's message or of a parsed one."""
    stamp, frame_id = message.header.stamp, message.header.frame_id
    names = ("height", "width", "encoding", "is_bigendian", "step", "format")
    rest = [getattr(message, name) for name in names if hasattr(message, name)]
    return (stamp.sec, stamp.nanosec, frame_id, *rest, bytes(message.data))


def texts(message: Any, kind: Any) -> list[str]:
    """The two strings of a message, in their order."""
    return [message.header.frame_id, message.encoding if kind is Image else message.format]


def lengths(message: Any, kind: Any) -> set[int]:
    """Places of the bytes that hold a length: rclpy may allocate whatever they claim."""
    first, second = (len(text.encode()) + 1 for text in texts(message, kind))
    before, octets, after = (8, 1, 4) if kind is Image else (0, 0, 0)  # of the numbers around
    other = 16 + first + -first % 4 + before
    end = other + 4 + second + octets
    starts = (12, other, end + -end % 4 + after)
    return {start + i for start in starts for i in range(4)}


def by_rclpy(data: bytes, kind: Any) -> tuple[Any, ...] | None:
    """The fields as rclpy reads them; None where it refuses."""
    with contextlib.suppress(Exception):  # rclpy's RMWError is not public in every release
        return fields(deserialize_message(data, kind))
    return None


def by_us(data: bytes, kind: Any) -> tuple[Any, ...] | None:
    """The fields as the parser reads them; None where it refuses."""
    with contextlib.suppress(ImageError):
        return fields(PARSERS[kind](data))
    return None


def test_random_messages_have_rclpys_fields():
    rng = random.Random(1)
    for i in range(4_000):
        kind = (Image, CompressedImage)[i % 2]
        message = random_message(rng, kind)
        data = serialize_message(message)
        assert by_us(data, kind) == fields(message) == by_rclpy(data, kind)


def test_truncated_messages_are_refused_where_rclpy_refuses():
    rng = random.Random(2)
    refused = 0
    for i in range(3_000):
        kind = (Image, CompressedImage)[i % 2]
        data = serialize_message(random_message(rng, kind))
        longer = data + rng.randbytes(9)
        cut = longer[: rng.randrange(len(longer) + 1)]
        ours = by_us(cut, kind)
        assert ours == by_rclpy(cut, kind)
        refused += ours is None
    assert 2_000 < refused < 3_000


def test_flipped_bits_give_rclpys_fields_or_a_stricter_refusal():
    """Stricter only where rclpy's text lost something: a NUL or bytes that are not UTF-8."""
    rng = random.Random(3)
    outcomes = {"same": 0, "stricter": 0}
    for i in range(4_000):
        kind = (Image, CompressedImage)[i % 2]
        message = random_message(rng, kind)
        data = bytearray(serialize_message(message))
        # Kilted's rclpy reads from byte 3 how many bytes at the end are padding.
        allowed = sorted({2, *range(4, len(data))} - lengths(message, kind))
        for _ in range(rng.randint(1, 3)):
            data[rng.choice(allowed)] ^= 1 << rng.randrange(8)
        theirs, ours = by_rclpy(bytes(data), kind), by_us(bytes(data), kind)
        assert theirs is not None
        if ours is None:
            read = texts(deserialize_message(bytes(data), kind), kind)
            sizes, before = ([len(t.encode()) for t in two] for two in (read, texts(message, kind)))
            assert "\ufffd" in "".join(read) or sizes != before
        else:
            assert ours == theirs
        outcomes["stricter" if ours is None else "same"] += 1
    assert min(outcomes.values()) > 500


def test_a_raw_subscription_delivers_bytes_that_parse(client):
    """Over DDS, with the same pixels and header as the message that was published."""
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    message = image_message(rgb, "rgb8", 1_234_567_890_123, "kamera číslo 2")
    publisher = client.node.create_publisher(Image, "raw_image", reliable())
    received: list[Any] = []
    client.node.create_subscription(Image, "raw_image", received.append, reliable(), raw=True)
    wait(publisher.get_subscription_count, 20, "the subscription is seen")
    publisher.publish(message)
    wait(lambda: received, 20, "the image arrives")
    assert type(received[0]) is bytes
    parsed = parse_image(received[0])
    assert np.array_equal(message_to_rgb(parsed), rgb)
    assert (stamp_of(parsed), parsed.header.frame_id) == (1_234_567_890_123, "kamera číslo 2")


def test_the_transport_benchmark_runs():
    """A camera and every way of receiving; figures worth reading take a longer run."""
    command = [sys.executable, str(ROOT / "benchmark" / "transport.py")]
    command += ["--sizes", "160x120", "--seconds", "1", "--rounds", "1", "--json"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    (size,) = json.loads(done.stdout)["sizes"]
    assert (size["width"], size["height"]) == (160, 120)
    for way in ("cv_bridge", "raw", "raw_kept", "node"):
        figures = size[way]
        assert 20 < figures["received"] <= figures["sent"] and figures["cpu_ms"] > 0
        assert 0 < figures["latency_p50_ms"] <= figures["latency_p95_ms"]
    assert size["raw"]["cpu_ratio"] == size["raw"]["cpu_ms"] / size["cv_bridge"]["cpu_ms"]


def test_the_node_keeps_freed_image_memory() -> None:
    """Page faults of three buffers, taken and freed 20 times: they occur once, not each time."""
    code = """
import resource, sys
from lrn_ros.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    [bytearray(b"x") * (20 << 20) for _ in range(3)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)
"""
    faults = {}
    for way in ("keep", "return"):
        done = subprocess.run(
            [sys.executable, "-c", code, way], capture_output=True, text=True, check=True
        )
        faults[way] = int(done.stdout)
    pages = 3 * (20 << 20) / os.sysconf("SC_PAGE_SIZE")
    assert faults["keep"] < 2 * pages
    assert faults["return"] > 5 * faults["keep"], "on this C library it makes no difference"
