# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames to segment, from the built-in scene, a video, images or a rosbag2: one interface."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.datasets import read_image, read_label
from lrn_ros.data.layouts import IMAGE_SUFFIXES, image_files
from lrn_ros.errors import UserError, needs
from lrn_ros.model.labels import LabelSet

_LOG = logging.getLogger("lrn_ros")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class Frame:
    """One frame of a source.

    Attributes:
        index: position in the source, from 0.
        name: file stem, or the index as six digits.
        rgb: (H, W, 3) uint8.
        label: (H, W) uint8 class ids where the truth is known, else None.
        seconds: its time on the source's clock; None where that is not known.
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
        rate: its own frames per second; None where it has none.
        count: number of frames; None where it is endless or unknown.
        label_set: name of the label set of its labels; None where it has none.
    """

    title: str
    rate: float | None
    count: int | None
    label_set: str | None

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """All frames in order, or those with an index in `wanted`."""


class SceneSource:
    """The rendered street scene; endless."""

    rate: float | None = None
    count: int | None = None
    label_set: str | None = "camvid11"

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
    """Image files; with labels where a folder NAMEannot lies beside folder NAME."""

    rate: float | None = None

    def __init__(self, path: Path, labels: LabelSet | None = None) -> None:
        self._files = [path] if path.is_file() else image_files(path)
        annotations = path.with_name(f"{path.name}annot")
        known = labels is not None and annotations.is_dir()
        self._annotations, self._labels = annotations if known else None, labels
        self.label_set = labels.name if known and labels else None
        self.title = str(path)
        self.count: int | None = len(self._files)

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """See Source.frames."""
        for index, file in enumerate(self._files):
            if wanted is None or index in wanted:
                yield Frame(index, file.stem, read_image(file), self._label(file))

    def _label(self, file: Path) -> NDArray[np.uint8] | None:
        if self._annotations is None or self._labels is None:
            return None
        path = self._annotations / f"{file.stem}.png"
        return read_label(path, self._labels) if path.is_file() else None


class VideoSource:
    """A video file that OpenCV decodes."""

    label_set: str | None = None

    def __init__(self, path: Path) -> None:
        self._path, self.title = path, str(path)
        capture = self._open()
        rate, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        self.rate: float | None = rate if 0 < rate < 1000 else None
        self.count: int | None = int(count) if count > 0 else None

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """See Source.frames."""
        capture, index = self._open(), 0
        try:
            while wanted is None or index <= max(wanted, default=-1):
                if not capture.grab():
                    return
                if wanted is None or index in wanted:
                    ok, bgr = capture.retrieve()
                    if not ok:
                        raise UserError(f"{self._path}: frame {index} cannot be decoded")
                    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
                    seconds = index / self.rate if self.rate else None
                    yield Frame(index, f"{index:06d}", rgb, seconds=seconds)
                index += 1
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise UserError(f"{self._path}: cannot be read as a video")
        return capture


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

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """See Source.frames."""
        for frame in self._bag.frames(self._topic, wanted):
            seconds = (frame.stamp_ns or frame.recorded_ns) / 1e9
            yield Frame(frame.index, f"{frame.index:06d}", frame.rgb, seconds=seconds)
        if self._bag.damage:
            _LOG.warning("%s: damaged, read in part: %s", self._bag.path, self._bag.damage)


def open_source(path: Path, labels: LabelSet | None = None, topic: str | None = None) -> Source:
    """Open a video, an image, a folder of images or a rosbag2.

    Args:
        path: file or folder.
        labels: classes of labels that may lie beside a folder of images.
        topic: image topic of a bag; None: its only one.

    Raises:
        UserError: no such path, or nothing that can be read.
    """
    from lrn_ros.data.bags import is_bag

    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if is_bag(path):
        return BagSource(path, topic)
    if topic is not None:
        raise UserError(f"{path}: not a rosbag2, so --topic has no meaning")
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderSource(path, labels)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(path)
    raise UserError(
        f"{path}: not a video ({', '.join(VIDEO_SUFFIXES)}), an image"
        f" ({', '.join(IMAGE_SUFFIXES)}), a folder of images or a rosbag2"
    )
