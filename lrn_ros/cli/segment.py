# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn segment: images, videos, cameras or a rosbag2 to masks, without ROS."""

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
    import numpy as np
    from numpy.typing import NDArray

    from lrn_ros.data.sources import Frame, Source
    from lrn_ros.inference.result import Timings
    from lrn_ros.inference.segmenter import Segmenter
    from lrn_ros.inference.smoothing import Smoother
    from lrn_ros.model.labels import LabelSet


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "segment",
        help="segment images, a video or a camera without ROS",
        description=__doc__,
        epilog="Images give NAME_mask.png (class ids, 255 unlabelled), NAME_color.png and"
        " NAME_overlay.png; a video, camera or bag gives overlay.mp4, and with --masks the masks."
        " A camera or a live stream is read until Ctrl-C or --limit, its newest frame each time."
        " The EXIF orientation of images is not applied, as in the node."
        " Exit status 1: some frames could not be read; the others are there.",
    )
    add = parser.add_argument
    add(
        "input",
        nargs="+",
        metavar="INPUT",
        help="image, folder of images, video, rosbag2, pattern"
        " ('a/*.png'), list of images (.txt), camera (0) or address (rtsp://..., http://...)",
    )
    add("--output", type=Path, required=True, metavar="DIR")
    add("--model", default="lrnnet_c_camvid", help="a name, or a path (%(default)s)")
    add_segmenter_options(parser)
    add(
        "--overlay-alpha",
        type=share,
        default=0.5,
        help="weight of the class colours, 0 to 1 (%(default)s)",
    )
    add("--palette", choices=("display", "dataset"), default="display",
        help="colours that are easy to tell apart, or the data set's (%(default)s)")  # fmt: skip
    add("--masks", action="store_true", help="of a video, camera or bag: also write every mask")
    add("--label-ids", action="store_true", help="also write labelIds/NAME.png with the data set's"
        " own ids, as Cityscapes' evaluation server takes them")  # fmt: skip
    add("--save-scores", action="store_true", help="also write scores/NAME.npy: the probability of"
        " every class, (classes, height, width) float16; runs the network twice")  # fmt: skip
    add("--limit", type=positive, help="stop after so many frames")
    add("--topic", help="image topic of a bag; default: its only one")
    add("--temporal-smoothing", action="store_true", help="of a video or bag: average over frames")
    add("--json", action="store_true", help="print the figures as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment everything and print how fast it went."""
    from itertools import islice

    from tqdm import tqdm

    from lrn_ros.data.sources import BagSource, FolderSource, open_source

    source = open_source(args.input, None, args.topic)
    if args.output.resolve() in {Path(name).resolve() for name in args.input}:
        raise UserError(f"--output {args.output} is the input; name another folder")
    smoother = _smoother(source, args) if args.temporal_smoothing else None
    segmenter = load_segmenter(args)
    ids = _own_ids(segmenter.labels) if args.label_ids else None
    claim_output(args.output, "segment")
    _remove_results(args.output)
    single = isinstance(source, FolderSource)
    writer = _Images(args, segmenter) if single else _Video(args, segmenter, source)
    count = min(source.count or args.limit or 0, args.limit or source.count or 0) or None
    timings, start, interrupted = [], time.perf_counter(), False
    try:
        with tqdm(total=count, unit="frame", disable=not sys.stderr.isatty()) as bar:
            for frame in islice(source.frames(), args.limit):
                smooth = smoother.at(frame.seconds or 0.0) if smoother else None
                result = segmenter(frame.rgb, smooth=smooth)
                timings.append(result.timings)
                writer.write(frame, result.mask, result.timings.total_ms)
                if ids is not None:
                    writer.save(f"labelIds/{_cityscapes_name(frame.name)}.png", ids[result.mask])
                if args.save_scores:
                    _save_scores(args.output, frame, segmenter)
                bar.update()
    except KeyboardInterrupt:  # what is done so far is kept; a live source has no other end
        interrupted = True
    finally:
        writer.close()
    if not timings:
        raise RunError(f"{source.title}: no frame could be read")
    _print(args, source, segmenter, timings, time.perf_counter() - start)
    if interrupted and source.count is not None:
        return 130
    # A bag's damage is a warning, as it may be no more than a missing metadata.yaml.
    return 1 if source.damage and not isinstance(source, BagSource) else 0


def _smoother(source: Source, args: argparse.Namespace) -> Smoother:
    """The smoother for a source with a frame rate; None without --temporal-smoothing."""
    from lrn_ros.inference.smoothing import Smoother

    if source.rate is None:
        raise UserError(
            f"--temporal-smoothing: {source.title} has no frame rate; videos and bags have one"
        )
    if args.save_scores:
        raise UserError(
            "--save-scores: the scores of single frames are saved, which are not those"
            " of --temporal-smoothing; take one of the two"
        )
    return Smoother()


def _own_ids(labels: LabelSet) -> NDArray[np.uint8]:
    """(256,) uint8: the data set's own id of every class id; 0 for unlabelled.

    Raises:
        UserError: the set has no ids of its own, or 0 is one of a class.
    """
    import numpy as np

    if not labels.ids or 0 in labels.ids:
        raise UserError(
            f"--label-ids: {labels.name} has no ids of its own beside the class ids that the masks"
            " have already; cityscapes19 has"
        )
    table = np.zeros(256, np.uint8)
    table[: len(labels)] = labels.ids
    return table


def _cityscapes_name(name: str) -> str:
    """The evaluation server finds a result by city, sequence and frame, one file for each."""
    return f"{name.removesuffix('_leftImg8bit')}_pred_labelIds"


def _save_scores(output: Path, frame: Frame, segmenter: Segmenter) -> None:
    import numpy as np

    scores = segmenter.scores(frame.rgb) / segmenter.info.temperature
    scores = np.exp(scores - scores.max(0))
    (output / "scores").mkdir(exist_ok=True)
    np.save(output / "scores" / f"{frame.name}.npy", (scores / scores.sum(0)).astype(np.float16))


def _remove_results(folder: Path) -> None:
    """Remove what an earlier run wrote, so that no old result is left among the new ones."""
    for pattern in (
        "*_mask.png",
        "*_color.png",
        "*_overlay.png",
        "overlay.mp4",
        ".overlay.mp4.partial",
        "labelIds/*_pred_labelIds.png",
        "scores/*.npy",
    ):
        for file in folder.glob(pattern):
            file.unlink()


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
        from lrn_ros.images.compressed import write_png

        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        write_png(path, picture)


class _Images(_Pictures):
    """Three PNGs for every image."""

    def write(self, frame: Frame, mask: NDArray[np.uint8], latency_ms: float) -> None:
        self.save(f"{frame.name}_mask.png", mask)
        self.save(f"{frame.name}_color.png", self.color(mask))
        self.save(f"{frame.name}_overlay.png", self.overlay(frame, mask))

    def close(self) -> None:
        """Nothing is open."""


class _Video(_Pictures):
    """One overlay video, with the frames' own times, and masks when asked for."""

    def __init__(self, args: argparse.Namespace, segmenter: Segmenter, source: Source) -> None:
        from lrn_ros.images.video import VideoWriter

        super().__init__(args, segmenter)
        self._masks, self._rate = args.masks, source.rate or 25.0
        self._writer = VideoWriter(self.folder / "overlay.mp4", self._rate)

    def write(self, frame: Frame, mask: NDArray[np.uint8], latency_ms: float) -> None:
        from lrn_ros.inference.overlay import draw_legend, draw_note

        if self._masks:
            self.save(f"{frame.name}_mask.png", mask)
        at = frame.index / self._rate if frame.seconds is None else frame.seconds
        picture = self.overlay(frame, mask)
        draw_legend(picture, mask, self.labels)
        draw_note(picture, f"{at:.2f} s  frame {frame.index}  {latency_ms:.0f} ms")
        self._writer.add(picture, at)

    def close(self) -> None:
        self._writer.close()
        if self._writer.resized:
            print(
                f"lrn segment: {self._writer.resized} frames have another size than the first; in"
                " overlay.mp4 they are fitted into that size",
                file=sys.stderr,
            )


def _stages(timings: Timings) -> Mapping[str, float]:
    return {
        "preprocess_ms": timings.preprocess_ms,
        "inference_ms": timings.inference_ms,
        "postprocess_ms": timings.postprocess_ms,
        "total_ms": timings.total_ms,
    }


def _print(
    args: argparse.Namespace,
    source: Source,
    segmenter: Segmenter,
    timings: list[Timings],
    seconds: float,
) -> None:
    from dataclasses import asdict

    from lrn_ros.data.sources import without_password
    from lrn_ros.metrics.latency import by_stage, table

    stages = by_stage([_stages(t) for t in timings])
    backend, fps = segmenter.backend, len(timings) / seconds
    if args.json:
        print_json(
            {
                "input": " ".join(map(without_password, args.input)),
                "output": str(args.output),
                "model": segmenter.info.name,
                "backend": backend.name,
                "precision": backend.precision,
                "frames": len(timings),
                "damage": source.damage,
                "fps": round(fps, 3),
                "fused": list(timings[0].fused),
                "latency_ms": {name: asdict(p) for name, p in stages.items()},
            }
        )
        return
    print(f"{segmenter.info.name} on {backend.name} {backend.precision}, {backend.device_name}")
    print(f"{len(timings)} frames, {fps:.1f} fps with reading and writing; wrote {args.output}/")
    print("\n".join(table(stages)))
    if source.damage:
        print(f"lrn segment: {source.damage}", file=sys.stderr)
