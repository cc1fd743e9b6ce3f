# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rendered street: the same everywhere, labelled to the pixel, moving, and full of things."""

from __future__ import annotations

import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest

from lrn_ros.scene import StreetScene

CLASSES = 11
IGNORE = 255


@pytest.fixture(scope="module")
def scene() -> StreetScene:
    return StreetScene(seed=0, height=256, width=512)


def checksum(frame: tuple[np.ndarray, np.ndarray]) -> int:
    return zlib.crc32(frame[0].tobytes() + frame[1].tobytes())


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (360, 480), (64, 320), (300, 75)])
def test_shapes_types_and_ids(size: tuple[int, int]) -> None:
    rgb, labels = StreetScene(seed=3, height=size[0], width=size[1]).frame(11)
    assert rgb.shape == (*size, 3) and rgb.dtype == np.uint8
    assert labels.shape == size and labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {*range(CLASSES), IGNORE}


def test_a_frame_depends_on_nothing_but_its_index(scene: StreetScene) -> None:
    order = [400, 0, 37, 5000]
    first = {i: checksum(scene.frame(i)) for i in order}
    other = StreetScene(seed=0, height=256, width=512)
    assert {i: checksum(other.frame(i)) for i in reversed(order)} == first


def test_another_process_draws_the_same(scene: StreetScene) -> None:
    code = (
        "import zlib; from lrn_ros.scene import StreetScene;"
        "a, b = StreetScene(0, 256, 512).frame(37); print(zlib.crc32(a.tobytes() + b.tobytes()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) == checksum(scene.frame(37))


def test_frames_are_a_function_of_time_in_seconds() -> None:
    slow, fast = StreetScene(1, 96, 128, fps=10.0), StreetScene(1, 96, 128, fps=50.0)
    assert np.array_equal(slow.frame(7)[1], fast.frame(35)[1])


def test_every_class_is_in_most_frames(scene: StreetScene) -> None:
    seen = np.zeros(CLASSES, int)
    for index in range(0, 1000, 25):
        seen[[c for c in np.unique(scene.frame(index)[1]) if c < CLASSES]] += 1
    assert (seen >= 20).all(), seen


def test_geometry_does_not_depend_on_the_resolution() -> None:
    _, large = StreetScene(0, 512, 1024).frame(60)
    _, small = StreetScene(0, 256, 512).frame(60)
    nearest = cv2.resize(large, (512, 256), interpolation=cv2.INTER_NEAREST)
    assert (nearest == small).mean() > 0.95


def test_motion_is_smooth(scene: StreetScene) -> None:
    for index in (0, 90, 333):
        (before, here), (after, there) = scene.frame(index), scene.frame(index + 1)
        assert 0.9 < (here == there).mean() < 1.0
        assert not np.array_equal(before, after)


def test_the_scene_is_laid_out_like_a_street(scene: StreetScene) -> None:
    _, labels = scene.frame(200)
    rows = np.arange(256)[:, None]
    where = {c: float((rows * (labels == c)).sum() / (labels == c).sum()) for c in (0, 1, 3)}
    assert where[0] < where[1] < where[3]
    assert not (labels[:60] == 3).any() and not (labels[200:] == 0).any()


def test_seeds_differ() -> None:
    (a, la), (b, lb) = (StreetScene(seed, 128, 256).frame(0) for seed in (1, 2))
    assert (la != lb).mean() > 0.05
    assert np.abs(a.astype(int) - b).mean() > 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"height": 63}, "height is 63; it must be at least 64"),
        ({"width": 10}, "width is 10; it must be at least 64"),
        ({"fps": 0.0}, "fps is 0.0; it must be"),
        ({"fps": -5.0}, "fps is -5.0; it must be"),
        ({"fps": float("nan")}, "fps is nan; it must be"),
        ({"seed": -1}, "seed is -1; it must be"),
    ],
)
def test_bad_arguments(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StreetScene(**arguments)  # type: ignore[arg-type]


def test_negative_index(scene: StreetScene) -> None:
    with pytest.raises(ValueError, match="index is -1; it must be 0 or more"):
        scene.frame(-1)
