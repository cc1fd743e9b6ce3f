# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What accuracy replay costs beside the network: its rate against the Segmenter's own, and memory.

A bag of the street scene, labelled once a second, is written and replayed as by `lrn replay
--mode accuracy`, and the Segmenter alone runs over the same frames, held in memory: in turns,
several times. Both are of this machine as loaded as it is; the ratio is of neighbours in time, and
its median is reported.
Memory is the process's resident set after the first tenth of each replay's frames and its largest
value after that: what grows with the bag shows there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import cv2

from lrn_ros.bags.reader import BagReader
from lrn_ros.bags.writer import BagWriter
from lrn_ros.cli.common import add_segmenter_options, load_segmenter, positive
from lrn_ros.evaluation.machine import resident_mb
from lrn_ros.evaluation.replay.accuracy import replay
from lrn_ros.evaluation.replay.scoring import TruthOptions
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.labels import LabelSet
from lrn_ros.sources import SceneSource

TOPIC = "/camera/image_raw"
HELD = 20  # frames that the Segmenter alone runs over, again and again
RENDERED = 100  # frames that fill a long bag, again and again: rendering takes longer than reading


def write_scene(path: Path, size: tuple[int, int], frames: int, rate: float, every: int) -> None:
    """Write a bag of the scene; one frame in `every` has a label, 0: none has."""
    rendered = list(islice(SceneSource(0, size, rate).frames(), min(frames, RENDERED)))
    with BagWriter(path, "mcap", TOPIC, False, LabelSet.load("camvid11")) as writer:
        for i, frame in enumerate(islice(cycle(rendered), frames)):
            label = frame.label if every and i % every == 0 else None
            writer.write(round((1.7e9 + i / rate) * 1e9), frame.rgb, label)


def replay_once(segmenter: Segmenter, bag: Path, thorough: bool) -> tuple[float, float]:
    """Frames a second, and growth of the resident set in MB."""
    sizes: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "part"
        replay(
            segmenter,
            BagReader(bag),
            TOPIC,
            out,
            TruthOptions(),
            thorough=thorough,
            progress=lambda count: sizes.append(resident_mb()),
        )
        summary = json.loads((out / "part.json").read_text(encoding="utf-8"))
    settled = len(sizes) // 10
    return len(sizes) / summary["seconds"], max(sizes[settled:]) - sizes[settled]


def segment_only(segmenter: Segmenter, bag: Path, count: int) -> float:
    """Frames a second of the Segmenter over frames in memory."""
    frames = [f.rgb for f in islice(BagReader(bag).frames(TOPIC), HELD)]
    start = time.perf_counter()
    for i in range(count):
        segmenter(frames[i % len(frames)])
    return count / (time.perf_counter() - start)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", default="lrnnet_c_camvid")
    add("--size", type=positive, nargs=2, default=(720, 1280), metavar=("H", "W"))
    add("--frames", type=positive, default=300, help="of the bag (%(default)s)")
    add("--rate", type=float, default=30.0, help="Hz, of the bag (%(default)s)")
    add("--label-every", type=int, default=30, help="frames; 0: no labels (%(default)s)")
    add("--turns", type=positive, default=3, help="(%(default)s)")
    add("--thorough", action="store_true", help="see lrn replay")
    add_segmenter_options(parser)
    args = parser.parse_args()
    cv2.setNumThreads(1)  # as in a replay
    segmenter, half = load_segmenter(args), min(args.frames // 2, 300)
    turns = []
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / "bag"
        write_scene(bag, tuple(args.size), args.frames, args.rate, args.label_every)
        segmenter.warm_up(*args.size)
        for _ in range(args.turns):
            before = segment_only(segmenter, bag, half)
            rate, growth = replay_once(segmenter, bag, args.thorough)
            after = segment_only(segmenter, bag, half)
            alone = 2 / (1 / before + 1 / after)  # equally many frames each
            turns.append({"replay": rate, "alone": alone, "ratio": rate / alone, "mb": growth})
    print(
        json.dumps(
            {
                "backend": segmenter.backend.name,
                "precision": segmenter.backend.precision,
                "device": segmenter.backend.device_name,
                "size": list(args.size),
                "frames": args.frames,
                "rate": args.rate,
                "label_every": args.label_every,
                "turns": turns,
                "ratio": statistics.median(t["ratio"] for t in turns),
                "growth_mb": [t["mb"] for t in turns],
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
