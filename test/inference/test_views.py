# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Averaging over scales and mirror images against torch's resizing of the plain network."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lrn_ros import Segmenter
from lrn_ros.inference.views import mean_probability
from lrn_ros.model.artifact import read_info
from lrn_ros.scene import StreetScene

torch = pytest.importorskip("torch")

# (scale, the size it means for a network trained at 96x128)
SCALES = [(0.75, (72, 96)), (1.0, (96, 128)), (1.25, (120, 160))]


@pytest.fixture(scope="module")
def segmenter(random_model: Path) -> Segmenter:
    return Segmenter.load(random_model, backend="torch")


def expected(model: Path, rgb: np.ndarray, flip: bool) -> np.ndarray:
    """Mean probability by torch alone, from the network at the three sizes."""
    from lrn_ros.inference.backends.torch import load_network

    info = read_info(model)
    network = load_network(model, info)
    mean, std = (torch.tensor(v)[:, None, None] for v in (info.mean, info.std))
    views = []
    for _, (height, width) in SCALES:
        for mirrored in (False, True) if flip else (False,):
            image = rgb[:, ::-1].copy() if mirrored else rgb
            method = cv2.INTER_AREA if height < rgb.shape[0] else cv2.INTER_LINEAR
            image = cv2.resize(image, (width, height), interpolation=method)
            x = (torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std
            with torch.no_grad():
                logits = torch.nn.functional.interpolate(
                    network.coarse(x[None]), size=rgb.shape[:2], mode="bilinear"
                )
            probability = logits.softmax(1)[0]
            views.append(probability.flip(-1) if mirrored else probability)
    return torch.stack(views).mean(0).numpy()


@pytest.mark.parametrize("size", [(96, 128), (240, 320)])
@pytest.mark.parametrize("flip", [False, True])
def test_agrees_with_torch(
    segmenter: Segmenter, random_model: Path, size: tuple[int, int], flip: bool
) -> None:
    rgb = StreetScene(seed=2, height=size[0], width=size[1]).frame(0)[0]
    found = mean_probability(segmenter, rgb, [s for s, _ in SCALES], flip)
    reference = expected(random_model, rgb, flip)
    assert found.shape == (11, *size) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(found, reference, atol=1e-3)
    assert (found.argmax(0) == reference.argmax(0)).mean() > 0.999
    one_view = mean_probability(segmenter, rgb, [1.0], False)
    assert np.abs(one_view - reference).max() > 0.05


@pytest.mark.parametrize("size", [(96, 128), (100, 301)])
def test_the_mirror_image_gives_the_mirrored_result(
    segmenter: Segmenter, size: tuple[int, int]
) -> None:
    rgb = np.random.default_rng(3).integers(0, 255, (*size, 3), np.uint8)
    mirrored = rgb[:, ::-1]
    both = [mean_probability(segmenter, v, (0.75, 1.0), True) for v in (rgb, mirrored)]
    np.testing.assert_allclose(both[0], both[1][..., ::-1], atol=1e-6)
    alone = [mean_probability(segmenter, v, (0.75, 1.0), False) for v in (rgb, mirrored)]
    assert np.abs(alone[0] - alone[1][..., ::-1]).max() > 0.01
