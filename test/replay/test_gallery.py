# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a replay: small whatever shape the images have."""

from __future__ import annotations

import numpy as np
import pytest

from lrn_ros.metrics.confusion import confusion_matrix
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.gallery import (
    FALSE,
    MISSED,
    Gallery,
    KeptFrame,
    difference,
    overlay,
    read_frame,
    read_pictures,
)

CAMVID = LabelSet.load("camvid11")


@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        ((720, 1280), (360, 640)),
        ((480, 640), (480, 640)),
        ((1080, 1920), (360, 640)),
        ((1, 640), (1, 640)),
        ((1, 2000), (1, 2000)),
        ((4, 4096), (1, 1024)),
        ((5, 3000), (1, 750)),
        ((3000, 5), (3000, 5)),
    ],
)
def test_size(shape, kept, tmp_path):
    rng = np.random.default_rng(0)
    truth, mask = rng.integers(0, 11, (2, *shape)).astype(np.uint8)
    rgb = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    gallery = Gallery(CAMVID)
    frame = KeptFrame(0, 1, 0.0)
    gallery.add(frame, rgb, truth, mask, confusion_matrix(truth, mask, 11))
    gallery.write(tmp_path)
    found = read_pictures(tmp_path)
    assert found.spread == (frame,) and found.worst
    small = read_frame(tmp_path, 0)
    assert small is not None and small.truth is not None
    assert small.image.shape == (*kept, 3) and small.truth.shape == small.mask.shape == kept
    assert overlay(small, CAMVID).shape == (*kept, 3)


def test_the_difference_tells_missed_from_false_pixels():
    truth = np.array([[0, 0, 1, 1, 255]], np.uint8)
    mask = np.array([[0, 1, 1, 0, 1]], np.uint8)
    image = np.full((1, 5, 3), 200, np.uint8)
    drawn = difference(image, truth, mask, 1)
    assert tuple(drawn[0, 1]) == FALSE and tuple(drawn[0, 3]) == MISSED
    assert drawn[0, [0, 2]].tolist() == [[100] * 3] * 2 and not drawn[0, 4].any()
    worst = Gallery(CAMVID)
    frame = KeptFrame(7, 5, 0.5)
    worst.add(frame, image, truth, mask, confusion_matrix(truth, mask, 11))
    (found,) = worst._worst[1]
    assert (found.wrong, found.missed, found.false, found.iou) == (2, 1, 1, 1 / 3)


def test_frames_over_the_bag_are_thinned_out(tmp_path):
    gallery, picture = Gallery(CAMVID), np.zeros((8, 8, 3), np.uint8)
    for i in range(1000):
        gallery.add(KeptFrame(i, i, i / 10), picture, None, picture[..., 0])
    gallery.write(tmp_path)
    kept = [frame.index for frame in read_pictures(tmp_path).spread]
    assert kept == list(range(0, 1000, 16)) and len(list(tmp_path.glob("*.jpg"))) == len(kept)
