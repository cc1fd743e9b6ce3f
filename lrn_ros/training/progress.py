# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The progress of a training run for people: figures by class, time left, a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.contact_sheet import Row, contact_sheet
from lrn_ros.inference.overlay import blend, colorize
from lrn_ros.metrics.confusion import Scores
from lrn_ros.model.labels import LabelSet

PICTURED = 4  # validation images

Image = NDArray[np.uint8]


def class_line(result: Scores, labels: LabelSet) -> str:
    """The mean and every class in one line.

    >>> from lrn_ros.metrics.confusion import scores
    >>> result = scores(np.array([[9, 1, 0], [0, 0, 0]]))
    >>> class_line(result, LabelSet("x", ("sky", "cow"), ((0, 0, 0), (1, 1, 1))))
    'val mIoU 45.00 % (sky 90, cow 0)'
    """
    parts = [f"{n} {100 * v:.0f}" if math.isfinite(v) else f"{n} does not occur"
             for n, v in zip(labels.names, result.iou)]  # fmt: skip
    return f"val mIoU {100 * result.miou:.2f} % ({', '.join(parts)})"


def time_left(progress: float, elapsed: float) -> str:
    """The time that a run still needs, given its progress and the seconds that this took.

    >>> time_left(0.25, 1200), time_left(0.9, 540), time_left(0.0, 3)
    ('1 h 00 min left', '1 min left', 'no estimate yet')
    """
    if progress <= 0:
        return "no estimate yet"
    minutes = math.ceil(elapsed / progress * (1 - progress) / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02} min left" if hours else f"{minutes} min left"


def pictured(count: int) -> list[int]:
    """The positions of the validation images that are shown, evenly spread.

    >>> pictured(3), pictured(101)
    ([0, 1, 2], [0, 25, 50, 75])
    """
    shown = min(PICTURED, count)
    return [i * count // shown for i in range(shown)]


def validation_sheet(
    title: str, shown: Sequence[tuple[str, Image, Image, Image]], labels: LabelSet
) -> Image:
    """Images, truth and prediction side by side.

    Args:
        title: text above the pictures.
        shown: name, (H, W, 3) uint8 RGB, and truth and prediction, (H, W) uint8 class ids.
        labels: their colours and names.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    lookup = labels.lookup()
    rows = [
        Row(name, rgb, blend(rgb, colorize(truth, lookup), truth, 0.6), guess)
        for name, rgb, truth, guess in shown
    ]
    return contact_sheet(title, rows, labels, ("image", "truth", "prediction"))
