# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of images with label PNGs, read one pair at a time; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.labels import UNLABELLED, LabelSet

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True)
class Pair:
    """One image with its label.

    Attributes:
        name: file stem.
        rgb: (H, W, 3) uint8.
        label: (H, W) uint8 class ids, 255 unlabelled.
    """

    name: str
    rgb: NDArray[np.uint8]
    label: NDArray[np.uint8]


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name.

    Raises:
        UserError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise UserError(f"{folder}: no images ({', '.join(IMAGE_SUFFIXES)})")
    return files


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 RGB.

    Raises:
        UserError: it cannot be read as an image.
    """
    image = _read(path, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_label(path: Path, label_set: LabelSet) -> NDArray[np.uint8]:
    """Read a label PNG as (H, W) uint8 class ids; the set's own ignore id becomes 255.

    Raises:
        UserError: unreadable, not 8 bit with one channel, or an id that the set does not have.
    """
    mask = _read(path, cv2.IMREAD_UNCHANGED)
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise UserError(f"{path}: a label is an 8-bit image with one channel")
    bad = (mask >= len(label_set)) & (mask != label_set.ignore) & (mask != UNLABELLED)
    if bad.any():
        raise UserError(
            f"{path}: id {mask[bad][0]} is not in {label_set.name}"
            f" (0-{len(label_set) - 1}, {label_set.ignore} unlabelled)"
        )
    return np.where(mask == label_set.ignore, UNLABELLED, mask).astype(np.uint8)


def read_pairs(images: Path, labels: Path, label_set: LabelSet) -> Iterator[Pair]:
    """Read a folder of images and a folder of label PNGs with the same stems, in name order.

    Raises:
        UserError: a folder is missing, a pair is incomplete, image and label differ in size, or a
            label is not one of `label_set`; the file is named.
    """
    files = image_files(images)
    if not labels.is_dir():
        raise UserError(f"{labels}: no such folder")
    for file in files:
        label_file = labels / f"{file.stem}.png"
        if not label_file.is_file():
            raise UserError(f"{file}: its label {label_file} is missing")
        rgb, label = read_image(file), read_label(label_file, label_set)
        if label.shape != rgb.shape[:2]:
            raise UserError(f"{label_file}: size {label.shape} but its image is {rgb.shape[:2]}")
        yield Pair(file.stem, rgb, label)


def split_folders(root: Path, split: str) -> tuple[Path, Path]:
    """Image and label folder of a split in SegNet's CamVid layout: SPLIT/ beside SPLITannot/."""
    return root / split, root / f"{split}annot"


def _read(path: Path, flags: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise UserError(f"{path}: cannot be read as an image")
    return image  # type: ignore[return-value]
