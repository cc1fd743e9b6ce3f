# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A contact sheet: rows of camera image, overlay and colour mask, with a legend of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.overlay import colorize, legend_band, readable
from lrn_ros.model.labels import LabelSet

_CELL = 480  # pixels wide
_GAP = 6
_LINE = 28
_PAPER, _INK = 24, (235, 235, 235)


@dataclass(frozen=True)
class Row:
    """One frame of the sheet; images (H, W, 3) uint8 RGB, mask and truth (H, W) uint8."""

    caption: str
    rgb: NDArray[np.uint8]
    overlay: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None = None


def contact_sheet(
    title: str,
    rows: Sequence[Row],
    labels: LabelSet,
    headings: Sequence[str] = ("camera", "overlay", "mask in class colours"),
) -> NDArray[np.uint8]:
    """Draw the sheet.

    Args:
        title: text above the pictures.
        rows: one a frame.
        labels: names and colours of the classes.
        headings: headings of the three columns; a column for the truth follows where a row has it.

    Returns:
        (H, W, 3) uint8 RGB: the title, the headings, the rows, the legend.
    """
    if any(row.truth is not None for row in rows):
        headings = (*headings, "truth")
    width = len(headings) * (_CELL + _GAP) + _GAP
    parts = [_text_line(title, width, 0.6), _headings(headings, width)]
    parts += [_row(row, labels, width) for row in rows]
    parts.append(legend_band(labels, width, _LINE))
    return np.concatenate(parts)


def _paper(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _write(image: NDArray[np.uint8], text: str, at: tuple[int, int], scale: float) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(image, readable(text), at, font, scale, _INK, 1, cv2.LINE_AA)


def _text_line(text: str, width: int, scale: float) -> NDArray[np.uint8]:
    line = _paper(_LINE, width)
    _write(line, text, (_GAP + 2, 20), scale)
    return line


def _headings(names: Sequence[str], width: int) -> NDArray[np.uint8]:
    line = _paper(_LINE, width)
    for column, name in enumerate(names):
        _write(line, name, (_GAP + column * (_CELL + _GAP) + 2, 20), 0.5)
    return line


def _row(row: Row, labels: LabelSet, width: int) -> NDArray[np.uint8]:
    color = colorize(row.mask, labels.lookup())
    cells = [
        (row.rgb, cv2.INTER_AREA), (row.overlay, cv2.INTER_AREA), (color, cv2.INTER_NEAREST)
    ]  # fmt: skip
    if row.truth is not None:
        cells.append((colorize(row.truth, labels.lookup()), cv2.INTER_NEAREST))
    height = max(1, round(_CELL * row.rgb.shape[0] / row.rgb.shape[1]))
    strip = _paper(height + _GAP, width)
    for column, (picture, method) in enumerate(cells):
        left = _GAP + column * (_CELL + _GAP)
        strip[:height, left : left + _CELL] = cv2.resize(
            picture, (_CELL, height), interpolation=method
        )
    cv2.rectangle(strip, (_GAP, height - 20), (_GAP + 9 * len(row.caption), height), (0, 0, 0), -1)
    _write(strip, row.caption, (_GAP + 4, height - 6), 0.45)
    return strip
