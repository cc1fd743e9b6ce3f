# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets of image and label pairs as uint8 tensors: whole in memory, or decoded on disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lrn_ros.data.check import PairFacts, pair_facts
from lrn_ros.data.datasets import read_pair
from lrn_ros.data.layouts import Files, sequence
from lrn_ros.errors import UserError
from lrn_ros.memory import available_memory
from lrn_ros.model.json_text import to_json
from lrn_ros.model.labels import LabelSet
from lrn_ros.scene import StreetScene

_IMAGES, _LABELS, _FACTS, _KEY = "images.u8", "labels.u8", "facts.npz", "key"

Decoded = tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[PairFacts, ...]]


def _key_of_decoded(files: Sequence[Files], label_set: LabelSet, shape: tuple[int, ...]) -> str:
    """A key that changes with the files, their sizes and times, the label set and the size."""
    stats = [(str(p), (s := p.stat()).st_size, s.st_mtime_ns)
             for f in files for p in (f.image, f.label)]  # fmt: skip
    text = to_json([stats, label_set.to_dict(), list(shape)])
    return hashlib.sha256(text.encode()).hexdigest()


def _load_decoded(folder: Path, key: str) -> Decoded | None:
    """Images (N, 3, H, W), labels (N, H, W), mapped read-only, and facts, if of this key."""
    try:
        if (folder / _KEY).read_text(encoding="ascii") != key:
            return None
        with np.load(folder / _FACTS, allow_pickle=False) as saved:
            columns = {name: saved[name] for name in saved.files}
        facts = tuple(
            PairFacts(str(n), (int(s[0]), int(s[1])), c, str(i), str(m), t)
            for n, s, c, i, m, t in zip(
                *(columns[k] for k in ("name", "size", "counts", "image", "label", "thumb"))
            )
        )
        count, (height, width) = len(facts), columns["shape"].tolist()
        images = np.memmap(folder / _IMAGES, np.uint8, "r", shape=(count, 3, height, width))
        labels = np.memmap(folder / _LABELS, np.uint8, "r", shape=(count, height, width))
    except (OSError, ValueError, KeyError):
        return None
    return images, labels, facts


@contextmanager
def _make_decoded(
    folder: Path, key: str, count: int, shape: tuple[int, ...]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Arrays on disk to be filled, and facts to be saved; whole once the block has ended.

    Raises:
        UserError: the disk has not enough room.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pixels = count * shape[0] * shape[1]
    free = shutil.disk_usage(folder).free
    if 4 * pixels > free:
        raise UserError(
            f"{folder}: the decoded images take {4 * pixels / 1e9:.1f} GB of disk,"
            f" {free / 1e9:.1f} GB are free; `size: [height, width]` makes them smaller, another"
            " --output may have more room"
        )
    arrays = []
    for name, planes in ((_IMAGES, (3,)), (_LABELS, ())):
        with (folder / name).open("wb") as file:  # a full disk is an error here, and not a crash
            os.posix_fallocate(file.fileno(), 0, pixels * (planes[0] if planes else 1))
        arrays.append(np.memmap(folder / name, np.uint8, "r+", shape=(count, *planes, *shape)))
    yield arrays[0], arrays[1]
    for array in arrays:
        array.flush()
    (folder / _KEY).write_text(key, encoding="ascii")


def _save_facts(folder: Path, facts: Sequence[PairFacts], shape: tuple[int, ...]) -> None:
    """Write the facts of the images, in order."""
    np.savez(
        folder / _FACTS,
        name=np.array([f.name for f in facts]),
        size=np.array([f.size for f in facts]),
        counts=np.stack([f.counts for f in facts]),
        image=np.array([f.image for f in facts]),
        label=np.array([f.label for f in facts]),
        thumb=np.stack([f.thumb for f in facts]),
        shape=np.array(shape),
    )


@dataclass(frozen=True)
class Pairs:
    """Images and labels of one size.

    Attributes:
        images: (N, 3, H, W) uint8 RGB.
        labels: (N, H, W) uint8 class ids, 255 unlabelled.
        names: names of the files, see lrn_ros.data.datasets.Files.
        facts: facts of every pair, where it was read from a data set.
        device: where batches are made; None: where the images are.
        streamed: whether the images are on disk, mapped into memory.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    facts: tuple[PairFacts, ...] = ()
    device: torch.device | None = None
    streamed: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device) -> Pairs:
        """The same pairs for batches on `device`, which then holds them unless they are on disk.

        Raises:
            UserError: the device has not enough memory.
        """
        if self.streamed:
            return replace(self, device=device)
        if device.type == "cuda":
            _check_room(
                self.images.nbytes + self.labels.nbytes, torch.cuda.mem_get_info(device)[0], "GPU"
            )
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) and labels (B, H, W) of a (B,) CPU index, on the device."""
        there = index.to(self.images.device)
        device = self.device or self.images.device
        return self.images[there].to(device), self.labels[there].to(device)

    @cached_property
    def places(self) -> Tensor:
        """(N, ceil(H/2), ceil(W/2)) uint8 on the CPU: every second row and column of the labels.

        Where a class is can be looked up here without waiting for the device. Made at first use.
        """
        every_second = self.labels[:, ::2, ::2]
        return every_second if self.streamed else every_second.cpu().contiguous()

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
        if self.facts:
            counts = torch.from_numpy(np.sum([f.counts for f in self.facts], axis=0))
        else:
            per_image = [torch.bincount(label.flatten(), minlength=256) for label in self.labels]
            counts = torch.stack(per_image).sum(0)
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
        step: number of steps done.
        seed: seed of the order.
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
    files: Sequence[Files],
    label_set: LabelSet,
    size: tuple[int, int] | None = None,
    progress: bool = False,
    cache: Path | None = None,
) -> Pairs:
    """Read the pairs of one split once: N * H * W * 4 bytes of memory, or of disk.

    Args:
        files: what find_files gave, at least one.
        label_set: classes of the labels.
        size: (height, width) to resize to; None: as they are, all of one size.
        progress: show a progress bar.
        cache: folder for the decoded images, which are then mapped into memory; what it already
            holds of these very files is used. None: they are held in memory.

    Raises:
        UserError: see lrn_ros.data.datasets.read_pair; also where images differ in size, or where
            memory or disk are too small.
    """
    shape = size or read_pair(files[0], label_set).label.shape
    need = len(files) * 4 * shape[0] * shape[1]
    names = tuple(f.name for f in files)
    if cache is None:
        _check_room(need, available_memory(), "memory")
        images = np.empty((len(files), 3, *shape), np.uint8)
        labels = np.empty((len(files), *shape), np.uint8)
        facts = _fill(images, labels, files, label_set, size, progress)
        return Pairs(torch.from_numpy(images), torch.from_numpy(labels), names, facts)
    key = _key_of_decoded(files, label_set, shape)
    kept = _load_decoded(cache, key)
    if kept is None:
        with _make_decoded(cache, key, len(files), shape) as (images, labels):
            facts = _fill(images, labels, files, label_set, size, progress)
            _save_facts(cache, facts, shape)
        kept = _load_decoded(cache, key)
    if kept is None:
        raise UserError(f"{cache}: the decoded images cannot be read back; is the disk full?")
    images, labels, facts = kept
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        arrays = torch.from_numpy(images), torch.from_numpy(labels)
    return Pairs(*arrays, names, facts, streamed=True)


def _fill(
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    files: Sequence[Files],
    label_set: LabelSet,
    size: tuple[int, int] | None,
    progress: bool,
) -> tuple[PairFacts, ...]:
    """Read all pairs into the arrays; their facts."""
    shape = labels.shape[1:]

    def read(i: int) -> PairFacts:
        pair = read_pair(files[i], label_set, size)
        if pair.label.shape != shape:
            raise UserError(
                f"{files[i].image}: size {pair.label.shape} but {files[0].name} is {shape};"
                f" training takes images of one size, e.g. `size: {list(shape)}` in the recipe"
            )
        images[i], labels[i] = pair.rgb.transpose(2, 0, 1), pair.label
        return pair_facts(pair)

    with ThreadPoolExecutor() as pool:
        done = pool.map(read, range(len(files)))
        split = files[0].image.parent.name
        return tuple(tqdm(done, split, len(files), unit="image", disable=not progress))


def _check_room(need: int, free: float, what: str) -> None:
    """Refuse what would take nearly all that is free."""
    if need > 0.9 * free:
        raise UserError(
            f"the images take {need / 1e9:.1f} GB of {what}, {free / 1e9:.1f} GB are free; `data:"
            " stream` in the recipe keeps them on disk, `size: [height, width]` makes them smaller"
        )


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
