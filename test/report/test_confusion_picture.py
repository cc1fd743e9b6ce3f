# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The heat map shows the matrix: its colours, read back from the file, are where they belong."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
from lrn_ros.report.drawings import draw_confusion  # noqa: E402

NAMES = ("road", "car", "tree", "a$b$c", "sky")


def drawn(path: Path, matrix: np.ndarray) -> np.ndarray:
    """The picture, (H, W, 3) uint8 RGB."""
    draw_confusion(path, matrix, NAMES, "model on data: mIoU 12.34 %")
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def counts(rows: np.ndarray) -> np.ndarray:
    """(5, 6) matrix from its first five columns; rows differ in size."""
    sizes = np.array([[1000], [10], [200], [5], [30]])
    return np.pad(rows * sizes, ((0, 0), (0, 1))).astype(np.int64)


def share_of_colour(picture: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels in the colour of a share of a row."""
    color = np.array(matplotlib.colormaps["Blues"](share, bytes=True)[:3])
    return np.nonzero((picture == color).all(2))


def test_cells_have_the_colour_of_their_share(tmp_path: Path) -> None:
    right = drawn(tmp_path / "right.png", counts(np.eye(5)))
    wrong = drawn(tmp_path / "wrong.png", counts(np.eye(5)[::-1]))
    assert right.shape == wrong.shape and min(right.shape[:2]) >= 600
    # Rows are normalised: five cells of 55 pixels in the colour of 100 %, whatever their count.
    for picture, slope in ((right, 1), (wrong, -1)):
        y, x = share_of_colour(picture, 1.0)
        assert len(x) > 5 * 40**2
        assert np.corrcoef(x, y)[0, 1] * slope > 0.9
        assert np.ptp(x) == pytest.approx(np.ptp(y), abs=3)
    half = drawn(tmp_path / "half.png", counts(np.eye(5) / 2 + np.eye(5)[::-1] / 2))
    assert len(share_of_colour(half, 1.0)[0]) < 0.3 * len(share_of_colour(right, 1.0)[0])


def test_a_class_without_pixels_is_grey(tmp_path: Path) -> None:
    matrix = counts(np.eye(5))
    matrix[1] = 0
    picture = drawn(tmp_path / "absent.png", matrix)
    lightgrey = (picture == [211, 211, 211]).all(2)
    rows = np.flatnonzero(lightgrey.sum(1) > 300)  # text has grey edges
    y, _ = share_of_colour(picture, 1.0)
    cell = np.ptp(y) / 5
    assert np.ptp(rows) == pytest.approx(cell, abs=6)
    assert rows[0] == pytest.approx(y.min() + cell, abs=6)


def test_no_answer_has_a_column_of_its_own(tmp_path: Path) -> None:
    matrix = counts(np.eye(5))
    matrix[:, 5] = matrix.sum(1)  # half of every class
    y, x = share_of_colour(drawn(tmp_path / "no_answer.png", matrix), 0.5)
    assert np.ptp(x) == pytest.approx(np.ptp(y) * 6 / 5, abs=3)  # columns by rows
