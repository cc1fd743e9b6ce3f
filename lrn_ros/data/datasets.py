# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets of images with label PNGs, read one pair at a time; needs no torch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lrn_ros.data.layouts import IDS, POSITIONS, Files, find_files
from lrn_ros.errors import UserError, one_line
from lrn_ros.images.compressed import is_complete, read_image
from lrn_ros.model.labels import UNLABELLED, LabelMapping, LabelSet

LABELS_FILE = "labels.yaml"  # the label set in the folder of a data set
_SAME_SHAPE = 1.02  # images are stretched if their aspect ratios differ by less than this factor


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
        UserError: unreadable, not of one channel (or three, where colours code it), or an id or
            colour that is no class.
    """
    if coding not in (IDS, POSITIONS):
        return _from_colours(_read(path, cv2.IMREAD_UNCHANGED), str(path), coding, label_set)
    if coding == POSITIONS:
        label_set = replace(label_set, ids=(), void=(), ignore=UNLABELLED)
    return label_set.classes_of(read_ids(path), str(path))


def read_ids(path: Path) -> NDArray[np.uint8]:
    """Read the numbers of a label image as they are stored, (H, W) uint8.

    These are the palette's indices of a PNG with a palette, 0 and 1 of a 1-bit image, and the grey
    values else, 2, 4 and 16 bits included.

    Raises:
        UserError: the file cannot be read, has more than one channel, or a number above 255.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            values = np.asarray(image)
            # Pillow spreads the grey values of a PNG with 2 or 4 bits over 0-255.
            few_bits = image.format == "PNG" and image.mode == "L"
            scale = {2: 85, 4: 17}.get(data[24], 1) if few_bits else 1
        if not is_complete(data):
            raise OSError("cut short, its end is missing")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unreadable(path, error) from error
    if values.ndim != 2:
        raise UserError(
            f"{path}: a label must be an image with one channel, of ids or with a palette; lrn data"
            " convert turns colours into ids"
        )
    if (
        values.dtype.kind == "f"
        or int(values.max(initial=0)) > 255
        or int(values.min(initial=0)) < 0
    ):
        raise UserError(f"{path}: the ids of a label must be whole numbers from 0 to 255")
    return values.astype(np.uint8) // scale


def unreadable(path: Path, error: Exception) -> UserError:
    """What Pillow says of a file that it cannot read, as an error for the user."""
    reason = one_line(error)
    if isinstance(error, UnidentifiedImageError):  # its text shows an object of Python
        reason = "not an image" if path.stat().st_size else "the file is empty"
    return UserError(f"{path}: cannot be read as an image: {reason}")


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
        raise UserError(f"{where}: a label of {name} must be an 8-bit image of its colours")
    codes, classes = _colour_table(name, target)
    found = image.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)  # OpenCV reads BGR
    place = np.minimum(np.searchsorted(codes, found), len(codes) - 1)
    unknown = codes[place] != found
    if unknown.any():
        blue, green, red = image[unknown][0]
        raise UserError(f"{where}: no class of {name} has the colour ({red}, {green}, {blue})")
    return classes[place]


@cache
def _colour_table(name: str, target: LabelSet) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Sorted colour codes of a label set with black, and the class of `target` for each."""
    source = LabelSet.load(name)
    own = tuple(range(len(source)))
    same = source.names == target.names
    classes = own if same else LabelMapping.load(f"{name}_to_{target.name}").classes
    table = {r << 16 | g << 8 | b: c for (r, g, b), c in zip(source.colors, classes)}
    table.setdefault(0, UNLABELLED)  # in CamVid black pixels have no label
    codes = sorted(table)
    return np.array(codes, np.int32), np.array([table[code] for code in codes], np.uint8)


def read_pair(files: Files, label_set: LabelSet, size: tuple[int, int] | None = None) -> Pair:
    """Read one image and its label.

    Args:
        files: where they are.
        label_set: its ids are what the label may hold.
        size: (height, width) to fit into: the image by area where it shrinks, else linearly, the
            label to the nearest pixel. An image whose shape differs by more than 2 % keeps it, and
            is black and unlabelled to its right or below it. None: as they are.

    Raises:
        UserError: see read_image and read_label; also where the two differ in size.
    """
    rgb = read_image(files.image)
    label = read_label(files.label, label_set, files.coding)
    if label.shape != rgb.shape[:2]:
        turned = label.shape == rgb.shape[1::-1]
        hint = (
            "; the label shows the image turned by its EXIF orientation, which is never applied:"
            " lrn data convert turns the image"
        )
        raise UserError(
            f"{files.label}: size {label.shape} but its image is {rgb.shape[:2]}"
            f"{hint if turned else ''}"
        )
    if size is not None and size != label.shape:
        rgb, label = _fit(rgb, label, size)
    return Pair(files.name, rgb, label)


def _fit(
    rgb: NDArray[np.uint8], label: NDArray[np.uint8], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image and label at a size; see read_pair."""
    scales = size[0] / label.shape[0], size[1] / label.shape[1]
    scale, (height, width) = min(scales), size
    if max(scales) > _SAME_SHAPE * scale:
        height, width = (max(1, round(scale * n)) for n in label.shape)
    method = cv2.INTER_AREA if scale <= 1 else cv2.INTER_LINEAR
    small = cv2.resize(rgb, (width, height), interpolation=method)
    # INTER_NEAREST takes a pixel's corner, not its centre: labels would move against images.
    ids = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    if (height, width) == size:
        return np.asarray(small, np.uint8), np.asarray(ids, np.uint8)
    image = np.zeros((*size, 3), np.uint8)
    mask = np.full(size, UNLABELLED, np.uint8)
    image[:height, :width], mask[:height, :width] = small, ids
    return image, mask


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
