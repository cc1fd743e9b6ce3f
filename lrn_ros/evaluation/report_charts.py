# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Charts of the report as inline SVG: lines over time, a histogram, a reliability curve."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_WIDTH, _HEIGHT = 440, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 10, 30


@dataclass(frozen=True)
class Line:
    """A curve: its name, its CSS class, and its points; a gap wherever y is None."""

    name: str
    style: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Axes:
    """Ranges and names of a chart's axes; `y_scale` turns values into what is written."""

    x: tuple[float, float]
    y: tuple[float, float]
    x_name: str
    y_name: str

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Position of a point in the picture."""
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + across * width, _TOP + (1 - min(max(up, 0), 1)) * height


def line_chart(lines: Sequence[Line], x_name: str, y_name: str, y_max: float | None = None) -> str:
    """Curves in one picture, from zero up; a legend where there are several."""
    points = [(x, y) for line in lines for x, y in line.points if y is not None]
    if not points:
        return ""
    top = y_max if y_max is not None else nice(max(y for _, y in points))
    axes = Axes((0, max(x for x, _ in points)), (0, top), x_name, y_name)
    body = [_grid(axes)]
    for line in lines:
        body += [f'<polyline class="{line.style}" points="{p}"/>' for p in _runs(line, axes)]
    names = {line.name: line.style for line in lines}
    key = "".join(
        f'<span class="key {style}">{escape(name)}</span>' for name, style in names.items()
    )
    legend = f'<p class="keys">{key}</p>' if len(names) > 1 else ""
    return _svg(body, f"{y_name} over {x_name}") + legend


def joined(
    curve: list[dict[str, Any]], key: str, factor: float = 1.0
) -> Iterator[tuple[float, float | None]]:
    """Points of a figure over time: the bags one after the other, with a gap between them."""
    start = 0.0
    for bag in curve:
        for point in bag["points"]:
            if point.get(key) is not None:
                yield start + point["time_s"], factor * point[key]
        yield start, None
        start += max((p["time_s"] for p in bag["points"]), default=0.0)


def heat_chart(curve: list[dict[str, Any]], names: Sequence[str], key: str) -> str:
    """A row a name and a column a point of time, the bags one after the other; 0 to 1."""
    points = [point.get(key, {}) for bag in curve for point in bag["points"]]
    names = [n for n in names if any(n in p for p in points)]
    if not names:
        return ""
    left, height = 96, 17
    step = (_WIDTH - left) / len(points)
    cells = ""
    for row, name in enumerate(names):
        y = row * height
        cells += f'<text x="{left - 5}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
        for column, point in enumerate(points):
            if name in point:
                cells += (
                    f'<rect class="bar" x="{left + column * step:.2f}" y="{y}" width="{step:.2f}"'
                    f' height="{height - 1}" fill-opacity="{point[name]:.2f}"/>'
                )
    size = f"0 0 {_WIDTH} {height * len(names)}"
    return f'<svg viewBox="{size}" role="img"><title>{key} over time</title>{cells}</svg>'


def histogram_chart(edges: Sequence[float], counts: Sequence[float], x_name: str) -> str:
    """Bars of counts between edges."""
    axes = Axes((0, edges[-1]), (0, nice(max(counts))), x_name, "frames")
    body = [_grid(axes)]
    for low, high, count in zip(edges[:-1], edges[1:], counts):
        (left, top), (right, bottom) = axes.at(low, count), axes.at(high, 0)
        width = max(right - left - 0.5, 0.5)
        body.append(
            f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}"'
            f' height="{bottom - top:.1f}"><title>{low:.2f}-{high:.2f}: {count:.0f}</title></rect>'
        )
    return _svg(body, f"frames by {x_name}")


def reliability_chart(confidence: Sequence[float | None], accuracy: Sequence[float | None]) -> str:
    """Share of right pixels over confidence, with the diagonal of perfect calibration, in %."""
    axes = Axes((0, 100), (0, 100), "confidence, %", "right, %")
    points = [(c, a) for c, a in zip(confidence, accuracy) if c is not None and a is not None]
    curve = Line("measured", "a", [(100 * c, 100 * a) for c, a in points])
    body = [_grid(axes)]
    body += [f'<polyline class="ideal" points="{p}"/>' for p in _runs(_DIAGONAL, axes)]
    body += [f'<polyline class="a" points="{p}"/>' for p in _runs(curve, axes)]
    for x, y in curve.points:
        across, down = axes.at(x, y or 0.0)
        body.append(f'<circle class="a" cx="{across:.1f}" cy="{down:.1f}" r="3"/>')
    return _svg(body, "share of right pixels over confidence")


_DIAGONAL = Line("ideal", "ideal", [(0, 0), (100, 100)])


def nice(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, ... from `value` up.

    >>> nice(0.07), nice(3), nice(20)
    (0.1, 5.0, 20.0)
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(round(m * power, 12) for m in (1, 2, 5, 10) if m * power >= value * (1 - 1e-9))


def _runs(line: Line, axes: Axes) -> Iterable[str]:
    """Stretches of a curve between its gaps."""
    run: list[str] = []
    for x, y in [*line.points, (0.0, None)]:
        if y is None:
            if run:
                yield " ".join(run * 2 if len(run) == 1 else run)
            run = []
        else:
            across, down = axes.at(x, y)
            run.append(f"{across:.1f},{down:.1f}")


def _grid(axes: Axes) -> str:
    parts = []
    for i in range(5):
        value = axes.y[0] + (axes.y[1] - axes.y[0]) * i / 4
        _, y = axes.at(axes.x[0], value)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for i in range(5):
        value = axes.x[0] + (axes.x[1] - axes.x[0]) * i / 4
        x, _ = axes.at(value, 0)
        anchor = "start" if i == 0 else "end" if i == 4 else "middle"
        label = f"{value:.3g}" if value < 1000 else f"{value:.0f}"
        at = f'x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 14}"'
        parts.append(f'<text {at} text-anchor="{anchor}">{label}</text>')
    at = f'x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 3}"'
    parts.append(f'<text class="name" {at} text-anchor="middle">{escape(axes.x_name)}</text>')
    return "".join(parts)


def _svg(body: list[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{escape(title)}</title>'
        + "".join(body)
        + "</svg>"
    )
