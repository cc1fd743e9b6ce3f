# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures kept from a replay: the worst frames of every class, and frames spread over the bag.

Images are kept as small JPEG files, masks and labels as PNG files of class ids. `overlay` and
`difference` draw the pictures for people from them. Memory is bounded: a few frames per class are
kept, and the frames spread over the bag are thinned out when there are too many.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.images.compressed import encode_jpeg, encode_png, read_image
from lrn_ros.inference.overlay import draw_overlay
from lrn_ros.inference.palette import shown
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.records import from_data, to_data

_WIDTH = 720  # pixels, the approximate width of a kept picture
_QUALITY = 82  # of JPEG
_WORST = 3  # worst frames per class
_APART_NS = 1_000_000_000  # neighbours fail alike, so only the worst frame of a second is kept
_SPREAD = 120  # the largest number of frames spread over the bag; the smallest is half of it
MISSED, FALSE = (255, 176, 0), (220, 38, 127)  # colours of differences
_INDEX = "pictures.json"


@dataclass(frozen=True)
class WorstFrame:
    """A frame in which a class fails.

    Attributes:
        wrong: number of wrong pixels of the class, which is the sum of `missed` and `false`.
        index, stamp_ns: position and stamp of the frame.
        seconds: time since the topic's first message was recorded.
        iou: IoU of the class in this frame.
        missed: pixels of the class that got another answer.
        false: pixels of other classes that were answered with this class.
    """

    wrong: int
    index: int
    stamp_ns: int
    seconds: float
    iou: float
    missed: int
    false: int


@dataclass(frozen=True)
class KeptFrame:
    """One of the frames spread over the bag; see WorstFrame."""

    index: int
    stamp_ns: int
    seconds: float


@dataclass(frozen=True)
class KeptPictures:
    """The frames that have pictures: the worst ones by class name, and those over the bag."""

    worst: dict[str, tuple[WorstFrame, ...]]
    spread: tuple[KeptFrame, ...]


@dataclass(frozen=True)
class SmallFrame:
    """A frame in its kept, small size.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        truth: (h, w) uint8 class ids, 255 unlabelled; None: there is no label.
        mask: (h, w) uint8 class ids.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    mask: NDArray[np.uint8]


class Gallery:
    """Collects the pictures of one bag.

    Args:
        labels: the classes that are scored.
    """

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._worst: dict[int, list[WorstFrame]] = {}
        self._shown: dict[int, dict[str, bytes]] = {}
        self._spread: list[tuple[KeptFrame, dict[str, bytes]]] = []
        self._stride = 1

    def add(
        self, kept: KeptFrame, rgb: NDArray[np.uint8], truth: NDArray[np.uint8] | None,
        mask: NDArray[np.uint8], matrix: NDArray[np.int64] | None = None,
    ) -> None:  # fmt: skip
        """Consider a frame.

        Args:
            kept: position, stamp and time of the frame.
            rgb: (H, W, 3) uint8.
            truth: (H, W) uint8 class ids of the label; None: there is none.
            mask: (H, W) uint8 class ids of the prediction.
            matrix: (K, K + 1) its confusion matrix, where there is a label.
        """
        spread = kept.index % self._stride == 0
        worst = matrix is not None and self._judge(kept, matrix)
        if not (spread or worst):
            return
        files = _encoded(rgb, truth, mask)
        if worst:
            used = {frame.index for frames in self._worst.values() for frame in frames}
            self._shown = {i: f for i, f in self._shown.items() if i in used}
            self._shown[kept.index] = files
        if spread:
            self._spread.append((kept, files))
        if len(self._spread) > _SPREAD:
            self._stride *= 2
            self._spread = [s for s in self._spread if s[0].index % self._stride == 0]

    def write(self, folder: Path) -> None:
        """Write the pictures, and pictures.json, which describes them."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in (p for p in folder.iterdir() if p.suffix in (".jpg", ".png")):
            old.unlink()
        for index, files in [*self._shown.items(), *((k.index, f) for k, f in self._spread)]:
            for name, data in files.items():
                _file(folder, index, name).write_bytes(data)
        worst = {self._labels.names[k]: tuple(v) for k, v in self._worst.items()}
        data = to_data(KeptPictures(worst, tuple(kept for kept, _ in self._spread)))
        (folder / _INDEX).write_text(json.dumps(data), encoding="utf-8")

    def _judge(self, kept: KeptFrame, matrix: NDArray[np.int64]) -> bool:
        """Whether the frame is now one of the worst frames of any class."""
        hits = matrix.diagonal()
        missed, false = matrix.sum(1) - hits, matrix[:, : len(matrix)].sum(0) - hits
        changed = False
        for k in np.flatnonzero(missed + false):
            wrong = int(missed[k] + false[k])
            changed |= self._place(
                int(k),
                WorstFrame(
                    wrong, kept.index, kept.stamp_ns, kept.seconds,
                    float(hits[k] / (hits[k] + wrong)), int(missed[k]), int(false[k]),
                ),
            )  # fmt: skip
        return changed

    def _place(self, class_id: int, frame: WorstFrame) -> bool:
        """Keep a frame if it is one of the worst frames of a class; return whether it is."""
        held = self._worst.setdefault(class_id, [])
        near = [f for f in held if abs(f.stamp_ns - frame.stamp_ns) < _APART_NS]
        if near and max(f.wrong for f in near) >= frame.wrong:
            return False
        kept = [f for f in held if f not in near] + [frame]
        kept = sorted(kept, key=lambda f: -f.wrong)[:_WORST]
        self._worst[class_id] = kept
        return frame in kept


def read_pictures(folder: Path) -> KeptPictures:
    """Read the pictures.json of `Gallery.write`; empty if there are no pictures."""
    try:
        data = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        found: KeptPictures = from_data(KeptPictures, data, str(folder / _INDEX))
    except (OSError, ValueError):
        return KeptPictures({}, ())
    return found


def read_frame(folder: Path, index: int) -> SmallFrame | None:
    """The pictures of a frame; None if somebody has removed a file of it."""
    names = ("image", "mask", "truth")
    files = {name: path for name in names if (path := _file(folder, index, name)).is_file()}
    if not files.keys() >= {"image", "mask"}:
        return None
    found = {name: read_image(path) for name, path in files.items()}
    truth = found["truth"][..., 0] if "truth" in found else None
    return SmallFrame(found["image"], truth, found["mask"][..., 0])


def overlay(frame: SmallFrame, labels: LabelSet) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB: the image under the colours of the mask."""
    return draw_overlay(frame.image, frame.mask, shown(labels))


def difference(
    image: NDArray[np.uint8], truth: NDArray[np.uint8], mask: NDArray[np.uint8], class_id: int
) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB: the missed and the false pixels of a class over a dark image.

    Args:
        image: (h, w, 3) uint8 RGB.
        truth: (h, w) uint8 class ids; pixels without a label are drawn black.
        mask: (h, w) uint8 class ids of the prediction.
        class_id: the class; missed pixels have the colour MISSED, false ones the colour FALSE.
    """
    labelled = truth != 255
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) // 2
    drawn = np.where(labelled, grey, 0)[..., None].repeat(3, 2).astype(np.uint8)
    drawn[labelled & (truth == class_id) & (mask != class_id)] = MISSED
    drawn[labelled & (truth != class_id) & (mask == class_id)] = FALSE
    return drawn


def _file(folder: Path, index: int, name: str) -> Path:
    return folder / f"{index:06d}_{name}{'.jpg' if name == 'image' else '.png'}"


def _encoded(
    rgb: NDArray[np.uint8], truth: NDArray[np.uint8] | None, mask: NDArray[np.uint8]
) -> dict[str, bytes]:
    files = {"image": encode_jpeg(_small(rgb), _QUALITY), "mask": encode_png(_small_ids(mask), 6)}
    return files if truth is None else files | {"truth": encode_png(_small_ids(truth), 6)}


def _factor(shape: tuple[int, ...]) -> int:
    """By how much a picture is made smaller.

    The factor is a whole number, because OpenCV's averaging is several times faster then. At least
    one row is left.
    """
    height, width = shape[:2]
    return max(1, min(round(width / _WIDTH), height))


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = _factor(rgb.shape)
    height, width = (n // factor for n in rgb.shape[:2])
    whole = rgb[: height * factor, : width * factor]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _small_ids(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = _factor(mask.shape)
    height, width = (n // factor for n in mask.shape)
    middle = factor // 2
    return mask[middle::factor, middle::factor][:height, :width].copy()
