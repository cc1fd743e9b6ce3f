# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LRNNet against the counts of the paper."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lrn_ros.networks import build
from lrn_ros.networks.blocks import FCB, NonBottleneck1D, SSnbt, channel_shuffle
from lrn_ros.networks.counting import count
from lrn_ros.networks.lrnnet import VARIANTS

WITH_SVN = [n for n in VARIANTS if n not in ("lrnnet_a", "lrnnet_ssnbt", "lrnnet_nb1d")]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        *(("lrnnet_a", 672_930), ("lrnnet_ssnbt", 943_874), ("lrnnet_nb1d", 1_797_890)),
        *((n, 681_122) for n in WITH_SVN),
    ],
)
def test_parameters(name: str, parameters: int) -> None:
    assert count(name).parameters == parameters


@pytest.mark.parametrize(("name", "parameters"), [("lrnnet_a", 672_666), ("lrnnet_c", 680_858)])
def test_parameters_camvid(name: str, parameters: int) -> None:
    assert count(name, num_classes=11).parameters == parameters


# Conv GMAC / ptflops convention + literal core, per input size; the papers' tables and a re-count.
GIGA = {
    "lrnnet_a": [
        (2.709, 2.794), (8.219, 8.477), (7.345, 7.574), (14.448, 14.900), (32.508, 33.526)
    ],
    "lrnnet_c": [
        (2.731, 2.830), (8.287, 8.588), (7.405, 7.674), (14.566, 15.096), (32.774, 33.966)
    ],
    "lrnnet_ssnbt": [
        (3.785, 3.861), (11.483, 11.715), (10.261, 10.468), (20.184, 20.592), (45.414, 46.333)
    ],
}  # fmt: skip
SIZES = [(360, 480), (512, 1024), (375, 1242), (720, 1280), (1080, 1920)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", GIGA)
def test_multiply_adds(name: str, size: tuple[int, int]) -> None:
    counts = count(name, size=size)
    expected = GIGA[name][SIZES.index(size)]
    assert (round(counts.mac / 1e9, 3), round(counts.total / 1e9, 3)) == expected


@pytest.mark.parametrize(
    ("name", "giga"),
    [
        ("lrnnet_b", 8.578), ("lrnnet_ms3", 8.591), ("lrnnet_ss16", 8.679), ("lrnnet_ss4", 8.553),
        ("lrnnet_max", 8.577), ("lrnnet_avg", 8.577), ("lrnnet_nonlocal", 12.839),
    ],
)  # fmt: skip
def test_multiply_adds_of_the_ablation(name: str, giga: float) -> None:
    assert round(count(name).total / 1e9, 3) == giga


@pytest.mark.parametrize("channels", [32, 64, 128])
def test_block_parameters(channels: int) -> None:
    def parameters(block: torch.nn.Module) -> int:
        return sum(p.numel() for p in block.parameters())

    assert parameters(FCB(channels, 2)) == 4 * channels**2 + 15 * channels
    assert parameters(NonBottleneck1D(channels, 2)) == 12 * channels**2 + 4 * channels
    assert parameters(NonBottleneck1D(channels, 2, bias=True)) == 12 * channels**2 + 8 * channels
    assert parameters(SSnbt(channels, 2)) == 6 * channels**2 + 4 * channels
    assert parameters(SSnbt(channels, 2, bias=True)) == 6 * channels**2 + 8 * channels


def test_channel_shuffle_interleaves_the_halves() -> None:
    x = torch.arange(8.0).view(1, 8, 1, 1)
    assert channel_shuffle(x).flatten().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_channel_shuffle_keeps_the_memory_format() -> None:
    x = torch.randn(2, 8, 5, 7)
    expected = [x[:, g * 4 + i] for i in range(4) for g in (0, 1)]
    for memory_format in (torch.contiguous_format, torch.channels_last):
        out = channel_shuffle(x.to(memory_format=memory_format))
        assert out.is_contiguous(memory_format=memory_format)
        assert torch.equal(out, torch.stack(expected, 1))


def test_model_c_starts_as_model_a() -> None:
    torch.manual_seed(0)
    c = build("lrnnet_c", num_classes=11).eval()
    a = build("lrnnet_a", num_classes=11).eval()
    a.load_state_dict({k: v for k, v in c.state_dict().items() if not k.startswith("svn.")})
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(a(image), c(image))


def test_non_bottleneck_1d_by_its_definition() -> None:
    """ERFNet: 3x1, ReLU, 1x3, BN, ReLU, dilated 3x1, ReLU, dilated 1x3, BN, sum, ReLU."""
    torch.manual_seed(0)
    block = NonBottleneck1D(4, 3, bias=True).double().eval()
    x = torch.randn(1, 4, 9, 11, dtype=torch.float64)
    convs = [m for m in block.modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [m for m in block.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert [c.kernel_size for c in convs] == [(3, 1), (1, 3), (3, 1), (1, 3)]
    y = x
    for i, (conv, dilation) in enumerate(zip(convs, (1, 1, 3, 3))):
        padding = ((conv.kernel_size[0] // 2) * dilation, (conv.kernel_size[1] // 2) * dilation)
        y = F.conv2d(y, conv.weight, conv.bias, padding=padding, dilation=dilation)
        if i % 2:
            y = norms[i // 2](y)
        if i < 3:
            y = y.clamp(min=0)
    torch.testing.assert_close(block(x), (x + y).clamp(min=0))


@pytest.mark.parametrize("options", [{"block": "resnet"}])
def test_bad_options_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="'resnet' is not one of fcb, ssnbt, nb1d"):
        build("lrnnet_a", num_classes=3, **options)
