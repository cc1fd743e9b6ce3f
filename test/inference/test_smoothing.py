# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Smoothing on its own by closed forms, and through Segmenter and Supervisor."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from lrn_ros import Segmenter
from lrn_ros.inference.postprocess import upsample_argmax
from lrn_ros.inference.preprocess import resize
from lrn_ros.inference.smoothing import GAP_S, Smoother
from lrn_ros.inference.supervisor import Supervisor
from lrn_ros.scene import StreetScene

SCENE = StreetScene(seed=7, height=192, width=256)
IMAGE, OTHER = SCENE.frame(0)[0], StreetScene(seed=8, height=192, width=256).frame(200)[0]


def random_scores(seed: int, cells: tuple[int, int] = (24, 32)) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (5, *cells)).astype(np.float32)


def weights(interval: float) -> float:
    """Share of the past in the second frame of a still picture."""
    smoother = Smoother()
    smoother.at(0)(np.zeros((5, 24, 32), np.float32), IMAGE)
    second = smoother.at(interval)(np.ones((5, 24, 32), np.float32), IMAGE)
    assert second.min() == second.max()
    return 1 - float(second[0, 0, 0])


def test_a_still_picture_is_averaged_with_a_memory_of_a_tenth_of_a_second() -> None:
    for interval in (0.07, 0.1, 0.3, 0.5):
        assert weights(interval) == pytest.approx(math.exp(-interval / 0.1), rel=1e-4)
    assert weights(0.0) == weights(0.06) == 0.5  # a stamp that stands still freezes nothing


def test_noise_on_a_still_picture_shrinks_as_an_average_does() -> None:
    smoother, last = Smoother(), []
    for i in range(300):
        out = smoother.at(i * 0.1)(random_scores(i), IMAGE)
        if i >= 20:
            last.append(out.std())
    w = math.exp(-1)
    assert np.mean(last) == pytest.approx(math.sqrt((1 - w) / (1 + w)), rel=0.02)


def test_the_first_frame_and_a_steady_one_are_as_they_are() -> None:
    smoother, scores = Smoother(), random_scores(0)
    kept = scores.copy()
    for i in range(4):
        np.testing.assert_array_equal(smoother.at(i / 15)(scores, IMAGE), kept)
    scores[:] = 0  # the network's next output in the same memory
    assert np.abs(smoother.at(4 / 15)(scores, IMAGE)).max() > 0.5


@pytest.mark.parametrize(("step", "most"), [(4, 0.25), (16, 0.05)])
def test_the_past_is_moved_along(step: int, most: float) -> None:
    """A class stays with its part of the picture, and sharp, while the camera pans `step` pixels.

    Half a cell is the hardest: there bilinear interpolation leaves 0.32 of the error, cubic 0.18.
    """
    wide = StreetScene(seed=7, height=192, width=256).frame(0)[0]
    picture = cv2.resize(wide, (512, 192), interpolation=cv2.INTER_CUBIC)
    cells = random_scores(1, (24, 64)).transpose(1, 2, 0)
    truth = cv2.resize(cells, (512, 192), interpolation=cv2.INTER_CUBIC)[4::8].transpose(2, 0, 1)
    smoother, views = Smoother(), []
    for i in range(6):
        columns = np.s_[i * step : i * step + 256]
        scores = np.ascontiguousarray(truth[:, :, columns][:, :, 4::8])
        views.append(scores[:, 4:-4, 4:-4])
        out = smoother.at(i / 15)(scores, np.ascontiguousarray(picture[:, columns]))
    unmoved = 0.5 * np.abs(views[-1] - views[-2]).mean()
    assert np.abs(out[:, 4:-4, 4:-4] - views[-1]).mean() < most * unmoved


def test_the_past_fades_however_the_picture_moves() -> None:
    """Cubic interpolation may overshoot, most at half a cell, where signs alternate."""
    signs = np.where(np.indices((24, 32)).sum(0) % 4 < 2, 1, -1).astype(np.float32)[None]
    smoother, largest = Smoother(), 1.0
    smoother.at(0)(signs, IMAGE)
    for i in range(1, 8):
        image = np.roll(IMAGE, (4 * i, 4 * i), (0, 1))  # eight pixels a cell
        now = float(np.abs(smoother.at(0)(np.zeros_like(signs), image)).max())
        assert 0 < now < 0.95 * largest
        largest = now


ENDS = ["cut", "gap", "back", "size", "reset", "nan", "inf"]


@pytest.mark.parametrize("case", ENDS)
def test_what_ends_the_memory(case: str) -> None:
    smoother, fresh = Smoother(), random_scores(1)
    image, seconds = IMAGE, 10.0
    smoother.at(seconds)(random_scores(0), image)
    if case in ("nan", "inf"):
        broken = random_scores(3)
        broken[2, 5, 7] = float(case)
        seconds += 0.05
        np.testing.assert_array_equal(smoother.at(seconds)(broken, image), broken)
    if case == "cut":
        image = OTHER
    elif case == "gap":
        seconds += GAP_S + 0.01
    elif case == "back":
        seconds -= 0.01
    elif case == "size":
        image, fresh = IMAGE[:, :-8], fresh[:, :, :-1]
    elif case == "reset":
        smoother.reset()
    seconds += 0.0 if case in ("gap", "back") else 0.05
    out = smoother.at(seconds)(np.ascontiguousarray(fresh), np.ascontiguousarray(image))
    np.testing.assert_array_equal(out, fresh)
    again = smoother.at(seconds + 0.05)(random_scores(2)[:, :, : out.shape[2]], image)
    assert np.abs(again - random_scores(2)[:, :, : out.shape[2]]).max() > 0.1, "it goes on"


def test_a_drive_is_not_taken_for_cuts() -> None:
    smoother = Smoother()
    for i in range(8):
        scores = random_scores(i)
        out = smoother.at(i / 15)(scores, SCENE.frame(i)[0])
        assert i == 0 or np.abs(out - scores).mean() > 0.1


def test_the_smallest_network() -> None:
    smoother = Smoother()
    image = np.ascontiguousarray(IMAGE[:64, :64])
    for i in range(2):
        out = smoother.at(i / 15)(random_scores(i, (8, 8)), image)
    assert out.shape == (5, 8, 8) and np.abs(out - random_scores(1, (8, 8))).max() > 0.1


@pytest.fixture(scope="module")
def segmenter(random_model: Path) -> Segmenter:
    return Segmenter.load(random_model, backend="torch")


def by_hand(segmenter: Segmenter, frames: list[np.ndarray]) -> list[np.ndarray]:
    """Masks from the backend's scores, smoothed and upsampled."""
    smoother, masks = Smoother(), []
    for i, rgb in enumerate(frames):
        geometry = segmenter.geometry(*rgb.shape[:2])
        scores = segmenter.backend.logits(rgb, geometry)
        smoothed = smoother.at(i / 15)(scores, resize(rgb, geometry))
        masks.append(upsample_argmax(smoothed, geometry, 8, False)[0])
    return masks


FRAMES = [SCENE.frame(i)[0] for i in range(3)]


def test_segmenter_smooths_what_it_upsamples(segmenter: Segmenter) -> None:
    smoother = Smoother()
    masks = [segmenter(rgb, smooth=smoother.at(i / 15)).mask for i, rgb in enumerate(FRAMES)]
    np.testing.assert_array_equal(masks, by_hand(segmenter, FRAMES))
    assert (masks[2] != segmenter(FRAMES[2]).mask).any()


def test_every_stream_has_its_own_past_in_a_batch(segmenter: Segmenter) -> None:
    supervisor = Supervisor(lambda given_up: segmenter)
    smoothers = Smoother(), Smoother()
    geometry = segmenter.geometry(*SCENE.frame(0)[0].shape[:2])
    other = [StreetScene(seed=8, height=192, width=256).frame(i)[0] for i in range(3)]
    try:
        got = []
        for i, frames in enumerate(zip(FRAMES, other)):
            smooth = [s.at(i / 15) for s in smoothers]
            got.append([r.mask for r in supervisor.run(frames, geometry, False, smooth)])
    finally:
        supervisor.close()
    for masks, frames in zip(zip(*got), (FRAMES, other)):
        expected = by_hand(segmenter, frames)
        agreement = np.mean([(a == b).mean() for a, b in zip(masks, expected)])
        assert agreement > 0.999  # a batch's sums are rounded otherwise
