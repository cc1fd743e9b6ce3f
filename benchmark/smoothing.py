# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What temporal smoothing does to the masks of labelled videos, and what it costs.

python benchmark/smoothing.py --data data/camvid
python benchmark/smoothing.py --data data/camvid --json > benchmark/smoothing.json

The videos are the split of a data set whose files are numbered frames of a drive, as CamVid's are,
and the built-in street scene. Every frame is segmented once alone and once smoothed. Bars, for
each video: flicker falls by a fifth, mIoU does not.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros import Segmenter
from lrn_ros.cli.common import (
    add_segmenter_options,
    frequency,
    load_segmenter,
    positive,
    print_json,
)
from lrn_ros.data.datasets import read_pair
from lrn_ros.data.layouts import find_files
from lrn_ros.errors import BackendError, RunError, UserError
from lrn_ros.inference.smoothing import GAP_S, Smoother
from lrn_ros.metrics.confusion import confusion_matrix, scores
from lrn_ros.metrics.machine import describe
from lrn_ros.metrics.temporal import Motion, find_motion, no_frames, steadiness
from lrn_ros.model.labels import LabelSet
from lrn_ros.scene import StreetScene

_NUMBERS_PER_S = 30.0  # CamVid's frames are numbered at the rate of its camera
_BAR = 0.8  # smoothed flicker by that of single frames
_TRUTH, _ALONE, _SMOOTHED = "truth", "single frames", "smoothed"


@dataclass(frozen=True)
class Frame:
    """A labelled frame: seconds, (H, W, 3) uint8 RGB and (H, W) class ids."""

    seconds: float
    rgb: NDArray[np.uint8]
    label: NDArray[np.uint8]


def from_files(root: Path, split: str, labels: LabelSet) -> Iterator[Frame]:
    """The split's images in order, each at the time that the number in its name tells.

    Raises:
        UserError: there is no such split, or a name ends without a number.
    """
    for file in find_files(root, split):
        number = re.search(r"(\d+)$", file.name)
        if number is None:
            raise UserError(f"{file.name}: no frame number at the end, as 0016E5_07959 has")
        pair = read_pair(file, labels)
        yield Frame(int(number[1]) / _NUMBERS_PER_S, pair.rgb, pair.label)


def from_scene(seed: int, size: tuple[int, int], rate: float, count: int) -> Iterator[Frame]:
    """A street scene's first `count` frames."""
    scene = StreetScene(seed, *size, rate)
    for index in range(count):
        yield Frame(index / rate, *scene.frame(index))


class Tally:
    """What is counted of one kind of masks over videos of K classes, frame by frame."""

    def __init__(self, classes: int) -> None:
        self._steadiness = no_frames(classes)
        self._matrix = self._steadiness.matrix.copy()
        self._mask: NDArray[np.uint8] | None = None

    def add(self, mask: NDArray[np.uint8], label: NDArray[np.uint8], motion: Motion | None) -> None:
        """Count a frame; with `motion` since the one before, its steadiness too."""
        classes = len(self._matrix)
        self._matrix += confusion_matrix(label, mask, classes)
        if motion is not None and self._mask is not None:
            self._steadiness += steadiness(self._mask, mask, motion, classes)
        self._mask = mask

    def figures(self) -> dict[str, Any]:
        """In percent; `still`: pixels that flicker is a share of."""
        found, steady = scores(self._matrix), self._steadiness
        return {
            "miou": 100 * found.miou,
            "iou": [100 * v for v in found.iou],
            "flicker": 100 * steady.flicker,
            "consistency": 100 * steady.consistency,
            "still": steady.still,
        }


def measure(segmenter: Segmenter, videos: list[Iterator[Frame]]) -> dict[str, Any]:
    """Figures of truth, single frames and smoothed ones over videos counted together.

    `added_ms`: median over frames of the smoothed postprocessing less the other.

    Raises:
        RunError: no two frames follow each other closely enough to be smoothed.
    """
    tallies = {kind: Tally(len(segmenter.labels)) for kind in (_TRUTH, _ALONE, _SMOOTHED)}
    added: list[float] = []
    frames = 0
    for video in videos:
        smoother, before = Smoother(), None
        for frame in video:
            alone = segmenter(frame.rgb)
            smoothed = segmenter(frame.rgb, smooth=smoother.at(frame.seconds))
            motion = None
            if before is not None and 0 < frame.seconds - before.seconds <= GAP_S:
                motion = find_motion(before.rgb, frame.rgb)
                added.append(smoothed.timings.postprocess_ms - alone.timings.postprocess_ms)
            masks = frame.label, alone.mask, smoothed.mask
            for kind, mask in zip(tallies, masks, strict=True):
                tallies[kind].add(mask, frame.label, motion)
            before, frames = frame, frames + 1
    if not added:
        raise RunError(f"no frame follows another within {GAP_S} s: nothing can be smoothed")
    kinds = {kind: tally.figures() for kind, tally in tallies.items()}
    return {"frames": frames, "added_ms": statistics.median(added), **kinds}


def missed(video: dict[str, Any]) -> list[str]:
    """The bars that a video's figures miss."""
    alone, smoothed = video[_ALONE], video[_SMOOTHED]
    bars = {
        "flicker falls by less than a fifth": smoothed["flicker"] > _BAR * alone["flicker"],
        "mIoU falls": smoothed["miou"] < alone["miou"],
    }
    return [bar for bar, holds in bars.items() if holds]


def table(videos: dict[str, dict[str, Any]]) -> str:
    """The figures of all videos in Markdown."""
    lines = [
        "| video | masks | mIoU % | flicker % | consistency % | added ms |",
        "|---|---|---|---|---|---|",
    ]
    for title, video in videos.items():
        for kind in (_TRUTH, _ALONE, _SMOOTHED):
            v = video[kind]
            added = f"{video['added_ms']:.1f}" if kind == _SMOOTHED else ""
            figures = f"{v['miou']:.2f} | {v['flicker']:.2f} | {v['consistency']:.2f} | {added}"
            lines.append(f"| {title}, {video['frames']} frames | {kind} | {figures} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="lrnnet_c_camvid", help="a name, or a path (%(default)s)")
    add("--data", type=Path, metavar="DATASET", help="labelled video; default: the scene alone")
    add("--split", default="val", help="of it (%(default)s)")
    add("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of street scenes (1 2 3)")
    add("--frames", type=positive, default=60, help="of every scene (%(default)s)")
    add("--rates", type=frequency, nargs="+", default=[15.0, 30.0], help="of them, Hz (15 30)")
    add("--size", type=positive, nargs=2, default=(360, 480), metavar=("H", "W"), help="of them")
    add_segmenter_options(parser)
    add("--json", action="store_true", help="print as JSON")
    return parser


def main() -> int:
    """Measure and print; 1 where a bar is missed."""
    args = _parser().parse_args()
    cv2.setNumThreads(1)  # as in the node
    videos: dict[str, dict[str, Any]] = {}
    try:
        segmenter = load_segmenter(args)
        if args.data:
            video = from_files(args.data, args.split, segmenter.labels)
            videos[f"{args.data.resolve().name} {args.split}"] = measure(segmenter, [video])
        for rate in args.rates:
            scenes = [from_scene(s, tuple(args.size), rate, args.frames) for s in args.seeds]
            videos[f"street scene, {rate:g} Hz"] = measure(segmenter, scenes)
    except (UserError, BackendError, RunError) as error:
        print(f"smoothing: {error}", file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    report = {
        "machine": asdict(describe()),
        "model": segmenter.info.name,
        "backend": f"{segmenter.backend.name} {segmenter.backend.precision}",
        "classes": list(segmenter.labels.names),
        "scenes": {"seeds": args.seeds, "size": list(args.size)},
        "videos": videos,
    }
    if args.json:
        print_json(report)
    else:
        print(table(videos))
    misses = [f"{title}: {bar}" for title, video in videos.items() for bar in missed(video)]
    for miss in misses:
        print(f"MISSED: {miss}", file=sys.stderr)
    return int(bool(misses))


if __name__ == "__main__":
    sys.exit(main())
