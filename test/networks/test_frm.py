# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""FRM against the counts of its paper, its operators against torch's and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lrn_ros.networks import build
from lrn_ros.networks.context import DisentangledNonLocal, cell_means
from lrn_ros.networks.counting import count
from lrn_ros.networks.frm import VARIANTS, Alignment, warp
from lrn_ros.networks.van import VAN

# Parameters and convolution multiply-adds in billions at 1024x2048; the paper rounds to 16.48,
# 15.23 and 15.98 million.
EXPECTED = {
    "frm": (16_483_028, 215.406),
    "frm_ppm": (15_229_395, 211.779),
    "frm_dappm": (15_979_987, 213.371),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_counts(name: str) -> None:
    counts = count(name, size=(1024, 2048))
    assert (counts.parameters, round(counts.mac / 1e9, 3)) == EXPECTED[name]


def test_attention_is_counted_beside_the_convolutions() -> None:
    counts = count("frm", size=(1024, 2048))
    pixels = 32 * 64
    assert counts.core == 2 * 256 * pixels**2 + 256 * pixels  # two products of pairs, one of masks


def test_parameters_of_the_parts() -> None:
    def parameters(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    # VAN-B1's 13,861,800 without its classifier of 1000 classes.
    assert parameters(VAN()) == 13_861_800 - 1000 * 513
    assert parameters(Alignment(128)) == 18_688


def test_backbone_rounds_sizes_up() -> None:
    with torch.no_grad():
        features = build("frm", num_classes=11).eval().backbone(torch.zeros(1, 3, 65, 130))
    assert [tuple(f.shape[1:]) for f in features] == [
        (64, 17, 33), (128, 9, 17), (320, 5, 9), (512, 3, 5)
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (6, 12), (7, 13), (32, 64)])
@pytest.mark.parametrize("cells", [1, 2, 3, 6])
def test_cell_means_are_adaptive_pooling(size: tuple[int, int], cells: int) -> None:
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    torch.testing.assert_close(cell_means(x, cells), F.adaptive_avg_pool2d(x, cells))


def test_warp_follows_the_flow() -> None:
    # A plane is what bilinear samples of it are; corners on corners, so a grid step is 1.
    height, width = 5, 9
    plane = torch.arange(height)[:, None] * 10.0 + torch.arange(width)
    flow = torch.zeros(1, 2, height, width)
    flow[:, 0] = 2 * width / (width - 1)  # one to the right
    flow[:, 1] = -1 * height / (height - 1)  # half a one up
    moved = warp(plane[None, None], flow)[0, 0]
    torch.testing.assert_close(moved[1:, :-1], plane[1:, :-1] + 1 - 5)
    assert (moved[:, -1] == 0).all()  # one beyond the edge


def test_warp_without_flow_stretches_corner_to_corner() -> None:
    x = torch.randn(1, 2, 3, 4)
    found = warp(x, torch.zeros(1, 2, 9, 13))
    torch.testing.assert_close(
        found, F.interpolate(x, (9, 13), mode="bilinear", align_corners=True)
    )


def test_attention_by_its_equation() -> None:
    torch.manual_seed(0)
    module, x = DisentangledNonLocal(8).double(), torch.randn(1, 8, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        found = module(x)[0].flatten(1).numpy()
        q, k, g, m = (
            conv(x)[0].flatten(1).numpy()
            for conv in (module.query, module.key, module.value, module.mask)
        )
    q, k = q - q.mean(1, keepdims=True), k - k.mean(1, keepdims=True)
    everywhere = np.exp(m[0]) / np.exp(m[0]).sum()
    weight, bias = (p.detach().numpy() for p in module.project.parameters())
    for i in range(12):
        scores = np.exp(q[:, i] @ k)
        y = g @ (scores / scores.sum() + everywhere)
        expected = x[0].flatten(1).numpy()[:, i] + weight[:, :, 0, 0] @ y + bias
        np.testing.assert_allclose(found[:, i], expected, rtol=1e-10)
