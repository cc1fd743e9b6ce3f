# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets of image and label pairs, held whole in memory as uint8 tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from lrn_ros.errors import UserError
from lrn_ros.labels import UNLABELLED, LabelSet
from lrn_ros.scene import StreetScene

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True)
class Pairs:
    """Images and labels of one size.

    Attributes:
        images: (N, 3, H, W) uint8 RGB.
        labels: (N, H, W) uint8 class ids, 255 unlabelled.
        names: file stems.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> Pairs:
        """The same pairs with their tensors on `device`."""
        return Pairs(self.images.to(device), self.labels.to(device), self.names)

    def class_shares(self, classes: int) -> Tensor:
        """(K,) share of every class among the labelled pixels."""
        counts = torch.bincount(self.labels.flatten().cpu(), minlength=256)[:classes].double()
        return counts / counts.sum().clamp(min=1)


def _read(path: Path, flags: int) -> np.ndarray:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise UserError(f"{path}: cannot be read as an image")
    return image


def load_pairs(images: Path, labels: Path, label_set: LabelSet) -> Pairs:
    """Read a folder of images and a folder of label PNGs (class ids) with the same stems.

    Raises:
        UserError: a folder is missing, a pair is incomplete, sizes differ, or a label holds an id
            that the label set does not have; the file is named.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
    files = sorted(p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise UserError(f"{images}: no images ({', '.join(IMAGE_SUFFIXES)})")
    pictures, masks = [], []
    for file in files:
        label_file = labels / f"{file.stem}.png"
        if not label_file.is_file():
            raise UserError(f"{file}: its label {label_file} is missing")
        picture = cv2.cvtColor(_read(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        mask = _read(label_file, cv2.IMREAD_UNCHANGED)
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise UserError(f"{label_file}: a label is an 8-bit image with one channel")
        if mask.shape != picture.shape[:2]:
            raise UserError(f"{label_file}: size {mask.shape} but its image is {picture.shape[:2]}")
        if pictures and picture.shape != pictures[0].shape:
            raise UserError(f"{file}: size {picture.shape[:2]} but {files[0]} has another")
        bad = (mask >= len(label_set)) & (mask != label_set.ignore) & (mask != UNLABELLED)
        if bad.any():
            raise UserError(
                f"{label_file}: id {mask[bad][0]} is not in {label_set.name}"
                f" (0-{len(label_set) - 1}, {label_set.ignore} unlabelled)"
            )
        pictures.append(picture)
        masks.append(np.where(mask == label_set.ignore, UNLABELLED, mask).astype(np.uint8))
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return Pairs(stack, torch.from_numpy(np.stack(masks)), tuple(p.stem for p in files))


def load_split(root: Path, split: str, label_set: LabelSet) -> Pairs:
    """Read one split of a data set in SegNet's CamVid layout: SPLIT/ beside SPLITannot/."""
    return load_pairs(root / split, root / f"{split}annot", label_set)


def render_scenes(count: int, size: tuple[int, int], seed: int) -> Pairs:
    """Render `count` street scenes, every one of another street; labels are CamVid ids."""
    pictures, masks = [], []
    for i in range(count):
        scene = StreetScene(seed=seed + i, height=size[0], width=size[1])
        rgb, mask = scene.frame(7 * i)
        pictures.append(rgb)
        masks.append(mask)
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    names = tuple(f"scene_{seed + i}" for i in range(count))
    return Pairs(stack, torch.from_numpy(np.stack(masks)), names)
