# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a replay: small whatever shape the images have."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lrn_ros.metrics.confusion import confusion_matrix
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.gallery import PANELS, Gallery, picture_file, read_pictures

CAMVID = LabelSet.load("camvid11")


@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        ((720, 1280), (240, 426)),
        ((480, 640), (240, 320)),
        ((1, 640), (1, 640)),
        ((1, 1000), (1, 1000)),
        ((4, 4096), (1, 1024)),
        ((5, 3000), (1, 600)),
        ((3000, 5), (3000, 5)),
    ],
)
def test_size(shape, kept, tmp_path):
    rng = np.random.default_rng(0)
    truth, mask = rng.integers(0, 11, (2, *shape)).astype(np.uint8)
    rgb = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    gallery = Gallery(CAMVID)
    gallery.judge(0, 1, confusion_matrix(truth, mask, 11), (rgb, truth, mask))
    gallery.add(0, 1, rgb, mask)
    gallery.write(tmp_path)
    found = read_pictures(tmp_path)
    assert [entry["index"] for entry in found["strip"]] == [0] and found["worst"]
    for name in (*PANELS, "overlay"):
        picture = cv2.imread(str(picture_file(tmp_path, 0, name)))
        assert picture.shape == (*kept, 3), name
