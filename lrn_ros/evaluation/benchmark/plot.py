# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Latency against accuracy as a picture; imports matplotlib, which is optional."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lrn_ros.evaluation.benchmark.figures import Figures

_AREA = 500.0  # square points of a bubble per million parameters


def accuracy(row: Figures) -> float | None:
    """The mIoU that is drawn, 0-1: measured on the data set, else the one that the file states."""
    return row.file_miou if row.miou is None else row.miou


def draw_latency(path: Path, rows: Sequence[Figures]) -> None:
    """Write a picture: a bubble for every row, its area in proportion to the parameters.

    Args:
        path: the PNG to write, 900x600 pixels.
        rows: with an accuracy and parameters.
    """
    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row in rows:
        miou = accuracy(row)
        if miou is None or row.parameters is None:
            raise ValueError(f"{row.combination} has no accuracy or no parameters")
        at = row.total.p50, 100 * miou
        axes.scatter(*at, s=_AREA * row.parameters / 1e6, alpha=0.5)
        axes.scatter(*at, s=4, color="black")
        axes.annotate(
            str(row.combination).replace("$", r"\$"), at, xytext=(6, 6),
            textcoords="offset points", fontsize=8, rotation=30,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(0.2)
    axes.grid(alpha=0.3)
    axes.set_xlabel("frame in to mask out, median, ms")
    measured = all(r.miou is not None for r in rows)
    axes.set_ylabel("mIoU, %" if measured else "validation mIoU that the model file states, %")
    figure.suptitle("Latency and accuracy; area: parameters")
    canvas.print_png(path)
