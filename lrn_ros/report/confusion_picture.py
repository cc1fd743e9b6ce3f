# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A confusion matrix as a heat map, drawn with matplotlib, which is an optional package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

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
