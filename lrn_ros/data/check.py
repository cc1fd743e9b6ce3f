# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checks a data set: collects facts of every image with its label, and judges them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.datasets import Pair, read_pair
from lrn_ros.data.layouts import Files
from lrn_ros.errors import UserError
from lrn_ros.model.labels import UNLABELLED, LabelSet

_THUMB = 24  # pixels per side of the small image by which near duplicates are found
# Two images are nearly equal if they differ by less than the first number, in units of the spread
# of their own grey levels. An image with a smaller spread than the second number shows nothing.
_NEAR, _LEAST_SPREAD = 0.08, 8.0
_MANY_NEAR = 0.25  # share of the images of a validation split
_MUCH_VOID, _MOSTLY_VOID = 0.5, 0.98  # share of the pixels of a split
_SOME_VOID = 0.01
_MANY_ONE_CLASS = 0.5  # share of the images of a split


@dataclass(frozen=True)
class PairFacts:
    """The facts that are kept of one image and its label.

    Attributes:
        name: see lrn_ros.data.datasets.Files.
        size: (height, width) in pixels.
        counts: (256,) int64, number of pixels of every class; unlabelled ones at 255.
        image: digest of the image's pixels.
        label: digest of the label's pixels.
        thumb: (24, 24, 3) uint8, the image made small.
    """

    name: str
    size: tuple[int, int]
    counts: NDArray[np.int64]
    image: str
    label: str
    thumb: NDArray[np.uint8]


@dataclass(frozen=True)
class Finding:
    """Something suspicious; with `refused` a training stops unless the user insists."""

    refused: bool
    text: str


@dataclass(frozen=True)
class ClassFigures:
    """One class in one split: its name, pixels, share of the labelled pixels, images with it."""

    name: str
    pixels: int
    share: float
    images: int


@dataclass(frozen=True)
class SplitFigures:
    """One split.

    Attributes:
        name: name of the split.
        images: number of images.
        sizes: (height, width, images), the most frequent size first.
        void: share of unlabelled pixels, 0-1.
        one_class: number of images whose labels have one class only, or none.
        classes: figures of the classes, in the order of the label set.
    """

    name: str
    images: int
    sizes: tuple[tuple[int, int, int], ...]
    void: float
    one_class: int
    classes: tuple[ClassFigures, ...]


@dataclass(frozen=True)
class Report:
    """The result of a check.

    Attributes:
        splits: figures of the checked splits.
        findings: everything suspicious, refused findings first.
        unreadable: one line for every file that cannot be read or whose label does not fit.
    """

    splits: tuple[SplitFigures, ...]
    findings: tuple[Finding, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[str, ...]:
        """Texts of the findings that a training refuses."""
        return tuple(f.text for f in self.findings if f.refused)


def pair_facts(pair: Pair) -> PairFacts:
    """The facts of one pair; this takes one to ten milliseconds."""
    counts = np.bincount(pair.label.ravel(), minlength=256).astype(np.int64)
    thumb = cv2.resize(pair.rgb, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
    return PairFacts(
        pair.name,
        (pair.label.shape[0], pair.label.shape[1]),
        counts,
        _digest(pair.rgb),
        _digest(pair.label),
        np.asarray(thumb, np.uint8),
    )


def read_facts(
    files: Sequence[Files], label_set: LabelSet
) -> Iterator[tuple[Files, PairFacts | str]]:
    """The facts of every pair in order, or one line that says why it cannot be read."""

    def read(one: Files) -> PairFacts | str:
        try:
            return pair_facts(read_pair(one, label_set))
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        yield from zip(files, pool.map(read, files))


def judge(label_set: LabelSet, splits: Mapping[str, Sequence[PairFacts]]) -> Report:
    """Judge the facts of the splits; "train" and "val" are also compared with each other."""
    figures = tuple(_figures(name, facts, label_set) for name, facts in splits.items() if facts)
    findings: list[Finding] = []
    by_name = {f.name: f for f in figures}
    for split in figures:
        findings += _of_split(split, label_set)
    if "train" in by_name and "val" in by_name:
        findings += _of_classes(by_name["train"], by_name["val"])
    for a, b in combinations(by_name, 2):
        findings += _duplicates(a, splits[a], b, splits[b])
    return Report(figures, tuple(sorted(findings, key=lambda f: not f.refused)))


def digest_of(facts: Sequence[PairFacts]) -> str:
    """One digest of the names, images and labels of a split."""
    lines = "\n".join(f"{f.name} {f.image} {f.label}" for f in facts)
    return hashlib.sha256(lines.encode()).hexdigest()


def _digest(array: NDArray[np.uint8]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()


def _figures(name: str, facts: Sequence[PairFacts], label_set: LabelSet) -> SplitFigures:
    counts = np.stack([f.counts for f in facts])
    classes, total = counts[:, : len(label_set)], counts.sum()
    labelled = max(1, int(classes.sum()))
    sizes = Counter(f.size for f in facts).most_common()
    return SplitFigures(
        name,
        len(facts),
        tuple((height, width, n) for (height, width), n in sizes),
        float(counts[:, UNLABELLED].sum() / max(1, total)),
        int(((classes > 0).sum(1) <= 1).sum()),
        tuple(
            ClassFigures(
                class_name, int(column.sum()), column.sum() / labelled, int((column > 0).sum())
            )
            for class_name, column in zip(label_set.names, classes.T)
        ),
    )


def _of_split(split: SplitFigures, label_set: LabelSet) -> list[Finding]:
    """Findings of one split; classes that never occur are reported for the training split."""
    found = []
    occurring = [c.name for c in split.classes if c.pixels]
    missing = [c.name for c in split.classes if not c.pixels]
    plain_void = label_set.ignore == UNLABELLED and not label_set.void
    binary = (
        "; the usual cause is masks of 0 and 255, because 255 means unlabelled: `lrn data convert"
        " SOURCE --output DIR --ids 255=NAME` makes 255 a class"
    )
    if len(occurring) < 2 <= len(label_set):
        only = f"only class {occurring[0]!r} occurs" if occurring else "no class occurs"
        hint = binary if split.void and plain_void else ""
        text = f"{split.name}: {only}, no pixel is of {_list(missing)}{hint}"
        found.append(Finding(split.name == "train", text))
    elif missing and split.name == "train":
        suspicious = len(missing) == 1 and plain_void and split.void >= _SOME_VOID
        hint = f", while {100 * split.void:.1f} % of the pixels are 255{binary}"
        text = f"train: no pixel is of {_list(missing)}, so the model cannot learn it"
        found.append(Finding(suspicious, text + (hint if suspicious else "")))
    if split.void > _MUCH_VOID:
        text = f"{split.name}: {100 * split.void:.0f} % of the pixels are unlabelled"
        if label_set.ids:
            text += (
                f"; {label_set.name} has its own ids: numbers that count the classes from 0, as"
                " trainIds do, need a label set without ids, such as cityscapes19_trainids"
            )
        # The labels of a test split are often kept back, as those of Cityscapes are.
        found.append(Finding(split.void > _MOSTLY_VOID and split.name != "test", text))
    if split.one_class > _MANY_ONE_CLASS * split.images and len(occurring) > 1:
        text = f"{split.name}: {split.one_class} of {split.images} images hold one class only"
        found.append(Finding(False, f"{text}; are these labels complete?"))
    if len({round(width / height, 2) for height, width, _ in split.sizes}) > 1:
        shapes = ", ".join(f"{h}x{w}" for h, w, _ in split.sizes[:4])
        text = f"{split.name}: images of several shapes ({shapes}"
        more = ", …)" if len(split.sizes) > 4 else ")"
        hint = "`size:` in the recipe fits them into one size, with unlabelled margins"
        found.append(Finding(False, f"{text}{more}; {hint}"))
    return found


def _of_classes(train: SplitFigures, val: SplitFigures) -> list[Finding]:
    absent = [v.name for t, v in zip(train.classes, val.classes) if t.pixels and not v.pixels]
    if not absent:
        return []
    text = f"val: no pixel is of {_list(absent)}, so no figure shows how well it is learned"
    return [Finding(False, text)]


def _duplicates(
    name: str, facts: Sequence[PairFacts], other: str, others: Sequence[PairFacts]
) -> list[Finding]:
    """Findings about images that are in two splits, exactly or nearly."""
    known = {f.image: f.name for f in facts}
    exact = [f for f in others if f.image in known]
    found = []
    if exact:
        text = (
            f"{other}: {len(exact)} of {len(others)} images are in {name} too, such as"
            f" {exact[0].name} ({name}: {known[exact[0].image]}); figures on them mean nothing"
        )
        found.append(Finding(True, text))
    rest = [f for f in others if f.image not in known]
    near = _near(rest, facts)
    if near:
        pair = next(iter(near.items()))
        text = (
            f"{other}: {len(near)} of {len(others)} images nearly equal one of {name}, such as"
            f" {pair[0]} ({name}: {pair[1]}); split by drive or by time, never at random"
        )
        found.append(Finding(len(near) > _MANY_NEAR * len(others), text))
    return found


def _near(wanted: Sequence[PairFacts], among: Sequence[PairFacts]) -> dict[str, str]:
    """Names of the images that look like an image of `among`, with the name of that image."""
    if not wanted or not among:
        return {}
    (flat, spread), (others, _) = map(_standardised, (wanted, among))
    found = {}
    for start in range(0, len(wanted), 256):
        likeness = flat[start : start + 256] @ others.T / flat.shape[1]
        distance = np.sqrt(np.maximum(2 - 2 * likeness, 0))
        nearest, has_content = distance.argmin(1), spread[start : start + 256] >= _LEAST_SPREAD
        for row in np.flatnonzero((distance.min(1) < _NEAR) & has_content):
            found[wanted[start + row].name] = among[nearest[row]].name
    return found


def _standardised(facts: Sequence[PairFacts]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N, 1728) small images of mean 0 and spread 1, and the (N,) spreads in grey levels.

    A copy that was made brighter, darker or of more contrast is nearly the same then.
    """
    flat = np.stack([f.thumb for f in facts]).reshape(len(facts), -1).astype(np.float32)
    spread = flat.std(1)
    centred = flat - flat.mean(1, keepdims=True)
    return centred / np.maximum(spread, 1e-3)[:, None], spread


def _list(names: Sequence[str], count: int = 8) -> str:
    shown = ", ".join(repr(n) for n in names[:count])
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return f"{'class' if len(names) == 1 else 'the classes'} {shown}{rest}"


def check_folder(
    found: Mapping[str, Sequence[Files]], label_set: LabelSet
) -> tuple[Report, dict[str, list[PairFacts]]]:
    """Read every image and label of the splits and judge them.

    Returns:
        The report, and by split the facts of the pairs that could be read.
    """
    facts: dict[str, list[PairFacts]] = {}
    unreadable = []
    for split, files in found.items():
        facts[split] = []
        for _, one in read_facts(files, label_set):
            if isinstance(one, str):
                unreadable.append(one)
            else:
                facts[split].append(one)
    report = judge(label_set, facts)
    return Report(report.splits, report.findings, tuple(unreadable)), facts


def without_partner(
    found: Mapping[str, Sequence[Files]], unlabelled: Sequence[str]
) -> list[Finding]:
    """Splits that have no labels, and labels whose image is missing."""
    notes = [Finding(False, f"{name}: left out, it has no labels") for name in unlabelled]
    used = {files.label for split in found.values() for files in split}
    ending = {label.parent: label.stem.rpartition("_")[2] for label in used}
    for folder in sorted(ending):
        # Cityscapes has further files beside a label.
        alone = [
            p
            for p in sorted(folder.glob("*.png"))
            if p not in used
            and not p.name.startswith(".")
            and ("label" not in ending[folder] or p.stem.endswith(ending[folder]))
        ]
        if alone:
            what = f"labels without an image: {len(alone)}, such as {alone[0].name}"
            notes.append(Finding(False, f"{folder}: {what}"))
    return notes
