# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets of images with label PNGs, read one pair at a time; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.images.compressed import read_image
from lrn_ros.model.labels import LabelSet

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

# Folders of images and of labels, above those of the splits.
_CITYSCAPES = ("leftImg8bit", "gtFine")
_FOLDER_PAIR = ("images", "labels")


@dataclass(frozen=True)
class Files:
    """Where one image and its label are.

    Attributes:
        name: file stem of the image, without Cityscapes' `_leftImg8bit`.
        image: image file.
        label: label PNG.
    """

    name: str
    image: Path
    label: Path


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


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name.

    Raises:
        UserError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    files = sorted(p for p in found if not p.name.startswith("."))  # hidden ones are no images
    if not files:
        raise UserError(f"{folder}: no images ({', '.join(IMAGE_SUFFIXES)})")
    return files


def read_label(path: Path, label_set: LabelSet) -> NDArray[np.uint8]:
    """Read a label PNG as (H, W) uint8 class ids, 255 unlabelled; see LabelSet.ids, ignore, void.

    Raises:
        UserError: unreadable, not 8 bit with one channel, or an id that the set does not have.
    """
    mask = _read(path, cv2.IMREAD_UNCHANGED)
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise UserError(f"{path}: a label is an 8-bit image with one channel")
    return label_set.classes_of(np.asarray(mask, np.uint8), str(path))


def find_files(root: Path, split: str) -> list[Files]:
    """The images of a split with their labels, sorted by name.

    Three layouts are known by their folders under `root`:

    - SegNet's CamVid: SPLIT/NAME.png with SPLITannot/NAME.png.
    - Cityscapes: leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png with
      gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png.
    - any pair of folders: images/SPLIT/NAME.* with labels/SPLIT/NAME.png.

    Raises:
        UserError: a folder is missing, there is no such split, it has no image, or an image has no
            label; the message names the file or the splits that exist.
    """
    splits = _splits(root, split)
    if split not in splits:
        raise UserError(f"{root}: no split {split!r}; there are {', '.join(splits) or 'none'}")
    images, labels = splits[split]
    if not labels.is_dir():
        raise UserError(f"{labels}: no such folder; it has the labels of {images}")
    if images.parent == root / _CITYSCAPES[0]:
        found = [_cityscapes_files(p, labels) for p in images.glob("*/*_leftImg8bit.png")]
        if not found:
            raise UserError(f"{images}: no images CITY/NAME_leftImg8bit.png")
    else:
        found = [Files(p.stem, p, labels / f"{p.stem}.png") for p in image_files(images)]
    found.sort(key=lambda files: files.name)
    for files in found:
        if not files.label.is_file():
            raise UserError(f"{files.image}: its label {files.label} is missing")
    return found


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
    rgb, label = read_image(files.image), read_label(files.label, label_set)
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


def sequence(name: str) -> str:
    """The recording a file belongs to: its name up to the first underscore.

    CamVid's drives and Cityscapes' cities are named so.

    >>> sequence("0016E5_07959"), sequence("aachen_000000_000019")
    ('0016E5', 'aachen')
    """
    return name.partition("_")[0]


def _splits(root: Path, wanted: str) -> dict[str, tuple[Path, Path]]:
    """Folder of images and folder of labels of every split of the layout that `root` has."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    for images, labels in (_CITYSCAPES, _FOLDER_PAIR):
        if (root / images).is_dir():
            return {p.name: (p, root / labels / p.name) for p in _folders(root / images)}
    folders = _folders(root)
    if any(p.name.endswith("annot") for p in folders):
        pairs = ((p, p.with_name(f"{p.name}annot")) for p in folders)
        return {p.name: (p, annot) for p, annot in pairs if p.name == wanted or annot.is_dir()}
    raise UserError(
        f"{root}: not a data set; looked for {wanted}/ beside {wanted}annot/ (CamVid),"
        f" leftImg8bit/{wanted}/ with gtFine/{wanted}/ (Cityscapes), and images/{wanted}/ with"
        f" labels/{wanted}/"
    )


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir())


def _cityscapes_files(image: Path, labels: Path) -> Files:
    name = image.stem.removesuffix("_leftImg8bit")
    return Files(name, image, labels / image.parent.name / f"{name}_gtFine_labelIds.png")


def _read(path: Path, flags: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise UserError(f"{path}: cannot be read as an image")
    return image  # type: ignore[return-value]
