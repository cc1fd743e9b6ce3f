# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures as text: numbers, percentages and tables, written alike everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def number(value: float | None, digits: int = 1) -> str:
    """A number for people; a dash where it is not known.

    >>> number(12.345), number(float("nan")), number(None)
    ('12.3', '-', '-')
    """
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share from 0 to 1 in percent; a dash where it is not known.

    >>> percent(0.1234), percent(None)
    ('12.3 %', '-')
    """
    found = hundredths(share, digits)
    return found if found == "-" else f"{found} %"


def hundredths(share: float | None, digits: int = 1) -> str:
    """A share from 0 to 1 in percent without the sign, for a column whose head has it.

    >>> hundredths(0.1234), hundredths(float("nan"))
    ('12.3', '-')
    """
    return number(None if share is None else 100 * share, digits)


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, markdown: bool = False
) -> list[str]:
    """Aligned lines of text: the first `left` columns to the left, the others to the right.

    >>> table(["stage", "ms"], [["inference", "4.0"], ["all", "12.5"]])
    ['stage        ms', 'inference   4.0', 'all        12.5']
    >>> table(["stage", "ms"], [["all", "12.5"]], markdown=True)
    ['| stage |   ms |', '| ----- | ---: |', '| all   | 12.5 |']
    """
    lines = [list(heads), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    cells = [
        [*map(str.ljust, line[:left], widths[:left]), *map(str.rjust, line[left:], widths[left:])]
        for line in lines
    ]
    if not markdown:
        return ["  ".join(line).rstrip() for line in cells]
    rule = ["-" * n if i < left else "-" * (n - 1) + ":" for i, n in enumerate(widths)]
    return [f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:])]
