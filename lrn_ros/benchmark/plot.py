# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Latency against accuracy as a picture; imports matplotlib, which is optional."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lrn_ros.benchmark.figures import Figures

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
    kinds = list(dict.fromkeys(_kind(row) for row in rows))
    palette = colormaps["tab10" if len(kinds) <= 10 else "turbo"].resampled(max(10, len(kinds)))
    colours = {kind: palette(i) for i, kind in enumerate(kinds)}
    for row in rows:
        miou = accuracy(row)
        if miou is None or row.parameters is None:
            raise ValueError(f"{row.combination} has no accuracy or no parameters")
        at, colour = (row.total.p50, 100 * miou), colours[_kind(row)]
        axes.scatter(*at, s=_AREA * row.parameters / 1e6, alpha=0.4, color=colour, linewidths=0)
        axes.scatter(*at, s=4, color="black")
        axes.annotate(
            row.combination.model.replace("$", r"\$"), at, xytext=(5, 5),
            textcoords="offset points", fontsize=7, rotation=30, color=colour,
        )  # fmt: skip
    for kind, colour in colours.items():
        axes.scatter([], [], s=60, alpha=0.6, color=colour, linewidths=0, label=kind)
    axes.legend(fontsize=8, loc="lower right")
    axes.set_xscale("log")
    axes.margins(0.15)
    axes.grid(alpha=0.3, which="both")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.tick_params(which="minor", labelsize=6)
    axes.set_xlabel("frame in to mask out, median, ms")
    measured = all(r.miou is not None for r in rows)
    axes.set_ylabel("mIoU, %" if measured else "validation mIoU that the model file states, %")
    figure.suptitle("Latency and accuracy; area: parameters")
    canvas.print_png(path)


def _kind(row: Figures) -> str:
    """What a colour stands for."""
    c = row.combination
    return f"{c.backend} {c.precision} {c.size[0]}x{c.size[1]}"
