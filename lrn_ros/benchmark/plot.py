# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Latency against accuracy as a picture; imports matplotlib, which is optional."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lrn_ros.benchmark.figures import Figures
from lrn_ros.benchmark.measure import STEADY

_AREA = 500.0  # square points of a bubble per million parameters


def accuracy(row: Figures) -> float | None:
    """The mIoU that is drawn, 0-1: measured on the data set, else the one that the file states."""
    return row.file_miou if row.miou is None else row.miou


def draw_latency(path: Path, rows: Sequence[Figures], machine: str) -> None:
    """Write a picture: a bubble for every row, its area in proportion to the parameters.

    A thin line joins what is of one model, whose name stands there once. Whiskers go from the
    fastest to the slowest median of a round; a row whose rounds differ by more than STEADY is an
    empty circle, and a line under the picture says so.

    Args:
        path: the PNG to write, 900x600 pixels.
        rows: rows with an accuracy and parameters.
        machine: what the figures are of, for the title.
    """
    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    kinds = list(dict.fromkeys(_kind(row) for row in rows))
    palette = colormaps["tab10" if len(kinds) <= 10 else "turbo"].resampled(max(10, len(kinds)))
    colours = {kind: palette(i) for i, kind in enumerate(kinds)}
    models: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        miou = accuracy(row)
        if miou is None or row.parameters is None:
            raise ValueError(f"{row.combination} has no accuracy or no parameters")
        at = (row.total.p50, 100 * miou)
        models.setdefault(row.combination.model, []).append(at)
        _draw_row(axes, row, at, colours[_kind(row)])
    for name, points in models.items():
        points.sort()
        axes.plot(*zip(*points), color="grey", linewidth=0.6, zorder=0)
        axes.annotate(
            name.replace("$", r"\$"), points[-1], xytext=(8, 6), textcoords="offset points",
            fontsize=8, zorder=5,
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
    label = "frame in to mask out, median, ms; whiskers: medians of the rounds"
    if not all(row.is_steady for row in rows):
        label += f"\nempty circle: the rounds differ by more than {100 * STEADY:g} %"
    axes.set_xlabel(label)
    measured = all(r.miou is not None for r in rows)
    axes.set_ylabel("mIoU, %" if measured else "validation mIoU that the model file states, %")
    figure.suptitle(f"{machine}. Area: parameters".replace("$", r"\$"), fontsize=10)
    canvas.print_png(path)


def _draw_row(axes: Axes, row: Figures, at: tuple[float, float], colour: Any) -> None:
    area = _AREA * (row.parameters or 0) / 1e6
    if row.is_steady:
        axes.scatter(*at, s=area, alpha=0.4, color=colour, linewidths=0)
    else:
        axes.scatter(*at, s=area, facecolors="none", edgecolors=[colour], linestyles="dashed")
    low, high = row.round_medians
    reach = [[max(0.0, at[0] - low)], [max(0.0, high - at[0])]]
    axes.errorbar(*at, xerr=reach, color=colour, capsize=3, linewidth=1)
    axes.scatter(*at, s=4, color="black")


def _kind(row: Figures) -> str:
    """The text of a colour in the legend."""
    c = row.combination
    return f"{c.backend} {c.precision} {c.size[0]}x{c.size[1]}"
