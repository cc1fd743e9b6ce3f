# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""NDNet against the counts of its authors' logs, and the layer with the auxiliary head."""

from __future__ import annotations

import pytest
import torch

from lrn_ros.networks import build
from lrn_ros.networks.counting import count
from lrn_ros.networks.ndnet import VARIANTS, Residual

# Parameters without and with the auxiliary classifier, the latter as in the logs; then conv and
# total multiply-adds in billions at 1024x2048, the total as in the logs.
EXPECTED = {
    "ndnet29": (521_411, 550_422, 2.720, 2.840),
    "ndnet45": (399_947, 420_190, 1.976, 2.091),
    "ndnet61": (307_475, 323_334, 1.604, 1.721),
    "ndnet29w": (3_384_331, 3_457_182, 17.119, 17.410),
    "ndnet29_e2": (242_723, 258_582, 1.375, 1.453),
    "ndnet45_e2": (195_243, 206_718, 1.044, 1.119),
    "ndnet61_e2": (153_515, 162_798, 0.873, 0.950),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_counts(name: str) -> None:
    parameters, _, mac, total = EXPECTED[name]
    counts = count(name, size=(1024, 2048))
    assert counts.parameters == parameters
    assert (round(counts.mac / 1e9, 3), round(counts.total / 1e9, 3)) == (mac, total)


def test_every_variant_is_counted() -> None:
    assert set(EXPECTED) == set(VARIANTS)


@pytest.mark.parametrize("name", EXPECTED)
def test_second_block_carries_the_auxiliary_classifier(name: str) -> None:
    network = build(name, num_classes=19).eval()
    block = network.get_submodule("blocks.1")
    outputs: list[torch.Tensor] = []
    block.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        network(torch.zeros(1, 3, 64, 96))
    channels = outputs[0].shape[1]
    assert outputs[0].shape[2:] == (4, 6)
    # Separable convolution to 128 channels with BN, then 1x1 to the classes with bias.
    head = 9 * channels + 128 * channels + 2 * 128 + 19 * 128 + 19
    parameters, with_head, _, _ = EXPECTED[name]
    assert parameters + head == with_head


@pytest.mark.parametrize("name", EXPECTED)
def test_name_says_the_depth(name: str) -> None:
    layers = sum(isinstance(m, Residual) for m in build(name, num_classes=19).modules())
    assert int(name[5:7]) == 1 + 2 * layers  # two separable convolutions a layer, and the stem
