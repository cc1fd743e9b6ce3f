# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures kept from a replay: the worst frames of every class, and a strip of overlays.

Memory is bounded: pictures are kept small, a few a class, and the strip is thinned as it grows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.images.compressed import encode_jpeg, encode_png
from lrn_ros.inference.overlay import colorize, draw_overlay
from lrn_ros.inference.palette import shown
from lrn_ros.model.labels import LabelSet

_WIDTH = 400  # pixels of a kept picture, about
_WORST = 3  # frames a class
_APART_NS = 1_000_000_000  # neighbours fail alike: only the worst of a second is kept
_STRIP = 60  # overlays at most, half as many at least
_DIFFERENT = (230, 40, 40)
PANELS = ("image", "truth", "prediction", "difference")


@dataclass(frozen=True)
class Bad:
    """A frame in which a class fails: wrong pixels are those of its union that are not hits."""

    wrong: int
    index: int
    stamp_ns: int
    iou: float


@dataclass(frozen=True)
class _Shown:
    """A frame that is among the worst, small."""

    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    mask: NDArray[np.uint8]


class Gallery:
    """Collects the pictures of one bag.

    Args:
        labels: the classes that are scored.
    """

    def __init__(self, labels: LabelSet) -> None:
        self._labels = shown(labels)
        self._lookup = self._labels.lookup()
        self._worst: dict[int, list[Bad]] = {}
        self._shown: dict[int, _Shown] = {}
        self._strip: list[tuple[int, int, bytes]] = []
        self._stride = 1

    def add(
        self, index: int, stamp_ns: int, rgb: NDArray[np.uint8], mask: NDArray[np.uint8]
    ) -> None:
        """Consider a frame for the strip."""
        if index % self._stride:
            return
        ids = _small_ids(mask)
        overlay = draw_overlay(_small(rgb), ids, self._labels)
        self._strip.append((index, stamp_ns, encode_jpeg(overlay, 72)))
        if len(self._strip) > _STRIP:
            self._stride *= 2
            self._strip = [s for s in self._strip if s[0] % self._stride == 0]

    def judge(
        self,
        index: int,
        stamp_ns: int,
        matrix: NDArray[np.int64],
        pictures: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]],
    ) -> None:
        """Consider a labelled frame: its confusion matrix; its image, truth and mask."""
        hits = matrix.diagonal()
        union = matrix.sum(1) + matrix[:, : len(matrix)].sum(0) - hits
        changed = False
        for k in np.flatnonzero(union > hits):
            bad = Bad(int(union[k] - hits[k]), index, stamp_ns, float(hits[k] / union[k]))
            changed |= self._place(int(k), bad)
        if not changed:
            return
        if index not in self._shown:
            rgb, truth, mask = pictures
            self._shown[index] = _Shown(_small(rgb), _small_ids(truth), _small_ids(mask))
        used = {bad.index for bads in self._worst.values() for bad in bads}
        self._shown = {i: s for i, s in self._shown.items() if i in used}

    def write(self, folder: Path) -> None:
        """Write the pictures and pictures.json, which says what they are."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in (p for p in folder.iterdir() if p.suffix in (".jpg", ".png")):
            old.unlink()
        for index, frame in self._shown.items():
            for name, data in self._draw(frame).items():
                picture_file(folder, index, name).write_bytes(data)
        for index, _, data in self._strip:
            picture_file(folder, index, "overlay").write_bytes(data)
        worst = {self._labels.names[k]: [vars(b) for b in v] for k, v in self._worst.items()}
        strip = [{"index": index, "stamp_ns": stamp} for index, stamp, _ in self._strip]
        text = json.dumps({"worst": worst, "strip": strip})
        (folder / "pictures.json").write_text(text, encoding="utf-8")

    def _place(self, class_id: int, bad: Bad) -> bool:
        """Take a frame among the worst of a class if it is one of them."""
        held = self._worst.setdefault(class_id, [])
        near = [b for b in held if abs(b.stamp_ns - bad.stamp_ns) < _APART_NS]
        if near and max(b.wrong for b in near) >= bad.wrong:
            return False
        kept = [b for b in held if b not in near] + [bad]
        kept = sorted(kept, key=lambda b: -b.wrong)[:_WORST]
        self._worst[class_id] = kept
        return bad in kept

    def _draw(self, shown: _Shown) -> dict[str, bytes]:
        image, true, found = shown.image, shown.truth, shown.mask
        labelled = true < len(self._labels)
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) // 2
        difference = np.where(labelled, grey, 0)[..., None].repeat(3, 2)
        difference[labelled & (true != found)] = _DIFFERENT
        pictures = (image, colorize(true, self._lookup), colorize(found, self._lookup), difference)
        return {n: _encode(n, p) for n, p in zip(PANELS, pictures)}


def picture_file(folder: Path, index: int, name: str) -> Path:
    """Where the picture of a frame is: one of PANELS, or "overlay"."""
    return folder / f"{index:06d}_{name}{_suffix(name)}"


def read_pictures(folder: Path) -> dict[str, Any]:
    """What `Gallery.write` has written: worst frames by class name, and the strip; else none."""
    try:
        text = (folder / "pictures.json").read_text(encoding="utf-8")
        data: dict[str, Any] = json.loads(text)
    except (OSError, ValueError):
        return {"worst": {}, "strip": []}
    return data


def _suffix(name: str) -> str:
    return ".png" if name in ("truth", "prediction") else ".jpg"


def _encode(name: str, picture: NDArray[Any]) -> bytes:
    if _suffix(name) == ".jpg":
        return encode_jpeg(picture, 85)
    return encode_png(picture, 9)


def _factor(shape: tuple[int, ...]) -> int:
    """Whole, because OpenCV's averaging is several times faster then; a row at least is left."""
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
