# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What accuracy replay costs beside the network: its rate against the Segmenter's own, and memory.

A bag of the street scene, labelled once a second, is written and replayed as by `lrn replay
--mode accuracy`. Every so often the replay is held up, and the Segmenter runs alone over frames in
memory, so that both are of the machine as loaded as it is then. Their ratio is of the whole replay;
the median of the turns is reported.
Memory is the process's resident set after the first tenth of each replay's frames and its largest
value after that: what grows with the bag shows there.

python benchmark/replay.py --turns 1 --rate 15 --frames 9000 --label-every 15   # 10 minutes, 25 GB
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.cli.common import add_segmenter_options, load_segmenter, positive
from lrn_ros.data.bags.reader import BagReader
from lrn_ros.data.bags.writer import BagWriter
from lrn_ros.data.sources import SceneSource
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.memory import resident_mb
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.accuracy import read_part, replay
from lrn_ros.replay.sampling import SHORT
from lrn_ros.replay.scoring import TruthOptions

TOPIC = "/camera/image_raw"
EVERY, ALONE = 150, 40  # frames of the replay before frames of the Segmenter alone
WARM = 3  # of these, run once more before, to wake the processor
DRAIN_S, BUSY = 0.02, 0.25  # one processor is less busy than that: nothing is left to be scored
RENDERED = 100  # frames that fill a long bag, again and again: rendering takes longer than reading


def write_scene(path: Path, size: tuple[int, int], frames: int, rate: float, every: int) -> None:
    """Write a bag of the scene; one frame in `every` has a label, 0: none has."""
    rendered = list(islice(SceneSource(0, size, rate).frames(), min(frames, RENDERED)))
    with BagWriter(path, "mcap", TOPIC, False, LabelSet.load("camvid11")) as writer:
        for i, frame in enumerate(islice(cycle(rendered), frames)):
            label = frame.label if every and i % every == 0 else None
            writer.write(round((1.7e9 + i / rate) * 1e9), frame.rgb, label)


class Interleaved:
    """Holds a replay up every so often, and runs the Segmenter alone.

    Args:
        segmenter: that of the replay.
        frames: (H, W, 3) uint8, as in the replay.

    Attributes:
        replayed: frames of the replay so far.
        held_up_s: for how long it was held up.
        alone_s: of these, how long the Segmenter took.
        alone: its frames.
        sizes: the resident set after every frame of the replay, MB.
    """

    def __init__(self, segmenter: Segmenter, frames: list[NDArray[np.uint8]]) -> None:
        self._segmenter, self._frames = segmenter, frames
        self.replayed = self.alone = 0
        self.held_up_s = self.alone_s = 0.0
        self.sizes: list[float] = []

    def progress(self, count: int) -> None:
        """Called for every frame of the replay."""
        self.replayed += count
        self.sizes.append(resident_mb())
        if self.replayed % EVERY:
            return
        _drain()  # this is the replay's time, for it is its work
        start = time.perf_counter()
        for frame in self._frames[:WARM]:
            self._segmenter(frame)
        begin = time.perf_counter()
        for frame in self._frames:
            self._segmenter(frame)
        self.alone_s += time.perf_counter() - begin
        self.alone += len(self._frames)
        self.held_up_s += time.perf_counter() - start


def _drain() -> None:
    """Wait until this process rests."""
    used = -math.inf
    while time.process_time() - used > BUSY * DRAIN_S:
        used = time.process_time()
        time.sleep(DRAIN_S)


def measure(segmenter: Segmenter, bag: Path, thorough: bool) -> dict[str, float]:
    """Frames a second of the replay and of the Segmenter alone, and growth of memory in MB."""
    held = [f.rgb for f in islice(BagReader(bag).frames(TOPIC), ALONE)]
    beside = Interleaved(segmenter, held)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "part"
        replay(
            segmenter, BagReader(bag), TOPIC, out, TruthOptions(),
            thorough=thorough, progress=beside.progress,
        )  # fmt: skip
        seconds = read_part("part", out, check=False).record.seconds
    rate = beside.replayed / (seconds - beside.held_up_s)
    alone = beside.alone / beside.alone_s
    settled = beside.sizes[len(beside.sizes) // 10 :]
    return {
        "replay": rate,
        "alone": alone,
        "ratio": rate / alone,
        "growth_mb": max(settled) - settled[0],
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="lrnnet_c_camvid")
    add("--size", type=positive, nargs=2, default=(720, 1280), metavar=("H", "W"))
    add("--frames", type=positive, default=900, help=f"of the bag, {EVERY} or more; the"
        f" costly figures are of every frame up to {SHORT} (%(default)s)")  # fmt: skip
    add("--rate", type=float, default=30.0, help="Hz, of the bag (%(default)s)")
    add("--label-every", type=int, default=30, help="frames; 0: no labels (%(default)s)")
    add("--turns", type=positive, default=3, help="(%(default)s)")
    add("--thorough", action="store_true", help="see lrn replay")
    add_segmenter_options(parser)
    args = parser.parse_args()
    if args.frames < EVERY:
        parser.error(f"--frames {args.frames}: {EVERY} or more are needed")
    cv2.setNumThreads(1)  # as in a replay
    segmenter = load_segmenter(args)
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / "bag"
        write_scene(bag, tuple(args.size), args.frames, args.rate, args.label_every)
        segmenter.warm_up(*args.size)
        turns = [measure(segmenter, bag, args.thorough) for _ in range(args.turns)]
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
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
