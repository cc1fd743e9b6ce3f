# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures drawn with matplotlib: a confusion matrix, and Figures 1 and 3 of the LRNNet paper.

Figure 1 shows speed, accuracy and size of networks; Figure 3 shows images, truth and masks of
LRNNet with LEDNet's block, A, B and C side by side. matplotlib is an optional package.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lrn_ros.data.datasets import Pair, read_pair
from lrn_ros.data.layouts import find_files
from lrn_ros.errors import UserError
from lrn_ros.inference.palette import shown
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.metrics.confusion import confusion_matrix, scores
from lrn_ros.metrics.machine import describe
from lrn_ros.model.artifact import read_weights

_CELL, _MARGIN, _MIN_SIZE = 0.55, 2.6, 6.0  # inches
_DPI = 100


def draw_confusion(path: Path, matrix: NDArray[np.int64], names: Sequence[str], title: str) -> None:
    """Write a picture of a confusion matrix: every row in percent of its class's true pixels.

    Rows of classes that the truth does not have are grey. Off the diagonal, percentages below a
    half are left out.

    Args:
        path: the PNG to write; at least 600x600 pixels, more for more classes.
        matrix: (K, K + 1) counts, see lrn_ros.metrics.confusion.
        names: K class names.
        title: one line above the picture.
    """
    columns = [*names, "no answer"] if matrix[:, -1].any() else list(names)
    total = matrix.sum(1, keepdims=True)
    percent = 100 * matrix[:, : len(columns)] / np.where(total, total, np.nan)
    share = 100 * total[:, 0] / max(1, total.sum())
    rows = [f"{name}  {part:.2f} %" for name, part in zip(names, share)]

    width, height = (max(_MIN_SIZE, _MARGIN + _CELL * n) for n in (len(columns), len(rows)))
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor("lightgrey")
    axes.set_anchor("N")
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(columns)), _plain(columns), rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), _plain(rows))
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    axes.grid(which="minor", color="white")
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("segmented as")
    axes.set_ylabel("truth, with its share of the labelled pixels")
    shown = percent >= 0.5
    np.fill_diagonal(shown, total[:, 0] > 0)
    for row, column in np.argwhere(shown):
        value = percent[row, column]
        ink = "white" if value > 55 else "black"
        axes.text(column, row, f"{value:.0f} %", ha="center", va="center", color=ink, fontsize=9)
    figure.suptitle(_plain([title])[0])
    canvas.print_png(path)


def _plain(texts: Sequence[str]) -> list[str]:
    """Keep matplotlib from reading dollar signs as formulas."""
    return [text.replace("$", r"\$") for text in texts]


# The order of the paper's Figure 3; other networks follow by name.
ORDER = ("lrnnet_ssnbt", "lrnnet_a", "lrnnet_b", "lrnnet_c")
FRAMES = 20  # number of frames that are timed for every model


@dataclass(frozen=True)
class Measured:
    """One model on one data set and machine.

    Attributes:
        name: name of the model.
        parameters: number of parameters in millions.
        miou: on all images of the split, in percent.
        fps: frames per second from image to mask, one at a time: the median of FRAMES frames.
        masks: (H, W) uint8 class ids of the images that are shown.
    """

    name: str
    parameters: float
    miou: float
    fps: float
    masks: tuple[NDArray[np.uint8], ...]


def draw_figures(
    models: Sequence[Path], data: Path, split: str, output: Path, images: int, backend: str
) -> list[Measured]:
    """Run models on a split and write speed.png (as Figure 1) and masks.png (as Figure 3).

    Args:
        models: .safetensors files whose classes are the same.
        data: folder of the data set.
        split: split of the data set.
        output: folder that exists.
        images: number of images in masks.png, spread evenly over the split.
        backend: backend of the Segmenter.

    Raises:
        UserError: there is no model, or the models have different classes.
    """
    if not models:
        raise UserError("there is no model to draw; train one, or name a folder of weights")
    loaded = [(Segmenter.load(path, backend=backend), _parameters(path)) for path in models]
    loaded.sort(key=lambda one: (_place(one[0].info.architecture), one[0].info.name))
    segmenters = [segmenter for segmenter, _ in loaded]
    labels = segmenters[0].labels
    for other in segmenters:
        if other.labels.names != labels.names:
            raise UserError(
                f"{other.info.name} has the classes of {other.labels.name},"
                f" {segmenters[0].info.name} those of {labels.name}: they share no picture"
            )
    files = find_files(data, split)
    chosen = sorted({round(i) for i in np.linspace(0, len(files) - 1, min(images, len(files)))})
    pairs = [read_pair(files[i], labels) for i in chosen]
    measured = []
    for segmenter, parameters in loaded:
        matrix = np.zeros((len(labels), len(labels) + 1), np.int64)
        seconds = []
        for file in files:
            pair = read_pair(file, labels)
            before = time.perf_counter()
            mask = segmenter(pair.rgb).mask
            seconds.append(time.perf_counter() - before)
            matrix += confusion_matrix(pair.label, mask, len(labels))
        masks = tuple(segmenter(pair.rgb).mask for pair in pairs)
        fps = 1 / statistics.median(seconds[-FRAMES:])
        name = segmenter.info.name
        measured.append(Measured(name, parameters, 100 * scores(matrix).miou, fps, masks))
    machine = describe()
    where = f"{segmenters[0].backend.name} {segmenters[0].backend.precision}, {machine.cores} cores"
    where += f" of {machine.cpu}, {data.resolve().name} {split}, {len(files)} images"
    _draw_speed(output / "speed.png", measured, where)
    _draw_masks(output / "masks.png", pairs, measured, shown(labels).lookup())
    return measured


def _place(architecture: str) -> int:
    return ORDER.index(architecture) if architecture in ORDER else len(ORDER)


def _parameters(path: Path) -> float:
    """Millions of numbers in a model file, the statistics of batch norm left out."""
    statistic = ("running_mean", "running_var", "num_batches_tracked")
    return sum(a.size for n, a in read_weights(path).items() if not n.endswith(statistic)) / 1e6


def _draw_speed(path: Path, measured: Sequence[Measured], where: str) -> None:
    figure = Figure(figsize=(8, 5.5), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for one in measured:
        area = 60 + 600 * one.parameters
        axes.scatter(one.fps, one.miou, s=area, alpha=0.5)
        text = f"{one.name}, {one.parameters:.2f} M"
        point, offset = (one.fps, one.miou), "offset points"
        axes.annotate(text, point, xytext=(6, 6), textcoords=offset, fontsize=8)
    axes.margins(x=0.5, y=0.25)
    axes.grid(alpha=0.3)
    axes.set_xlabel("frames per second, image to mask, one at a time")
    axes.set_ylabel("mIoU, %")
    figure.suptitle(f"Speed, accuracy and size (area of the circles)\n{where}", fontsize=9)
    canvas.print_png(path)


def _draw_masks(
    path: Path, pairs: Sequence[Pair], measured: Sequence[Measured], colours: NDArray[np.uint8]
) -> None:
    titles = ["image", "truth", *(one.name for one in measured)]
    height, width = pairs[0].label.shape
    size = (2.6 * len(titles), 2.6 * len(pairs) * height / width + 0.4)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(pairs), len(titles), squeeze=False)
    for row, pair in enumerate(pairs):
        masks = (pair.label, *(one.masks[row] for one in measured))
        for place, picture in zip(axes[row], (pair.rgb, *(colours[mask] for mask in masks))):
            place.imshow(picture)
            place.set_axis_off()
    for place, title in zip(axes[0], titles):
        place.set_title(title, fontsize=9)
    canvas.print_png(path)
