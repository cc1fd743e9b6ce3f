# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LEDNet against its official code's counts, and its decoder against a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lrn_ros.networks.counting import count
from lrn_ros.networks.lednet import APN


# The official class without its encoder's classifier has 923,083, always with 20 classes.
@pytest.mark.parametrize(("num_classes", "parameters"), [(19, 922_821), (20, 923_083)])
def test_parameters(num_classes: int, parameters: int) -> None:
    assert count("lednet", num_classes=num_classes).parameters == parameters


@pytest.mark.parametrize(
    ("size", "mac", "total"),
    [
        ((360, 480), 3.694, 3.806), ((512, 1024), 11.208, 11.547), ((375, 1242), 10.016, 10.318),
        ((720, 1280), 19.702, 20.298), ((1080, 1920), 44.331, 45.671),
    ],
)  # fmt: skip
def test_multiply_adds(size: tuple[int, int], mac: float, total: float) -> None:
    counts = count("lednet", size=size)
    assert (round(counts.mac / 1e9, 3), round(counts.total / 1e9, 3)) == (mac, total)


class Give(nn.Module):
    """A layer with a fixed output."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        return self.output


def test_attention_keeps_corners_on_corners_at_odd_sizes() -> None:
    decoder = APN(128, 2)
    decoder.down1 = Give(torch.zeros(1, 1, 5, 7))
    decoder.down2 = Give(torch.zeros(1, 1, 3, 4))
    decoder.down3 = Give(torch.tensor([[[[0.0, 3.0], [2.0, 5.0]]]]))
    decoder.skip2, decoder.skip1 = Give(torch.full((1, 1, 3, 4), 10.0)), nn.Identity()
    decoder.pixel = Give(torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 9, 13))
    decoder.image = Give(torch.tensor([100.0, 200.0]).view(1, 2, 1, 1))
    # Bilinear maps of a plane with corners on corners give the plane, however many in a row.
    plane = 10 + np.linspace(0, 2, 9)[:, None] + np.linspace(0, 3, 13)
    scores = decoder(torch.zeros(1, 128, 9, 13))[0].numpy()
    np.testing.assert_allclose(scores, [plane + 100, -2 * plane + 200], rtol=1e-6)
