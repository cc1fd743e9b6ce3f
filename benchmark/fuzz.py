# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sends malformed and hostile image messages to a live node, with valid messages in between.

python benchmark/fuzz.py --count 10000      # of each: raw and compressed
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from node_process import running_node, until
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from lrn_ros.play.processes import NODE, ProcessGroup
from lrn_ros.ros.qos import profile

_SIZE = (64, 96)
_EVERY = 20  # hostile messages between two valid ones
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Result:
    """The numbers of sent messages, and their fates.

    Attributes:
        hostile, valid: messages sent.
        answered: valid ones with a mask.
        published: masks, by the node's count.
        dropped: by cause; what a newer message replaced before it was looked at is superseded.
        unexplained: messages that are in none of these.
        causes: kinds of fault that the node named.
    """

    transport: str
    hostile: int
    valid: int
    answered: int
    published: int
    dropped: dict[str, int]
    unexplained: int
    causes: tuple[str, ...]


class Attacker(Node):
    """Publishes serialized messages and counts the node's answers."""

    def __init__(self, transport: str, context: Any) -> None:
        super().__init__("attacker", context=context)
        raw = transport == "raw"
        topic = "/image" if raw else "/image/compressed"
        self.publisher = self.create_publisher(Image if raw else CompressedImage, topic, profile(1))
        self.answered: set[int] = set()
        self.values: dict[str, str] = {}
        self.create_subscription(Image, f"{NODE}/mask", self._on_mask, profile(10))
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, profile(10))

    def _on_mask(self, message: Image) -> None:
        self.answered.add(message.header.stamp.sec)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": camera"):
                self.values = {v.key: v.value for v in status.values}

    def send(self, data: bytes) -> None:
        """Publish bytes as they are, when the last message has arrived."""
        self.publisher.publish(data)
        self.publisher.wait_for_all_acked()


def valid(transport: str, number: int) -> bytes:
    """A serialized message that the node answers; its number is the stamp's seconds."""
    pixels = np.random.default_rng(number).integers(0, 255, (*_SIZE, 3), np.uint8)
    if transport == "raw":
        message = Image(height=_SIZE[0], width=_SIZE[1], step=3 * _SIZE[1], encoding="rgb8")
        message.data.frombytes(pixels.tobytes())
    else:
        message = CompressedImage(format="rgb8; jpeg compressed bgr8")
        message.data.frombytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    message.header.stamp.sec, message.header.frame_id = number, "camera"
    return bytes(serialize_message(message))


def hostile(transport: str, whole: bytes, choice: random.Random) -> bytes:
    """A message that is not valid: it is cut short, or one of its fields is wrong."""
    at = 4 + 8 + 4 + 8  # behind encapsulation, stamp and "camera" with its length, aligned
    ways: list[Callable[[], bytes]] = [
        lambda: whole[: choice.randrange(8, len(whole) - 4)],
        lambda: _with(whole, 0, struct.pack("<H", choice.choice((0x200, 0x600, 0xFFFF)))),
        lambda: _with(whole, 12, struct.pack("<I", choice.choice((2**31, 2**32 - 1, 10**6)))),
        lambda: _with(whole, 16, b"\xff\xfe\xfd"),
    ]
    if transport == "raw":
        ways += [
            lambda: _with(whole, at, struct.pack("<I", choice.choice((0, 65, 10**9, 2**32 - 1)))),
            lambda: _with(whole, at + 4, struct.pack("<I", choice.choice((0, 97, 2**31)))),
            lambda: _with(whole, at + 8, struct.pack("<I", choice.choice((0, 3, 2**32 - 1)))),
            lambda: _with(whole, at + 12, bytes(choice.choices(b"abcxyz789", k=4))),
        ]
    else:
        start = whole.index(b"\xff\xd8\xff")
        ways += [
            lambda: _with(whole, start, bytes(choice.choices(range(256), k=16))),
            lambda: _with(
                whole, start, b"\x89PNG\r\n\x1a\n" + bytes(choice.choices(range(9), k=40))
            ),
            lambda: _with(
                whole, start - 4, struct.pack("<I", choice.choice((0, 2**32 - 1, 10**8)))
            ),
        ]
    return choice.choice(ways)()


def _with(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def fuzz(transport: str, count: int, seed: int) -> Result:
    """Send `count` hostile messages over DDS, and valid ones in between.

    Raises:
        SystemExit: the node ended, or a valid message was not answered in time.
    """
    parameters = {"image_transport": transport, "network_size": "[64, 96]"}
    with running_node(partial(Attacker, transport), parameters) as (peer, family, _):
        return _attack(peer, family, transport, count, random.Random(seed))


def _attack(
    attacker: Attacker,
    family: ProcessGroup,
    transport: str,
    count: int,
    choice: random.Random,
) -> Result:
    number = 0
    wait = partial(until, family=family, timeout_s=_TIMEOUT_S)

    def answered() -> None:
        """Send a valid message and wait for its mask."""
        nonlocal number
        number += 1
        attacker.send(valid(transport, number))
        wait(lambda: number in attacker.answered, what=f"message {number} is answered")

    wait(lambda: attacker.values.get("reliability") == "reliable", what="it listens")
    wait(lambda: _answers_one(attacker, transport), what="it answers")
    time.sleep(2.5)  # until /diagnostics has counted these
    before = _counts(attacker)
    for i in range(count):
        attacker.send(hostile(transport, valid(transport, number), choice))
        time.sleep(0.004)  # the node keeps one message: most are looked at before the next
        if i % _EVERY == _EVERY - 1:
            answered()
    time.sleep(2.5)
    after = {k: n - before.get(k, 0) for k, n in _counts(attacker).items()}
    dropped = {k.removeprefix("dropped_"): n for k, n in after.items() if k.startswith("dropped_")}
    return Result(
        transport=transport,
        hostile=count,
        valid=number,
        answered=sum(n in attacker.answered for n in range(1, number + 1)),
        published=after["published"],
        dropped={k: n for k, n in dropped.items() if n},
        unexplained=count + number - after["published"] - sum(dropped.values()),
        causes=tuple(k.removeprefix("fault ") for k in attacker.values if k.startswith("fault ")),
    )


def _counts(attacker: Attacker) -> dict[str, int]:
    return {k: int(v) for k, v in attacker.values.items() if v.isdigit()}


def _answers_one(attacker: Attacker, transport: str) -> bool:
    attacker.send(valid(transport, 0))
    time.sleep(0.2)
    return 0 in attacker.answered


def main() -> int:
    """Print the result; returns 1 if a message is unaccounted for, or a valid one unanswered."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--count", type=int, default=10_000, help="number of messages per transport"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    results = [fuzz(transport, args.count, args.seed) for transport in ("raw", "compressed")]
    print(json.dumps([asdict(r) for r in results], indent=2))
    return int(any(r.answered != r.valid or r.unexplained for r in results))


if __name__ == "__main__":
    sys.exit(main())
