# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn segment: images, a folder of images, a video or a rosbag2 to masks, without ROS."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import (
    add_segmenter_options,
    claim_output,
    load_segmenter,
    positive,
    print_json,
    share,
)
from lrn_ros.errors import RunError, UserError

if TYPE_CHECKING:
    import cv2
    import numpy as np
    from numpy.typing import NDArray

    from lrn_ros.data.sources import Frame, Source
    from lrn_ros.inference.result import Timings
    from lrn_ros.inference.segmenter import Segmenter
    from lrn_ros.inference.smoothing import Smoother


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "segment",
        help="images or video without ROS",
        description=__doc__,
        epilog="Images give NAME_mask.png (class ids, 255 unlabelled), NAME_color.png and"
        " NAME_overlay.png; a video or bag gives overlay.mp4, and with --masks the masks.",
    )
    add = parser.add_argument
    add("input", type=Path, metavar="INPUT", help="image, folder of images, video or rosbag2")
    add("--output", type=Path, required=True, metavar="DIR")
    add("--model", default="lrnnet_c_camvid", help="a name, or a path (%(default)s)")
    add_segmenter_options(parser)
    add("--overlay-alpha", type=share, default=0.5, help="0 to 1 (%(default)s)")
    add("--palette", choices=("display", "dataset"), default="display",
        help="colours that are easy to tell apart, or the data set's (%(default)s)")  # fmt: skip
    add("--masks", action="store_true", help="for a video or bag: also write every mask")
    add("--limit", type=positive, help="only the first so many frames")
    add("--topic", help="image topic of a bag; default: its first")
    add("--temporal-smoothing", action="store_true", help="of a video or bag: average over frames")
    add("--json", action="store_true", help="print the figures as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment everything and print how fast it went."""
    from itertools import islice

    from tqdm import tqdm

    from lrn_ros.data.sources import FolderSource, open_source

    source = open_source(args.input, None, args.topic)
    if args.input.resolve() == args.output.resolve():
        raise UserError(f"--output {args.output}: is the input; name another folder")
    smoother = _smoother(source) if args.temporal_smoothing else None
    segmenter = load_segmenter(args)
    claim_output(args.output, "segment")
    single = isinstance(source, FolderSource)
    writer = _Images(args, segmenter) if single else _Video(args, segmenter, source)
    count = min(source.count or args.limit or 0, args.limit or source.count or 0) or None
    timings, start = [], time.perf_counter()
    with tqdm(total=count, unit="frame", disable=not sys.stderr.isatty()) as bar:
        for frame in islice(source.frames(), args.limit):
            smooth = smoother.at(frame.seconds or 0.0) if smoother else None
            result = segmenter(frame.rgb, smooth=smooth)
            timings.append(result.timings)
            writer.write(frame, result.mask)
            bar.update()
    writer.close()
    if not timings:
        raise RunError(f"{args.input}: not one frame could be read")
    _print(args, segmenter, timings, time.perf_counter() - start)
    return 0


def _smoother(source: Source) -> Smoother:
    """What smooths the frames of a source that has a rate."""
    from lrn_ros.inference.smoothing import Smoother

    if source.rate is None:
        raise UserError(
            f"--temporal-smoothing: {source.title} has no frame rate; videos and bags have one"
        )
    return Smoother()


class _Pictures:
    """Colours and overlays of masks."""

    def __init__(self, args: argparse.Namespace, segmenter: Segmenter) -> None:
        from lrn_ros.inference.palette import shown

        self.folder, self._alpha = args.output, args.overlay_alpha
        self.labels = shown(segmenter.labels, args.palette)

    def color(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        from lrn_ros.inference.overlay import colorize

        return colorize(mask, self.labels.lookup())

    def overlay(self, frame: Frame, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        from lrn_ros.inference.overlay import draw_overlay

        return draw_overlay(frame.rgb, mask, self.labels, self._alpha)

    def save(self, name: str, picture: NDArray[np.uint8]) -> None:
        """Write a mask (H, W) or an RGB picture as PNG."""
        import cv2

        out = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
        if not cv2.imwrite(str(self.folder / name), out):
            raise RunError(f"{self.folder / name}: cannot be written")


class _Images(_Pictures):
    """Three PNGs an image."""

    def write(self, frame: Frame, mask: NDArray[np.uint8]) -> None:
        self.save(f"{frame.name}_mask.png", mask)
        self.save(f"{frame.name}_color.png", self.color(mask))
        self.save(f"{frame.name}_overlay.png", self.overlay(frame, mask))

    def close(self) -> None:
        """Nothing is open."""


class _Video(_Pictures):
    """One overlay video, and masks when asked for."""

    def __init__(self, args: argparse.Namespace, segmenter: Segmenter, source: Source) -> None:
        super().__init__(args, segmenter)
        self._masks, self._rate = args.masks, source.rate or 25.0
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: Frame, mask: NDArray[np.uint8]) -> None:
        import cv2

        from lrn_ros.inference.overlay import draw_legend

        if self._masks:
            self.save(f"{frame.name}_mask.png", mask)
        if self._writer is None:
            path, size = self.folder / "overlay.mp4", (mask.shape[1], mask.shape[0])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(path), code, self._rate, size)
            if not self._writer.isOpened():
                raise RunError(f"{path}: OpenCV cannot write an mp4 video here")
        picture = self.overlay(frame, mask)
        draw_legend(picture, mask, self.labels)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


def _stages(timings: Timings) -> Mapping[str, float]:
    return {
        "preprocess_ms": timings.preprocess_ms,
        "inference_ms": timings.inference_ms,
        "postprocess_ms": timings.postprocess_ms,
        "total_ms": timings.total_ms,
    }


def _print(
    args: argparse.Namespace, segmenter: Segmenter, timings: list[Timings], seconds: float
) -> None:
    from dataclasses import asdict

    from lrn_ros.metrics.latency import by_stage, table

    stages = by_stage([_stages(t) for t in timings])
    backend, fps = segmenter.backend, len(timings) / seconds
    if args.json:
        print_json(
            {
                "input": str(args.input),
                "output": str(args.output),
                "model": segmenter.info.name,
                "backend": backend.name,
                "precision": backend.precision,
                "frames": len(timings),
                "fps": round(fps, 3),
                "fused": list(timings[0].fused),
                "latency_ms": {name: asdict(p) for name, p in stages.items()},
            }
        )
        return
    print(f"{segmenter.info.name} on {backend.name} {backend.precision}, {backend.device_name}")
    print(f"{len(timings)} frames, {fps:.1f} fps with reading and writing; wrote {args.output}/")
    print("\n".join(table(stages)))
