# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets of image and label pairs, held whole in memory as uint8 tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lrn_ros.dataset import Pair, read_pairs, split_folders
from lrn_ros.errors import UserError
from lrn_ros.labels import LabelSet
from lrn_ros.scene import StreetScene


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


def load_pairs(images: Path, labels: Path, label_set: LabelSet) -> Pairs:
    """Read a folder of images and a folder of label PNGs (class ids) with the same stems.

    Raises:
        UserError: see lrn_ros.dataset.read_pairs; also where images differ in size.
    """
    pairs: list[Pair] = []
    for pair in read_pairs(images, labels, label_set):
        if pairs and pair.rgb.shape != pairs[0].rgb.shape:
            raise UserError(
                f"{images / pair.name}: size {pair.rgb.shape[:2]} but {pairs[0].name} is"
                f" {pairs[0].rgb.shape[:2]}; training takes images of one size"
            )
        pairs.append(pair)
    stack = torch.from_numpy(np.stack([p.rgb for p in pairs])).permute(0, 3, 1, 2).contiguous()
    masks = torch.from_numpy(np.stack([p.label for p in pairs]))
    return Pairs(stack, masks, tuple(p.name for p in pairs))


def load_split(root: Path, split: str, label_set: LabelSet) -> Pairs:
    """Read one split of a data set in SegNet's CamVid layout: SPLIT/ beside SPLITannot/."""
    return load_pairs(*split_folders(root, split), label_set)


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
