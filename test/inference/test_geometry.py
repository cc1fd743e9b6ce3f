# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The sizes of the network's input and of the mask for a frame."""

from __future__ import annotations

import pytest

from lrn_ros.errors import UserError
from lrn_ros.inference.geometry import fit

TRAINED = (360, 480)


@pytest.mark.parametrize(
    ("frame", "network"),
    [
        ((360, 480), (360, 480)),
        ((480, 640), (360, 480)),
        ((720, 1280), (360, 640)),
        ((1080, 1920), (360, 640)),
        ((512, 1024), (360, 720)),
        ((1920, 1080), (640, 360)),
        ((240, 320), (360, 480)),
    ],
)
def test_common_cameras_need_no_border(frame: tuple[int, int], network: tuple[int, int]) -> None:
    geometry = fit(frame, TRAINED)
    assert geometry.network == geometry.content == network
    assert geometry.output == frame


@pytest.mark.parametrize("frame", [(375, 1242), (1, 1), (1, 5000), (5000, 1), (333, 777), (64, 65)])
@pytest.mark.parametrize("requested", [None, (256, 512), (128, 64)])
def test_every_frame_fits(frame: tuple[int, int], requested: tuple[int, int] | None) -> None:
    geometry = fit(frame, TRAINED, requested)
    for content, network in zip(geometry.content, geometry.network):
        assert 1 <= content <= network and network % 8 == 0 and network >= 64
    if requested is not None:
        assert geometry.network == requested
    # The aspect ratio is kept to within the rounding of each side to a pixel, at least one.
    scale = max(geometry.scale) if min(geometry.content) > 1 else min(geometry.scale)
    for content, side in zip(geometry.content, frame):
        assert content == 1 or abs(content - side * scale) <= 1 + 0.5 * max(frame) / min(frame)
    assert geometry.network[0] * geometry.network[1] < 64 * 8 * TRAINED[0] ** 2


def test_network_output() -> None:
    assert fit((1080, 1920), TRAINED, output="network").output == (360, 640)
    assert fit((1080, 1920), TRAINED, (360, 480), "network").output == (270, 480)


@pytest.mark.parametrize("frame", [(375, 1242), (1, 1), (1, 5000), (720, 960), (64, 65)])
@pytest.mark.parametrize("requested", [None, (256, 512)])
@pytest.mark.parametrize("factor", [0.1, 0.75, 1.0, 1.25, 4.0])
def test_scaled(frame: tuple[int, int], requested: tuple[int, int] | None, factor: float) -> None:
    geometry = fit(frame, TRAINED, requested)
    scaled = geometry.scaled(factor)
    assert (scaled == geometry) == (factor == 1)
    assert (scaled.frame, scaled.output) == (frame, frame)
    for before, content, network in zip(geometry.content, scaled.content, scaled.network):
        assert abs(content - before * factor) <= 0.5 or content == 1
        assert 1 <= content <= network and network % 8 == 0 and network >= 64


@pytest.mark.parametrize(
    ("size", "works"), [((361, 480), "[360, 480]"), ((0, 480), "[64, 480]"), ((32, 32), "[64, 64]")]
)
def test_bad_network_sizes_say_what_would_work(size: tuple[int, int], works: str) -> None:
    with pytest.raises(UserError) as error:
        fit((480, 640), TRAINED, size)
    assert works in str(error.value)


def test_unknown_output_is_refused() -> None:
    with pytest.raises(UserError, match="input"):
        fit((480, 640), TRAINED, output="full")
