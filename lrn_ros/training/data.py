# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets of image and label pairs, held whole in memory as uint8 tensors."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lrn_ros.data.datasets import read_pair
from lrn_ros.data.layouts import find_files, sequence
from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelSet
from lrn_ros.scene import StreetScene


@dataclass(frozen=True)
class Pairs:
    """Images and labels of one size.

    Attributes:
        images: (N, 3, H, W) uint8 RGB.
        labels: (N, H, W) uint8 class ids, 255 unlabelled.
        names: names of the files, see lrn_ros.data.datasets.Files.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> Pairs:
        """The same pairs with their tensors on `device`."""
        return Pairs(self.images.to(device), self.labels.to(device), self.names)

    def part(self, sequences: set[str], inside: bool) -> Pairs:
        """The pairs of these sequences, or, if not `inside`, all the others."""
        chosen = [i for i, name in enumerate(self.names) if (sequence(name) in sequences) == inside]
        names = tuple(self.names[i] for i in chosen)
        return Pairs(self.images[chosen], self.labels[chosen], names)

    @cached_property
    def places(self) -> Tensor:
        """(N, ceil(H/2), ceil(W/2)) uint8 on the CPU: every second row and column of the labels.

        Where a class is can be looked up here without waiting for the device. Made at first use.
        """
        return self.labels[:, ::2, ::2].cpu().contiguous()

    @cached_property
    def sequences(self) -> list[str]:
        """The sequence of every image."""
        return [sequence(name) for name in self.names]

    @cached_property
    def colours(self) -> Tensor:
        """(N, 2, 3, 1, 1) float32: mean and standard deviation of every image's channels, 0-1."""
        found = [torch.std_mean(i.float() / 255, (1, 2), keepdim=True) for i in self.images]
        return torch.stack([torch.stack([mean, std]) for std, mean in found])

    @cached_property
    def _sequence_sizes(self) -> Tensor:
        """(N,) float64: how many images the sequence of every image has."""
        size = Counter(self.sequences)
        return torch.tensor([size[s] for s in self.sequences], dtype=torch.float64)

    def sampling(self, balance: float) -> Tensor:
        """(N,) float64 weights of the images by Recipe.sequence_balance, summing to 1."""
        weights = self._sequence_sizes**-balance
        return weights / weights.sum()

    def class_shares(self, classes: int) -> Tensor:
        """(K,) share of every class among the labelled pixels."""
        counts = torch.zeros(256, dtype=torch.int64, device=self.labels.device)
        for label in self.labels:
            counts += torch.bincount(label.flatten(), minlength=256)
        labelled = counts[:classes].double().cpu()
        return labelled / labelled.sum().clamp(min=1)


def generator_for(*numbers: int) -> torch.Generator:
    """A generator for these whole numbers from 0 up, such as a seed and a step.

    torch's own seed has 32 bits that count; the numbers are mixed into them.
    """
    (mixed,) = np.random.SeedSequence(numbers).generate_state(1)
    return torch.Generator().manual_seed(int(mixed))


def epoch_index(count: int, batch: int, step: int, seed: int, rank: int, world: int) -> Tensor:
    """(batch,) images of a step where each image is used once before any is used again.

    The order is shuffled anew for every epoch. The images that fill no step are left out.

    Args:
        count: images in all.
        batch: images per step and process.
        step: steps done.
        seed: of the order.
        rank: number of this process.
        world: processes in all.

    Raises:
        UserError: there are fewer images than a step takes.
    """
    if batch * world > count:
        raise UserError(
            f"sampling epoch: a step takes {batch * world} images, there are {count};"
            " a smaller batch or sampling replacement works"
        )
    epoch, place = divmod(step, count // (batch * world))
    order = torch.randperm(count, generator=generator_for(seed, epoch, 0, 0))
    start = (place * world + rank) * batch
    return order[start : start + batch]


def load_split(
    root: Path,
    split: str,
    label_set: LabelSet,
    size: tuple[int, int] | None = None,
    progress: bool = False,
) -> Pairs:
    """Read one split of a data set into memory, once: N * H * W * 4 bytes.

    Args:
        root: folder of the data set.
        split: e.g. "train".
        label_set: classes of the labels.
        size: (height, width) to resize to; None: as they are, all of one size.
        progress: show a progress bar.

    Raises:
        UserError: see lrn_ros.data.datasets.find_files and read_pair; also where images differ in
            size.
    """
    files = find_files(root, split)
    shape = size or read_pair(files[0], label_set).label.shape
    images = np.empty((len(files), 3, *shape), np.uint8)
    labels = np.empty((len(files), *shape), np.uint8)

    def read(i: int) -> None:
        pair = read_pair(files[i], label_set, size)
        if pair.label.shape != shape:
            raise UserError(
                f"{files[i].image}: size {pair.label.shape} but {files[0].name} is {shape};"
                f" training takes images of one size, e.g. `size: {list(shape)}` in the recipe"
            )
        images[i], labels[i] = pair.rgb.transpose(2, 0, 1), pair.label

    with ThreadPoolExecutor() as pool:
        done = pool.map(read, range(len(files)))
        for _ in tqdm(done, split, len(files), unit="image", disable=not progress):
            pass
    names = tuple(f.name for f in files)
    return Pairs(torch.from_numpy(images), torch.from_numpy(labels), names)


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
