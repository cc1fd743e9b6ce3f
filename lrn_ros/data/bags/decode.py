# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Label images of a bag to class ids: by id, or by colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.model.labels import UNLABELLED, LabelSet

_IDS = ("mono8", "8UC1")
_COLOURS = ("rgb8", "bgr8", "rgba8", "bgra8", "8UC3", "8UC4")


def label_of(
    encoding: str, rgb: NDArray[np.uint8], label_set: LabelSet, where: str
) -> NDArray[np.uint8]:
    """Class ids of a label image.

    Args:
        encoding: of the message; mono8 and 8UC1 hold the set's own ids, colour images colours.
        rgb: (H, W, 3) uint8, its pixels as RGB; equal channels where it holds ids.
        label_set: the classes, see LabelSet.ids, ignore, void.
        where: the image's origin, for errors.

    Returns:
        (H, W) uint8 class ids; 255 where the image has 255, the set's `ignore` or `void`, or
        black that is no class's colour.

    Raises:
        UserError: another encoding, or an id or a colour that the set does not have.
    """
    if encoding in _IDS:
        return label_set.classes_of(rgb[..., 0], where)
    if encoding in _COLOURS:
        return _by_colour(rgb, label_set, where)
    works = ", ".join((*_IDS, *_COLOURS))
    raise UserError(f"{where}: labels in {encoding} have no exact values; {works} work")


def _by_colour(rgb: NDArray[np.uint8], label_set: LabelSet, where: str) -> NDArray[np.uint8]:
    colours = {_packed(np.array(c, np.uint8)[None])[0]: i for i, c in enumerate(label_set.colors)}
    if len(colours) < len(label_set):
        raise UserError(f"{where}: classes of {label_set.name} share a colour; use mono8 labels")
    colours.setdefault(np.uint32(0), UNLABELLED)
    known = np.array(sorted(colours), np.uint32)
    ids = np.array([colours[c] for c in known], np.uint8)
    packed = _packed(rgb)
    at = np.minimum(np.searchsorted(known, packed), len(known) - 1)
    if (wrong := known[at] != packed).any():
        red, green, blue = rgb[wrong][0]
        raise UserError(
            f"{where}: no class of {label_set.name} has the colour ({red}, {green}, {blue})"
        )
    return ids[at]


def _packed(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(..., 3) colours as one number each."""
    return rgb.astype(np.uint32) @ np.array((65536, 256, 1), np.uint32)
