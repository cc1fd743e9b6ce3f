# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Charts of the report as inline SVG: lines over time, a histogram, a reliability curve."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from lrn_ros.metrics.text import number
from lrn_ros.replay.figures import Curve

_WIDTH, _HEIGHT = 440, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 10, 30
_GAP = 1.5  # spans of time without a frame that break a curve
# Curves of a latency: their name and style, the figure and what it is multiplied by.
TIMES = (("median", "a", "p50_ms", 1.0), ("slowest 5 %", "b", "p95_ms", 1.0))


@dataclass(frozen=True)
class Line:
    """A curve: its name, its CSS class, and its points; a gap wherever y is None."""

    name: str
    style: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class Axes:
    """Ranges, from 0 up, and names of a chart's axes."""

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


def line_chart(
    lines: Sequence[Line], end_s: float, y_name: str, y_max: float | None = None
) -> Markup:
    """Curves over time in one picture, from zero up; a legend where there are several."""
    points = [(x, y) for line in lines for x, y in line.points if y is not None]
    if not points:
        return Markup()
    top = y_max if y_max is not None else nice(max(y for _, y in points))
    axes = Axes((0, end_s), (0, top), "seconds", y_name)
    body = [_grid(axes)]
    for line in lines:
        body += [_drawn(line.style, run) for run in _runs(line, axes)]
    names = {line.name: line.style for line in lines}
    key = "".join(
        f'<span class="key {style}">{escape(name)}</span>' for name, style in names.items()
    )
    legend = f'<p class="keys">{key}</p>' if len(names) > 1 else ""
    return _svg(body, f"{y_name} over time") + Markup(legend)


def joined(
    curve: Sequence[Curve], key: str, factor: float = 1.0
) -> Iterator[tuple[float, float | None]]:
    """Points of a figure over time, of one bag after the other.

    There is a gap between bags, and where spans of a bag's time have no frames.
    """
    start = 0.0
    for bag in curve:
        last = None
        for point in bag.points:
            value = getattr(point, key)
            if math.isfinite(value):
                if last is not None and point.time_s - last > _GAP * 2 * bag.points[0].time_s:
                    yield start + last, None
                yield start + point.time_s, factor * value
                last = point.time_s
        yield start, None
        start += length_s([bag])


def length_s(curve: Sequence[Curve]) -> float:
    """The time of all bags together; points are in the middle of their spans."""
    return sum(b.points[0].time_s + b.points[-1].time_s for b in curve if b.points)


def heat_chart(curve: Sequence[Curve], names: Sequence[str]) -> Markup:
    """IoU with one row per class and time to the right, bag after bag; a line: class is absent."""
    names = [n for n in names if any(n in p.iou for b in curve for p in b.points)]
    if not names:
        return Markup()
    left, height, end = 96, 17, length_s(curve)
    scale = (_WIDTH - left - _RIGHT) / (end or 1)
    cells = ""
    for row, name in enumerate(names):
        y, start = row * height, 0.0
        cells += f'<text x="{left - 5}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
        for bag in curve:
            half = bag.points[0].time_s if bag.points else 0.0
            for point in bag.points:
                x, width = left + (start + point.time_s - half) * scale, 2 * half * scale
                value = point.iou.get(name)
                cells += (
                    f'<line x1="{x:.2f}" x2="{x + width:.2f}" y1="{y + 8}" y2="{y + 8}"/>'
                    if value is None
                    else f'<rect class="bar" x="{x:.2f}" y="{y}" width="{width:.2f}"'
                    f' height="{height - 1}" fill-opacity="{value:.2f}"/>'
                )
            start += length_s([bag])
    bottom = height * len(names)
    cells += "".join(
        f'<text x="{left + t * scale:.1f}" y="{bottom + 12}" text-anchor="middle">{t:g}</text>'
        for t in ticks(end)
    )
    middle = (left + _WIDTH - _RIGHT) / 2
    cells += f'<text x="{middle:.0f}" y="{bottom + 26}" text-anchor="middle">seconds</text>'
    size = f"0 0 {_WIDTH} {bottom + 30}"
    return Markup(f'<svg viewBox="{size}" role="img"><title>IoU over time</title>{cells}</svg>')


def histogram_chart(edges: Sequence[float], counts: Sequence[float], x_name: str) -> Markup:
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


def reliability_chart(confidence: Sequence[float], accuracy: Sequence[float]) -> Markup:
    """Share of correct pixels over confidence in %, with the diagonal of perfect calibration."""
    axes = Axes((0, 100), (0, 100), "confidence, %", "right, %")
    points = [(c, a) for c, a in zip(confidence, accuracy) if math.isfinite(c) and math.isfinite(a)]
    if not points:
        return Markup()
    curve = Line("measured", "a", [(100 * c, 100 * a) for c, a in points])
    body = [_grid(axes)]
    body += [_drawn("ideal", run) for run in _runs(_DIAGONAL, axes)]
    body += [_drawn("a", run) for run in _runs(curve, axes)]
    body += [_dot("a", *axes.at(x, y or 0.0)) for x, y in curve.points]
    return _svg(body, "share of right pixels over confidence")


def interval_chart(rows: Sequence[tuple[str, float, float, float]], unit: str) -> Markup:
    """One row per name: a value with its interval (NaN: none), and a line at zero."""
    known = [v for row in rows for v in row[1:] if math.isfinite(v)]
    if not known:
        return Markup()
    left, height = 110, 18
    end = nice(max(abs(v) for v in known))
    middle, scale = (left + _WIDTH - _RIGHT) / 2, (_WIDTH - left - _RIGHT) / 2 / end
    bottom = height * len(rows)
    cells = f'<line x1="{middle}" x2="{middle}" y1="0" y2="{bottom}"/>'
    for row, (name, value, low, high) in enumerate(rows):
        y = row * height + height / 2
        style = "b" if value < 0 else "a"
        cells += f'<text x="{left - 5}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
        if math.isfinite(low):
            ends = f"{middle + low * scale:.1f},{y} {middle + high * scale:.1f},{y}"
            cells += f'<polyline class="{style}" points="{ends}"/>'
        said = f"<title>{number(value, 2)} ({number(low, 2)} to {number(high, 2)})</title>"
        x = middle + value * scale
        cells += f'<circle class="{style}" cx="{x:.1f}" cy="{y}" r="4">{said}</circle>'
    for at in (-end, 0, end):
        cells += (
            f'<text x="{middle + at * scale:.1f}" y="{bottom + 13}" text-anchor="middle">'
            f"{at:g}</text>"
        )
    size = f"0 0 {_WIDTH} {bottom + 18}"
    title = f"<title>difference, {escape(unit)}</title>"
    return Markup(f'<svg viewBox="{size}" role="img">{title}{cells}</svg>')


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


def ticks(end: float) -> list[float]:
    """Round values from 0 to `end`, three to six of them.

    >>> ticks(1.43), ticks(508)
    ([0.0, 0.5, 1.0], [0.0, 200.0, 400.0])
    """
    step = nice(end / 5)
    return [round(i * step, 12) for i in range(math.floor(end / step * (1 + 1e-9)) + 1)]


def _runs(line: Line, axes: Axes) -> Iterable[list[tuple[float, float]]]:
    """Stretches of a curve between its gaps, as positions in the picture."""
    run: list[tuple[float, float]] = []
    for x, y in [*line.points, (0.0, None)]:
        if y is not None:
            run.append(axes.at(x, y))
        elif run:
            yield run
            run = []


def _drawn(style: str, run: list[tuple[float, float]]) -> str:
    """A stretch of a curve; a single point is a dot."""
    if len(run) == 1:
        return _dot(style, *run[0])
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
    return f'<polyline class="{style}" points="{points}"/>'


def _dot(style: str, x: float, y: float) -> str:
    return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'


def _grid(axes: Axes) -> str:
    parts = []
    for value in ticks(axes.y[1]):
        _, y = axes.at(0, value)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(axes.x[1]):
        x, _ = axes.at(value, 0)
        anchor = "middle" if x < _WIDTH - 2 * _RIGHT else "end"
        at = f'x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 14}"'
        parts.append(f'<text {at} text-anchor="{anchor}">{value:g}</text>')
    at = f'x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 3}"'
    parts.append(f'<text class="name" {at} text-anchor="middle">{escape(axes.x_name)}</text>')
    return "".join(parts)


def _svg(body: list[str], title: str) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{escape(title)}</title>'
        + "".join(body)
        + "</svg>"
    )
