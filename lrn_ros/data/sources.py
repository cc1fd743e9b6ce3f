# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of frames: the built-in scene, videos, cameras, images or a rosbag2."""

from __future__ import annotations

import glob
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.datasets import read_label
from lrn_ros.data.layouts import IMAGE_SUFFIXES, image_files
from lrn_ros.errors import UserError, needs
from lrn_ros.images.compressed import read_image
from lrn_ros.model.labels import LabelSet

_CAMERA_FORMAT = "v4l2"
_LOG = logging.getLogger("lrn_ros")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class Frame:
    """One frame of a source.

    Attributes:
        index: position in the source, from 0.
        name: file stem, or the index as six digits; no other frame of the source has it.
        rgb: (H, W, 3) uint8.
        label: (H, W) uint8 class ids where the truth is known, else None.
        seconds: time on the clock of the source; None if it is unknown.
    """

    index: int
    name: str
    rgb: NDArray[np.uint8]
    label: NDArray[np.uint8] | None = None
    seconds: float | None = None


class Source(Protocol):
    """A finite or endless sequence of frames that can be read again and again.

    Attributes:
        title: what it is, for people.
        rate: frames per second of the source; None if it has no rate.
        count: number of frames; None where it is endless or unknown.
        label_set: name of the label set of its labels; None where it has none.
        damage: what the last pass could not read, in one line; None: nothing that is known.
    """

    title: str
    rate: float | None
    count: int | None
    label_set: str | None

    @property
    def damage(self) -> str | None:
        """See the attributes of the class."""

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """All frames in order, or those with an index in `wanted`."""


class SceneSource:
    """The rendered street scene; endless."""

    rate: float | None = None
    count: int | None = None
    label_set: str | None = "camvid11"
    damage: str | None = None

    def __init__(self, seed: int, size: tuple[int, int], fps: float) -> None:
        self._arguments = (seed, size[0], size[1], fps)
        self.title = f"street scene {size[1]}x{size[0]}, seed {seed}"

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """See Source.frames."""
        from lrn_ros.scene import StreetScene

        try:
            scene = StreetScene(*self._arguments)
        except ValueError as error:
            raise UserError(f"street scene: {error}") from error
        index, fps = 0, self._arguments[3]
        while wanted is None or index <= max(wanted, default=-1):
            if wanted is None or index in wanted:
                rgb, label = scene.frame(index)
                yield Frame(index, f"{index:06d}", rgb, label, index / fps)
            index += 1


class FolderSource:
    """Image files; with labels where a folder NAMEannot lies beside folder NAME.

    A file that cannot be read is left out with a warning, and the others keep their numbers. Files
    of one stem get names that differ: with the suffix, or with the name of their folder.

    Args:
        files: the images, in order.
        title: see Source.
        labels: classes of the labels; None: labels are not read.
        annotations: folder with the labels STEM.png; None: there are none.
    """

    rate: float | None = None

    def __init__(
        self,
        files: Sequence[Path],
        title: str,
        labels: LabelSet | None = None,
        annotations: Path | None = None,
    ) -> None:
        self._files, self.title = list(files), title
        known = labels is not None and annotations is not None and annotations.is_dir()
        self._annotations, self._labels = annotations if known else None, labels
        self.label_set = labels.name if known and labels else None
        self.count: int | None = len(self._files)
        self._unreadable: list[str] = []

    @property
    def damage(self) -> str | None:
        """See Source."""
        if not self._unreadable:
            return None
        count, more = len(self._unreadable), ", ..." if len(self._unreadable) > 10 else ""
        names = ", ".join(self._unreadable[:10])
        return f"{count} of {len(self._files)} images cannot be read: {names}{more}"

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """See Source.frames."""
        self._unreadable = []
        for index, (file, name) in enumerate(zip(self._files, distinct_names(self._files))):
            if wanted is not None and index not in wanted:
                continue
            try:
                rgb = read_image(file)
            except UserError as error:
                if len(self._files) == 1:
                    raise
                _LOG.warning("left out: %s", error)
                self._unreadable.append(file.name)
                continue
            yield Frame(index, name, rgb, self._label(file))

    def _label(self, file: Path) -> NDArray[np.uint8] | None:
        if self._annotations is None or self._labels is None:
            return None
        path = self._annotations / f"{file.stem}.png"
        return read_label(path, self._labels) if path.is_file() else None


def distinct_names(files: Sequence[Path]) -> list[str]:
    """A different name for every file: its stem, if no other file has the same stem.

    >>> distinct_names([Path("x/a.png"), Path("x/a.jpg"), Path("x/b.png")])
    ['a_png', 'a_jpg', 'b']
    >>> distinct_names([Path("x/a.png"), Path("y/a.png")])
    ['x_a', 'y_a']
    """
    stems = Counter(file.stem for file in files)
    folders: dict[str, set[Path]] = {}
    for file in files:
        folders.setdefault(file.stem, set()).add(file.parent)
    names = []
    for file in files:
        name = file.stem
        if stems[name] > 1:
            same_folder = len(folders[name]) == 1
            name = f"{name}_{file.suffix[1:]}" if same_folder else f"{file.parent.name}_{name}"
        names.append(name)
    taken = Counter(names)
    for i, name in enumerate(names):
        number = 2
        while taken[names[i]] > 1:
            taken[names[i]] -= 1
            names[i] = f"{name}_{number}"
            taken[names[i]] += 1
            number += 1
    return names


class BagSource:
    """One image topic of a rosbag2; a damaged bag ends at the damage, with a warning.

    An image that cannot be decoded is left out, and the others keep their numbers.
    """

    label_set: str | None = None

    def __init__(self, path: Path, topic: str | None = None) -> None:
        with needs("bags", f"{path}: reading bags"):
            from lrn_ros.data.bags.reader import BagReader
        self._bag = BagReader(path)
        self._topic = self._bag.image_topic(topic)
        self.title = f"{path} {self._topic}"
        self.count: int | None = self._bag.topics[self._topic].count
        self.rate: float | None = self._bag.rate(self._topic) or None

    @property
    def damage(self) -> str | None:
        """See Source."""
        return self._bag.damage

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """See Source.frames."""
        for frame in self._bag.frames(self._topic, wanted):
            yield Frame(frame.index, f"{frame.index:06d}", frame.rgb, seconds=frame.time_ns / 1e9)
        if self._bag.damage:
            _LOG.warning("%s: damaged, read in part: %s", self._bag.path, self._bag.damage)


def open_source(
    source: str | Path | int | Sequence[str | Path],
    labels: LabelSet | None = None,
    topic: str | None = None,
) -> Source:
    """Open anything that holds images.

    Args:
        source: a video, an image, a folder of images or a rosbag2; a pattern such as `a/*.png`; a
            text file (.txt) with the path of an image per line, from the text file's folder;
            several images; the number of a camera (0 is /dev/video0) or its device; an address of a
            video or stream (rtsp, http, ...).
        labels: classes of labels that may lie beside a folder of images.
        topic: image topic of a bag; None: its only one.

    Raises:
        UserError: no such path, or nothing that can be read.
    """
    from lrn_ros.data.bags import is_bag

    if isinstance(source, Sequence) and not isinstance(source, str):
        return _files(source) if len(source) != 1 else open_source(source[0], labels, topic)
    path, text = Path(str(source)), str(source)
    if path.exists() and is_bag(path):
        return BagSource(path, topic)
    if topic is not None:
        raise UserError(f"{without_password(text)} is not a rosbag2, so --topic has no meaning")
    if not path.exists():
        return _not_a_path(text)
    if path.is_dir():
        return FolderSource(
            image_files(path), text, labels, path.with_name(f"{path.resolve().name}annot")
        )
    if path.is_char_device():
        return _live(text, text, _CAMERA_FORMAT)
    return _file(path)


def _file(path: Path) -> Source:
    suffix = path.suffix.lower()
    works = (
        f"a video ({', '.join(VIDEO_SUFFIXES)}), an image ({', '.join(IMAGE_SUFFIXES)}), a folder"
        " of images, a text file with the path of an image per line (.txt) or a rosbag2"
    )
    if suffix in IMAGE_SUFFIXES:
        return FolderSource([path], str(path))
    if suffix in VIDEO_SUFFIXES:
        from lrn_ros.data.video_sources import VideoSource

        return VideoSource(str(path), str(path))
    if suffix == ".txt":
        lines = [line.strip() for line in path.read_text("utf-8", "replace").splitlines()]
        named = [path.parent / line for line in lines if line and line[0] != "#"]
        if named and named[0].suffix.lower() in IMAGE_SUFFIXES:
            return _files(named, str(path))
    raise UserError(f"{path}: not {works}")


def _not_a_path(text: str) -> Source:
    """A camera by its number, an address, or a pattern."""
    if text.isdigit():
        device = f"/dev/video{text}"
        if not Path(device).exists():
            there = ", ".join(sorted(map(str, Path("/dev").glob("video*")))) or "none"
            raise UserError(f"camera {text}: there is no {device}; this machine has: {there}")
        return _live(device, f"camera {text}", _CAMERA_FORMAT)
    if "://" in text:
        from lrn_ros.data.video_sources import VideoSource

        title = without_password(text)
        video = VideoSource(text, title)
        return video if video.is_finite else _live(text, title)
    if glob.has_magic(text):
        found = sorted(Path(name) for name in glob.glob(text, recursive=True))
        images = [f for f in found if f.suffix.lower() in IMAGE_SUFFIXES]
        if not images:
            raise UserError(f"{text}: no image has such a name ({', '.join(IMAGE_SUFFIXES)})")
        return FolderSource(images, text)
    raise UserError(f"{text}: no such file or folder")


def _live(name: str, title: str, format: str | None = None) -> Source:
    from lrn_ros.data.video_sources import LiveSource

    return LiveSource(name, title, format)


def _files(paths: Sequence[str | Path], title: str = "") -> FolderSource:
    """Several images."""
    files = [Path(path) for path in paths]
    where = f"{title}: " if title else ""
    for file in files:
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            works = ", ".join(IMAGE_SUFFIXES)
            raise UserError(
                f"{where}{file} is not an image ({works}); a list must name images only"
            )
        if not file.is_file():
            raise UserError(f"{where}{file}: no such file")
    if not files:
        raise UserError(f"{where}the list names no image")
    return FolderSource(files, title or f"{len(files)} images")


def without_password(address: str) -> str:
    """An address as it may be shown and written.

    >>> without_password("rtsp://me:secret@host/stream")
    'rtsp://me:***@host/stream'
    """
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", address)
