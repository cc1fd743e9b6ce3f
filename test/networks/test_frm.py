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
from lrn_ros.networks.context import DisentangledNonLocal, FeatureRefinement, cell_means
from lrn_ros.networks.counting import count
from lrn_ros.networks.frm import VARIANTS, FlowAlignment, warp
from lrn_ros.networks.van import VAN, StochasticDepth

# Parameters and convolution multiply-adds in billions at 1024x2048; the paper rounds to 16.48,
# 15.23 and 15.98 million.
EXPECTED = {
    "frm": (16_478_676, 215.401),
    "frm_reduced": (16_483_028, 215.406),
    "frm_ppm": (15_229_395, 211.779),
    "frm_dappm": (15_979_987, 213.371),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_counts(name: str) -> None:
    counts = count(name, size=(1024, 2048))
    assert (counts.parameters, round(counts.mac / 1e9, 3)) == EXPECTED[name]


def test_attention_is_counted_beside_the_convolutions() -> None:
    pixels = 32 * 64
    # The scores of pairs, what they weigh, and what the masks weigh.
    found = {name: count(name, size=(1024, 2048)).core for name in ("frm", "frm_reduced")}
    assert found["frm"] == 256 * pixels**2 + 1024 * pixels**2 + 1024 * pixels
    assert found["frm_reduced"] == 2 * 256 * pixels**2 + 256 * pixels


def test_parameters_of_the_parts() -> None:
    def parameters(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    # VAN-B1's 13,861,800 without its classifier of 1000 classes.
    assert parameters(VAN()) == 13_861_800 - 1000 * 513
    assert parameters(FlowAlignment(128)) == 18_688


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


@pytest.mark.parametrize("reduced", [False, True])
def test_attention_by_its_equation(reduced: bool) -> None:
    """Equation 2 of the paper, pixel by pixel in float64; without `reduced` nothing is added."""
    torch.manual_seed(0)
    module = DisentangledNonLocal(8, reduced).double()
    x = torch.randn(1, 8, 3, 4, dtype=torch.float64)
    weight, bias = np.eye(8), np.zeros(8)
    if reduced:
        weight, bias = (p.detach().numpy() for p in module.project.parameters())
        weight = weight[:, :, 0, 0]
    else:
        assert list(dict(module.named_children())["project"].parameters()) == []
        assert module.value.weight.shape == (8, 8, 1, 1) and module.query.out_channels == 2
    flat = x[0].flatten(1).numpy()

    def map_of(conv: nn.Conv2d) -> np.ndarray:
        given = 0.0 if conv.bias is None else conv.bias.detach().numpy()[:, None]
        return conv.weight.detach().numpy()[:, :, 0, 0] @ flat + given

    q, k, g, m = map(map_of, (module.query, module.key, module.value, module.mask))
    with torch.no_grad():
        found = module(x)[0].flatten(1).numpy()
    mean_q, mean_k = q.mean(1), k.mean(1)
    for i in range(12):
        pair = np.array([np.exp((q[:, i] - mean_q) @ (k[:, j] - mean_k)) for j in range(12)])
        single = np.array([np.exp(m[0, j]) for j in range(12)])
        y = sum((pair[j] / pair.sum() + single[j] / single.sum()) * g[:, j] for j in range(12))
        np.testing.assert_allclose(found[:, i], flat[:, i] + weight @ y + bias, rtol=1e-10)


def test_only_128_hidden_channels_give_the_count_of_the_paper() -> None:
    """16.48 million with Equation 2; the feed-forward layer of C channels has 2C + 13 per one."""
    inner = FeatureRefinement(1024, 128)[1].body[0].out_channels
    parameters = count("frm").parameters
    each = 2 * 1024 + 2 + 9 + 1  # two pointwise, BN, depthwise with bias
    fitting = [n for n in range(2048) if round((parameters + (n - inner) * each) / 1e6, 2) == 16.48]
    assert inner == 128 and fitting == [127, 128, 129, 130, 131]


def test_backbone_starts_as_in_its_code() -> None:
    """N(0, 2 / fan-out), the fan-out divided by the groups; no bias."""
    torch.manual_seed(0)
    for name, module in VAN().named_modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is not None and not module.bias.any()
            # A pointwise one to C channels 2 / C; the others have the kernel's area besides.
            area = module.weight.shape[2] * module.weight.shape[3]
            expected = (2 * module.groups / (area * module.out_channels)) ** 0.5
            assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.1), name


def test_stochastic_depth() -> None:
    branch, x = StochasticDepth(0.25), torch.ones(4000, 1, 1, 1)
    assert torch.equal(branch.eval()(x), x)
    torch.manual_seed(1)
    found = branch.train()(x)
    assert sorted(set(found.flatten().tolist())) == pytest.approx([0, 4 / 3])
    assert float(found.mean()) == pytest.approx(1, abs=0.03)
    rates = [m.rate for m in VAN(drop_path=0.1).modules() if isinstance(m, StochasticDepth)]
    assert rates == pytest.approx([0.1 * n / 9 for n in range(10)])  # ten blocks
    with pytest.raises(ValueError, match="1 is not in"):
        StochasticDepth(1)
