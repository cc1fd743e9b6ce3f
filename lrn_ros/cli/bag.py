# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn bag create: a rosbag2 from images, a video or the built-in scene, with labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrn_ros.cli.common import frequency, natural, positive, print_json
from lrn_ros.errors import RunError, UserError, needs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lrn_ros.data.sources import Frame, Source
    from lrn_ros.model.labels import LabelSet

    Labelled = tuple[NDArray[np.uint8], NDArray[np.uint8] | None, float | None]

SCENE = "scene"
_RATE = 10.0
_SCENE_FRAMES = 100
_START_NS = 1_700_000_000 * 1_000_000_000  # the first stamp; fixed: the same input, the same bag


@dataclass(frozen=True)
class _Input:
    """The content of a new bag.

    Attributes:
        frames: (H, W, 3) uint8 RGB, (H, W) uint8 class ids or None, and the frame's own time in
            seconds, None: its number and the rate say.
        count: their number; None: unknown.
        rate: Hz.
        label_set: the classes; None: there are no labels.
        source: where the frames come from, if it may be damaged.
    """

    frames: Iterator[Labelled]
    count: int | None
    rate: float
    label_set: LabelSet | None
    source: Source | None = None


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("bag", help="make a rosbag2", description=__doc__)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser(
        "create",
        help="make a bag from a folder of images, a video or the built-in scene",
        description="Make a rosbag2 with images, camera_info and labels.",
        epilog="A folder has labels if it is a split of a data set: NAME with NAMEannot beside it,"
        " leftImg8bit/NAME with gtFine/NAME, or images/NAME with labels/NAME. Labels are mono8"
        " class ids, 255 unlabelled, on the topic `labels` beside the images'; their names and"
        " colours are on labels/classes.",
    )
    add = create.add_argument
    add("source", metavar="SOURCE", help="folder of images, image, video, or the word scene")
    add("--output", type=Path, required=True, metavar="BAG", help="the new bag's folder")
    add("--labels", type=Path, metavar="DIR", help="label PNGs, named as the images (of a video:"
        " 000000.png is the first frame's); images without one have no label")  # fmt: skip
    add("--label-set", metavar="NAME", help="label set of the ids in the labels; default:"
        " camvid11, or cityscapes19 for gtFine")  # fmt: skip
    add("--rate", type=frequency, metavar="HZ", help="default: the rate of the video, or 10")
    add("--frames", type=positive, metavar="N", help="only the first N frames; scene: 100")
    add("--storage", choices=("mcap", "sqlite3"), default="mcap", help="(%(default)s)")
    add("--compressed", action="store_true", help="JPEG images on TOPIC/compressed, not raw ones")
    add("--topic", default="/camera/image_raw", help="topic of the images (%(default)s)")
    add("--size", type=positive, nargs=2, metavar=("H", "W"), help="size of the scene (360 640)")
    add("--seed", type=natural, help="seed of the scene (0)")
    add("--json", action="store_true", help="print what was written as JSON")
    create.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the bag and print its topics."""
    from tqdm import tqdm

    with needs("bags", "writing bags"):
        from lrn_ros.data.bags.writer import BagWriter
    given = _scene(args) if args.source == SCENE else _files(args)
    writer = BagWriter(args.output, args.storage, args.topic, args.compressed, given.label_set)
    frames = labels = 0
    with writer, tqdm(total=given.count, unit="frame", disable=not sys.stderr.isatty()) as bar:
        for rgb, label, seconds in given.frames:
            at = frames / given.rate if seconds is None else seconds
            writer.write(_START_NS + round(at * 1e9), rgb, label)
            frames, labels = frames + 1, labels + (label is not None)
            bar.update()
        if not frames:
            raise RunError(f"{args.source}: no frame could be read")
        if args.labels and not labels:
            raise UserError(f"--labels {args.labels}: no PNG there has the name of an image")
    _print(args, frames, labels, given.rate)
    if given.source is not None and given.source.damage:
        print(f"lrn bag: {given.source.damage}", file=sys.stderr)
        return 1
    return 0


def _scene(args: argparse.Namespace) -> _Input:
    """The built-in scene with its own labels."""
    from lrn_ros.data.sources import SceneSource
    from lrn_ros.model.labels import LabelSet

    if args.labels or args.label_set:
        raise UserError("--labels and --label-set are for images; the scene has its own labels")
    rate, size = args.rate or _RATE, tuple(args.size or (360, 640))
    source = SceneSource(args.seed or 0, size, rate)
    count = args.frames or _SCENE_FRAMES
    frames = ((f.rgb, f.label, f.seconds) for f in islice(source.frames(), count))
    return _Input(frames, count, rate, LabelSet.load("camvid11"))


def _files(args: argparse.Namespace) -> _Input:
    """Images or a video, with labels where there are some."""
    from lrn_ros.data.bags import is_bag
    from lrn_ros.data.datasets import read_pair
    from lrn_ros.data.layouts import find_files, image_files
    from lrn_ros.data.sources import open_source
    from lrn_ros.model.labels import LabelSet

    path = Path(args.source)
    if args.size or args.seed is not None:
        raise UserError("--size and --seed are for the scene; images and videos keep their size")
    if path.exists() and is_bag(path):
        raise UserError(f"{path} is a rosbag2 already; a folder of images, a video or scene works")
    split = None if args.labels else _split(path)
    cityscapes = split and split[0].joinpath("leftImg8bit").is_dir()
    label_set = LabelSet.load(args.label_set or ("cityscapes19" if cityscapes else "camvid11"))
    if split:
        files = find_files(*split)[: args.frames]
        pairs = (read_pair(f, label_set) for f in files)
        frames = ((p.rgb, p.label, None) for p in pairs)
        return _Input(frames, len(files), args.rate or _RATE, label_set)
    if args.labels:
        image_files(args.labels)  # raises where there are none
    elif args.label_set:
        raise UserError(f"--label-set {args.label_set}: {path} has no labels beside it; see --help")
    source = open_source(args.source)
    first = islice(source.frames(), args.frames)
    found = (
        (f.rgb, _label(f, args.labels, label_set), None if args.rate else f.seconds) for f in first
    )
    count = min(source.count or args.frames or 0, args.frames or source.count or 0) or None
    known = label_set if args.labels else None
    return _Input(found, count, args.rate or source.rate or _RATE, known, source)


def _split(folder: Path) -> tuple[Path, str] | None:
    """Root and split of a data set's folder of images; None: it is none."""
    folder = folder.resolve()
    root = folder.parent.parent
    beside = {"leftImg8bit": "gtFine", "images": "labels"}.get(folder.parent.name)
    if folder.is_dir() and beside and (root / beside / folder.name).is_dir():
        return root, folder.name
    if folder.is_dir() and folder.with_name(f"{folder.name}annot").is_dir():
        return folder.parent, folder.name
    return None


def _label(frame: Frame, folder: Path | None, label_set: LabelSet) -> NDArray[np.uint8] | None:
    from lrn_ros.data.datasets import read_label

    path = folder / f"{frame.name}.png" if folder else None
    if path is None or not path.is_file():
        return None
    label = read_label(path, label_set)
    if label.shape != frame.rgb.shape[:2]:
        raise UserError(f"{path}: size {label.shape} but its image is {frame.rgb.shape[:2]}")
    return label


def _print(args: argparse.Namespace, frames: int, labels: int, rate: float) -> None:
    from lrn_ros.data.bags.reader import BagReader

    topics = BagReader(args.output).topics
    size = sum(f.stat().st_size for f in args.output.iterdir())
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "storage": args.storage,
                "frames": frames,
                "labels": labels,
                "rate": rate,
                "bytes": size,
                "topics": {n: {"type": t.type, "count": t.count} for n, t in topics.items()},
            }
        )
        return
    print(f"{frames} frames at {rate:g} Hz, {labels} labels, {size / 1e6:.1f} MB ({args.storage})")
    for name, topic in topics.items():
        print(f"  {name}  {topic.type}  {topic.count}")
    print(f"wrote {args.output}/; play it with: ros2 bag play {args.output}")
