# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every registered architecture, alone and behind the Segmenter."""

from __future__ import annotations

import math
from collections import Counter
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros import Segmenter
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.postprocess import upsample
from lrn_ros.model.artifact import ModelInfo, save_model
from lrn_ros.model.labels import LabelSet
from lrn_ros.networks import architectures, build
from lrn_ros.networks.blocks import Down, fold_normalisation
from lrn_ros.networks.context import DAPPM
from lrn_ros.networks.registry import register
from lrn_ros.networks.van import VANBlock

# Batch norms that no convolution stands directly before: behind a concatenation, a pool or a sum.
STAYING = {Down: 1, VANBlock: 2, DAPPM: 11}
# Biases of the non-local module that its softmax and its means cancel.
WITHOUT_EFFECT = (".query.bias", ".key.bias", ".mask.bias")
BATCH = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))


def randomised(name: str) -> nn.Module:
    """A network in evaluation mode in which nothing is trivial: no norm, and not the SVN."""
    torch.manual_seed(0)
    network = build(name, num_classes=11)
    if getattr(network, "svn", None) is not None:
        nn.init.normal_(network.svn.conv2.weight, std=0.1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = None  # one batch, and the statistics are the batch's
    with torch.no_grad():
        network.train()(BATCH)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module", params=architectures())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(name: str) -> nn.Module:
    return randomised(name)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (65, 67), (72, 130), (91, 64)])
def test_any_size(network: nn.Module, size: tuple[int, int]) -> None:
    with torch.no_grad():
        logits = network(torch.randn(2, 3, *size))
        coarse = network.coarse(torch.randn(1, 3, *size))
    assert logits.shape == (2, 11, *size)
    assert torch.isfinite(logits).all()
    assert coarse.shape == (1, 11, *(math.ceil(n / network.stride) for n in size))


def test_upsamples_with_half_pixel_centres(network: nn.Module) -> None:
    size = (91, 70)
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        logits, coarse = network(image)[0].numpy(), network.coarse(image)[0].numpy()
    expected = upsample(coarse, Geometry(size, size, size, size), network.stride)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(coarse).max())


def test_deterministic(name: str, network: nn.Module) -> None:
    image = torch.randn(1, 3, 72, 96)
    with torch.no_grad():
        assert torch.equal(network(image), network(image))
        assert torch.equal(network(image), randomised(name)(image))


def test_gradient_reaches_every_parameter(network: nn.Module) -> None:
    network.zero_grad()
    # In evaluation mode: batch norm in training cancels the biases of convolutions before it.
    network(BATCH).square().mean().backward()
    for key, parameter in network.named_parameters():
        if key.endswith(WITHOUT_EFFECT):
            continue
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().sum() > 0, key


def test_folded_norms_change_nothing(network: nn.Module) -> None:
    plain = deepcopy(network).double()
    folded = fold_normalisation(deepcopy(plain))
    with torch.no_grad():
        assert distance(folded(BATCH.double()), plain(BATCH.double())) < 1e-10
    staying = sum(STAYING.get(type(m), 0) for m in network.modules())
    assert norms(folded) == staying < norms(plain)


def test_half_precision_does_not_overflow(name: str, network: nn.Module) -> None:
    half = fold_normalisation(deepcopy(network)).half()
    with torch.no_grad():
        # Random weights amplify the rounding of 5e-4 to 0.02 - 0.1, to 0.25 in the deepest network,
        # of over 70 layers; a NaN is below no bound.
        bound = 0.4 if name == "efficientnet_lite2_fpn" else 0.25
        assert distance(half.coarse(BATCH.half()).float(), network.coarse(BATCH)) < bound


@pytest.mark.parametrize("size", [(72, 104), (70, 101)])
def test_segmenter_gives_the_networks_mask(
    name: str, network: nn.Module, size: tuple[int, int], tmp_path: Path
) -> None:
    info = ModelInfo(
        name="random",
        architecture=name,
        labels=LabelSet.load("camvid11"),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        size=size,
        license="none: random weights",
    )
    path = tmp_path / "random.safetensors"
    save_model(path, info, {k: v.numpy() for k, v in network.state_dict().items()})
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    mask = Segmenter.load(path, backend="torch")(rgb).mask

    image = (torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
    image = F.pad(image, (0, 104 - size[1], 0, 72 - size[0]), mode="replicate")
    with torch.no_grad():
        logits = network(image)[0, :, : size[0], : size[1]]
    first, second = logits.topk(2, dim=0).values
    clear = (first - second > 1e-3 * logits.abs().max()).numpy()
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(mask[clear], logits.argmax(0).numpy()[clear])


@pytest.mark.parametrize(
    ("name", "options", "rates"),
    [
        (
            "lrnnet_a",
            {"dropout": (0.1, 0.2, 0.3), "classifier_dropout": 0.4},
            {0.1: 3, 0.2: 2, 0.3: 8, 0.4: 1},
        ),
        ("lednet", {"dropout": (0.1, 0.2, 0.3)}, {0.1: 3, 0.2: 2, 0.3: 8}),
        ("ndnet29", {"classifier_dropout": 0.4}, {0.4: 1}),
        ("frm_ppm", {}, {0.1: 1}),
    ],
)
def test_dropout_in_training_only(name: str, options: dict, rates: dict[float, int]) -> None:
    torch.manual_seed(0)
    network = build(name, num_classes=11, **options)
    assert Counter(m.p for m in network.modules() if isinstance(m, nn.Dropout2d)) == rates
    with torch.no_grad():
        assert not torch.equal(network.train()(BATCH), network(BATCH))
        assert torch.equal(network.eval()(BATCH), network(BATCH))


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match="known: .*lrnnet_a, "):
        build("lrnet", num_classes=11)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="lrnnet_a.*twice"):
        register("lrnnet_a")(nn.Identity)
