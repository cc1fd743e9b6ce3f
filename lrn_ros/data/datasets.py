# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets of images with label PNGs, read one pair at a time; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.layouts import IDS, POSITIONS, Files, find_files
from lrn_ros.errors import UserError
from lrn_ros.images.compressed import read_image
from lrn_ros.model.label_mapping import LabelMapping
from lrn_ros.model.labels import UNLABELLED, LabelSet


@dataclass(frozen=True)
class Pair:
    """One image with its label.

    Attributes:
        name: see Files.
        rgb: (H, W, 3) uint8.
        label: (H, W) uint8 class ids, 255 unlabelled.
    """

    name: str
    rgb: NDArray[np.uint8]
    label: NDArray[np.uint8]


def read_label(path: Path, label_set: LabelSet, coding: str = IDS) -> NDArray[np.uint8]:
    """Read a label PNG as (H, W) uint8 class ids, 255 unlabelled; see LabelSet.ids, ignore, void.

    Args:
        path: the file.
        label_set: the classes to read it as.
        coding: see lrn_ros.data.layouts.Files. Labels that are coded by the colours of another
            label set need a mapping of that set to `label_set` under config/mappings.

    Raises:
        UserError: unreadable, not 8 bit, not of one channel (or three, where colours code it), or
            an id or colour that is no class.
    """
    mask = _read(path, cv2.IMREAD_UNCHANGED)
    if coding not in (IDS, POSITIONS):
        return _from_colours(mask, str(path), coding, label_set)
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise UserError(f"{path}: a label is an 8-bit image with one channel")
    if coding == POSITIONS:
        label_set = replace(label_set, ids=(), void=(), ignore=UNLABELLED)
    return label_set.classes_of(np.asarray(mask, np.uint8), str(path))


def read_instances(files: Files, shape: tuple[int, ...]) -> NDArray[np.int32] | None:
    """Read Cityscapes' instance file of an image, (H, W); None where the data set has none.

    Args:
        files: where the image and its label are.
        shape: (H, W) of the label.

    Raises:
        UserError: the file is not an image with one channel, or of another size than the label.
    """
    stem = files.label.stem.removesuffix("_labelIds").removesuffix("_labelTrainIds")
    path = files.label.with_name(f"{stem}_instanceIds.png")
    if not path.is_file() or path == files.label:
        return None
    image = _read(path, cv2.IMREAD_UNCHANGED)
    if image.shape != shape:
        raise UserError(f"{path}: size {image.shape} but its label is {shape}")
    return image.astype(np.int32)


def _from_colours(
    image: NDArray[np.uint8], where: str, name: str, target: LabelSet
) -> NDArray[np.uint8]:
    """Classes of `target` in an image of the colours of the label set `name`."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UserError(f"{where}: a label of {name} is an 8-bit image of its colours")
    codes, classes = _colour_table(name, target)
    found = image.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)  # OpenCV reads BGR
    place = np.minimum(np.searchsorted(codes, found), len(codes) - 1)
    unknown = codes[place] != found
    if unknown.any():
        blue, green, red = image[unknown][0]
        raise UserError(f"{where}: the colour ({red}, {green}, {blue}) is no class of {name}")
    return classes[place]


@cache
def _colour_table(name: str, target: LabelSet) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Sorted colour codes of a label set with black, and the class of `target` for each."""
    source = LabelSet.load(name)
    own = tuple(range(len(source)))
    same = source.names == target.names
    classes = own if same else LabelMapping.load(f"{name}_to_{target.name}").classes
    table = {r << 16 | g << 8 | b: c for (r, g, b), c in zip(source.colors, classes)}
    table.setdefault(0, UNLABELLED)  # black is CamVid's colour of what has no label
    codes = sorted(table)
    return np.array(codes, np.int32), np.array([table[code] for code in codes], np.uint8)


def read_pair(files: Files, label_set: LabelSet, size: tuple[int, int] | None = None) -> Pair:
    """Read one image and its label.

    Args:
        files: where they are.
        label_set: its ids are what the label may hold.
        size: (height, width) to resize to: the image by area where it shrinks, else linearly, the
            label to the nearest pixel; None: as they are.

    Raises:
        UserError: see read_image and read_label; also where the two differ in size.
    """
    rgb = read_image(files.image)
    label = read_label(files.label, label_set, files.coding)
    if label.shape != rgb.shape[:2]:
        raise UserError(f"{files.label}: size {label.shape} but its image is {rgb.shape[:2]}")
    if size is not None:
        height, width = size
        shrinks = height <= label.shape[0] and width <= label.shape[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=method), np.uint8)
        # INTER_NEAREST takes a pixel's corner, not its centre: labels would move against images.
        label = np.asarray(
            cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8
        )
    return Pair(files.name, rgb, label)


def read_pairs(
    root: Path, split: str, label_set: LabelSet, size: tuple[int, int] | None = None
) -> Iterator[Pair]:
    """Read the pairs of a split one after the other, sorted by name.

    Raises:
        UserError: see find_files and read_pair.
    """
    for files in find_files(root, split):
        yield read_pair(files, label_set, size)


def _read(path: Path, flags: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise UserError(f"{path}: cannot be read as an image")
    return image  # type: ignore[return-value]
