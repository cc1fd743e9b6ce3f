# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Makes masks visible: colours, blending over the camera image, an outline of people, a legend."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.palette import people
from lrn_ros.model.labels import UNLABELLED, LabelSet

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PAPER, _FRAME, _INK = 24, 150, (240, 240, 240)
_MAX_LETTERS = 40  # letters of a class name that are written
_MAX_ROWS = 24  # classes below each other in the picture of the legend


def colorize(mask: NDArray[np.uint8], lookup: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) class ids through a (256, 3) table, see LabelSet.lookup -> (H, W, 3) RGB."""
    out = np.empty((*mask.shape, 3), np.uint8)
    # take with out= and mode="clip" runs four times faster than lookup[mask].
    return np.take(lookup, mask, axis=0, out=out, mode="clip")


def blend(
    rgb: NDArray[np.uint8], color: NDArray[np.uint8], mask: NDArray[np.uint8], alpha: float
) -> NDArray[np.uint8]:
    """Mix colours over an image of the same size; unlabelled pixels stay as they are.

    Args:
        rgb: (H, W, 3) uint8 image.
        color: (H, W, 3) uint8, see colorize.
        mask: (H, W) uint8.
        alpha: weight of the colours, 0-1.
    """
    out: NDArray[np.uint8] = cv2.addWeighted(rgb, 1 - alpha, color, alpha, 0)  # type: ignore[assignment]
    unlabelled = mask == UNLABELLED
    if unlabelled.any():
        out[unlabelled] = rgb[unlabelled]
    return out


def draw_overlay(
    rgb: NDArray[np.uint8], mask: NDArray[np.uint8], labels: LabelSet, alpha: float = 0.5
) -> NDArray[np.uint8]:
    """The overlay for people: the colours over the image, with an outline around persons.

    Args:
        rgb: (H, W, 3) uint8 image.
        mask: (H, W) uint8 class ids.
        labels: label set with the colours to show, see lrn_ros.inference.palette.shown.
        alpha: weight of the colours, 0-1.
    """
    picture = blend(rgb, colorize(mask, labels.lookup()), mask, alpha)
    outline(picture, mask, people(labels))
    return picture


def outline(image: NDArray[np.uint8], mask: NDArray[np.uint8], classes: Sequence[int]) -> None:
    """Draw a thin line around the regions of some classes, into `image`.

    The line is black next to the region and white outside, so that one of the two stands out
    against any colour beside it.
    """
    width = max(1, round(image.shape[0] / 720))
    for class_id in classes:
        region = (mask == class_id).view(np.uint8)
        left, top, columns, rows = cv2.boundingRect(region)
        if not rows:
            continue
        margin = 2 * width
        box = np.s_[
            max(0, top - margin) : top + rows + margin,
            max(0, left - margin) : left + columns + margin,
        ]
        part, picture = region[box], image[box]
        inner = cv2.dilate(part, np.ones((3, 3), np.uint8), iterations=width)
        outer = cv2.dilate(inner, np.ones((3, 3), np.uint8), iterations=width)
        picture[(outer > inner) & ~np.isin(mask[box], classes)] = 255
        picture[inner > part] = 0


def draw_legend(image: NDArray[np.uint8], mask: NDArray[np.uint8], labels: LabelSet) -> None:
    """Write the classes' names beside their colours into a filled band at the top of `image`.

    If all classes fit into a quarter of the height, all of them are named, so that the band is the
    same for every frame. Otherwise people in `mask` come first, then the classes with most pixels.
    """
    line = max(16, round(image.shape[0] / 36))
    rows = _rows(labels, range(len(labels)), image.shape[1], line)
    max_rows = image.shape[0] // (4 * line)
    if len(rows) > max_rows:
        counts = np.bincount(mask.ravel(), minlength=256)[: len(labels)]
        counts[list(people(labels))] *= counts.sum()
        largest = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
        rows = _rows(labels, largest, image.shape[1], line)[:max_rows]
    _write_rows(image, labels, rows, line)


def draw_note(image: NDArray[np.uint8], text: str) -> None:
    """Write a small line into the lower left corner of `image`, on a filled background.

    The letters are smaller where the picture is narrow; one that is too small stays as it is.
    """
    line = max(14, round(image.shape[0] / 45))
    while (width := _text_width(text, line) + line // 2) > image.shape[1] and line > 10:
        line -= 1
    if width <= image.shape[1] and 4 * line <= image.shape[0]:
        strip = image[-line:, :width]
        strip[:] = _PAPER
        _write(strip, text, line // 4, line)


def legend_picture(labels: LabelSet, line: int = 32) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB picture of the colours and names of all classes.

    The classes are below each other; more than 24 of them take several columns.

    Args:
        labels: label set with the colours to show.
        line: pixels from one class to the next.
    """
    columns = -(-len(labels) // _MAX_ROWS)
    rows = -(-len(labels) // columns)
    widest = max(_width(labels, i, line) for i in range(len(labels)))
    picture = np.full((line * rows, widest * columns, 3), _PAPER, np.uint8)
    for class_id in range(len(labels)):
        column, row = divmod(class_id, rows)
        left = column * widest
        strip = picture[row * line : (row + 1) * line, left : left + widest]
        _write_row(strip, labels, [class_id], line)
    return picture


def legend_band(labels: LabelSet, width: int, line: int) -> NDArray[np.uint8]:
    """(H, width, 3) uint8 RGB: the classes side by side, in as many lines as they need."""
    rows = _rows(labels, range(len(labels)), width, line)
    band = np.empty((line * len(rows), width, 3), np.uint8)
    _write_rows(band, labels, rows, line)
    return band


def readable(text: str) -> str:
    """The text in the letters that OpenCV's font has: Latin letters lose their accents.

    >>> readable("Fußgängerübergang")
    'Fussgangerubergang'
    >>> readable("道路"), readable("дорога 2")
    ('', '2')
    """
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("ø", "o"))
    return " ".join(plain.encode("ascii", "ignore").decode().split())


def _rows(labels: LabelSet, classes: Sequence[int], width: int, line: int) -> list[list[int]]:
    """The classes in rows, with as many in a row as fit into the width."""
    rows: list[list[int]] = []
    left = width
    for class_id in classes:
        need = _width(labels, class_id, line)
        if left + need > width:
            rows.append([])
            left = 0
        rows[-1].append(class_id)
        left += need
    return rows


def _name(labels: LabelSet, class_id: int) -> str:
    """The text for a class: its name, or its id if the font lacks the letters of the name."""
    name = readable(labels.names[class_id])
    if 2 * len(name) < len(labels.names[class_id]):
        return f"class {class_id}"
    return name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 2]}.."


def _width(labels: LabelSet, class_id: int, line: int) -> int:
    """Pixels that a class takes in a row: its colour, its name, and the room around them."""
    return _text_width(_name(labels, class_id), line) + 3 * line // 2


def _text_width(text: str, line: int) -> int:
    return int(cv2.getTextSize(text, _FONT, line / 36, _stroke(line))[0][0])


def _stroke(line: int) -> int:
    return max(1, line // 20)


def _write(strip: NDArray[np.uint8], text: str, left: int, line: int) -> None:
    at = (left, round(0.72 * line))
    cv2.putText(strip, text, at, _FONT, line / 36, _INK, _stroke(line), cv2.LINE_AA)


def _write_rows(
    image: NDArray[np.uint8], labels: LabelSet, rows: Sequence[Sequence[int]], line: int
) -> None:
    """Fill a band at the top of `image`, and write the rows of classes into it."""
    image[: line * len(rows)] = _PAPER
    for top, row in enumerate(rows):
        _write_row(image[top * line : (top + 1) * line], labels, row, line)


def _write_row(
    strip: NDArray[np.uint8], labels: LabelSet, classes: Sequence[int], line: int
) -> None:
    """Colours and names side by side into a strip that is one line high."""
    edge, left = line // 8, 0
    for class_id in classes:
        color = tuple(int(v) for v in labels.colors[class_id])
        strip[edge : line - edge, left + edge : left + line - edge] = _FRAME
        inside = edge + _stroke(line)
        strip[inside : line - inside, left + inside : left + line - inside] = color
        _write(strip, _name(labels, class_id), left + line + edge, line)
        left += _width(labels, class_id, line)
