# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recipe for somebody's own data set: classes, sizes and budget from what the files hold."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from lrn_ros.data.check import SplitFigures, check_folder
from lrn_ros.data.convert import distinct_colour
from lrn_ros.data.datasets import LABELS_FILE, read_ids
from lrn_ros.data.layouts import Files, find_files, split_names
from lrn_ros.errors import UserError
from lrn_ros.inference.backends import has_bf16
from lrn_ros.memory import available_memory
from lrn_ros.model.artifact import write_atomically
from lrn_ros.model.labels import UNLABELLED, LabelSet
from lrn_ros.training.recipe import Recipe

_SHORT_SIDE = 512  # images are made no larger than this
_BATCH = 8
_RECIPE = """\
name: "{name}"
architecture: lrnnet_c
labels: {labels}
dataset: {dataset}
license: unset  # what others may do with the model; it goes into the model's header
# The run starts from a released model, whose own terms (weights/LICENSE: non-commercial) go with it
# into the card. `init: ""` starts from random weights, and takes much longer.
init: lrnnet_c_camvid
size: {size}  # images are read at this height and width, with their shape kept
data: {data}  # {gigabytes:.1f} GB decoded; stream: on disk, in the run's folder
max_minutes: {minutes:g}  # the schedule ends then, at the latest after `steps`
steps: {steps}
batch: {batch}
stages:
  - {{until: 0.6, crop: {crop}, scale: [0.6, 2.0]}}
  - {{until: 1.0, crop: {size}, scale: [0.8, 1.5]}}
lr: 2.0e-3
pretrained_lr: 0.5
warmup: 50
clip: 5.0
weight_decay: 5.0e-2
ema: 0.99
class_weights: log
class_centred: 0.3
loss_stride: 2
precision: {precision}
eval_every: {eval_every}
patience: 0  # evaluations without a better mean IoU after which the run ends; 0: never
keep_best: false  # true: release the best evaluation instead of the end
"""


@dataclass(frozen=True)
class Written:
    """The files that were written, the recipe first, and what its reader should know."""

    files: tuple[Path, ...]
    remarks: tuple[str, ...]


def write_recipe(
    name: str, data: Path, labels: str | None, max_seconds: float | None, folder: Path = Path()
) -> Written:
    """Write NAME.yaml, and NAME_labels.yaml where the data set brings no label set.

    Args:
        name: name of the recipe and of the model.
        data: the data set's folder.
        labels: a label set; None: the data set's own labels.yaml, else one made of the ids that
            its labels hold.
        max_seconds: time budget; None: an hour.
        folder: where to write.

    Raises:
        UserError: no name for a recipe, a file is there already, or the data set cannot be read.
    """
    files = {split: find_files(data, split) for split in split_names(data)}
    for needed in ("train", "val"):
        if needed not in files:
            there = ", ".join(files) or "none"
            raise UserError(f"{data}: no split {needed}; there are {there}, rename one of them")
    Recipe(name=name, architecture="lrnnet_c", labels=name, steps=1)  # raises for a bad name
    written = [folder / f"{name}.yaml"]
    set_name = labels or (str(data / LABELS_FILE) if (data / LABELS_FILE).is_file() else "")
    if not set_name:
        written.append(folder / f"{name}_labels.yaml")
        set_name = str(written[1])
    for file in written:
        if file.exists():
            raise UserError(f"{file}: is there already; choose another name, or remove it")
    every_file = [f for split in files.values() for f in split]
    label_set = labels_of_ids(every_file, name) if len(written) > 1 else LabelSet.load(set_name)
    report, _ = check_folder(files, label_set)
    if report.unreadable:
        raise UserError(f"{report.unreadable[0]} ({len(report.unreadable)} such files)")
    remarks = [f.text for f in report.findings]
    if len(written) > 1:
        text = yaml.safe_dump(label_set.to_dict(), sort_keys=False, default_flow_style=None)
        write_atomically(written[1], _head("Names and colours are yours to choose.", text))
        remarks.append(f"{written[1]} names the classes by their ids; name them before training")
    train = next(s for s in report.splits if s.name == "train")
    where = {"labels": _relative(set_name, folder), "dataset": _relative(str(data), folder)}
    write_atomically(written[0], _recipe(name, where, train, max_seconds or 3600))
    return Written(tuple(written), tuple(remarks))


def labels_of_ids(files: list[Files], name: str) -> LabelSet:
    """A label set of all the ids that the labels hold; 255 is unlabelled.

    Colours are those of a palette where the labels have one.
    """
    found: Counter[int] = Counter()
    for file in files:
        found.update(np.unique(read_ids(file.label)).tolist())
    ids = sorted(set(found) - {UNLABELLED})
    if not ids:
        raise UserError(f"{files[0].label}: the labels hold nothing but 255, which is unlabelled")
    with Image.open(files[0].label) as image:
        palette = image.getpalette() if image.mode == "P" else None
    entries = np.reshape(palette or [], (-1, 3)).tolist()
    colours = [
        tuple(entries[i]) if i < len(entries) else distinct_colour(n) for n, i in enumerate(ids)
    ]
    plain = ids == list(range(len(ids)))
    return LabelSet(
        name, tuple(f"class_{i}" for i in ids), tuple(colours), ids=() if plain else tuple(ids)
    )


def _relative(path_or_name: str, folder: Path) -> str:
    """A path as the recipe in `folder` says it; a name as it is."""
    if not Path(path_or_name).exists():
        return path_or_name
    text = Path(os.path.relpath(path_or_name, folder)).as_posix()
    path = text if "/" in text else f"./{text}"
    # As YAML writes it: a path with a colon, say, needs quotes.
    return yaml.safe_dump([path], default_flow_style=True, allow_unicode=True, width=4096)[1:-2]


def _recipe(name: str, where: dict[str, str], train: SplitFigures, seconds: float) -> bytes:
    height, width, _ = train.sizes[0]
    scale = min(1.0, _SHORT_SIDE / min(height, width))
    size = [max(64, round(scale * n / 8) * 8) for n in (height, width)]
    need = 4 * train.images * size[0] * size[1]
    epoch = max(1, train.images // _BATCH)
    text = _RECIPE.format(
        name=name,
        **where,
        size=size,
        crop=[max(64, round(0.6 * n / 8) * 8) for n in size],
        data="memory" if need < 0.5 * available_memory() else "stream",
        gigabytes=need / 1e9,
        minutes=seconds / 60,
        steps=max(2000, 100 * epoch),
        batch=_BATCH,
        precision="bf16-mixed" if has_bf16() or Path("/dev/nvidiactl").exists() else "32-true",
        eval_every=max(100, min(1000, 5 * epoch)),
    )
    remark = f"{train.images} images to train on. docs/training.md has every key."
    return _head(remark, text)


def _head(remark: str, text: str) -> bytes:
    return f"# Written by `lrn train --new`. {remark}\n{text}".encode()
