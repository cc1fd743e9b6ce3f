# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the networks as exported graphs in onnxruntime, against torch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from graph_checks import distance, images  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lrn_ros.export.onnx import runner, trace  # noqa: E402
from lrn_ros.networks import build  # noqa: E402
from lrn_ros.networks.context import DAPPM, PPM  # noqa: E402
from lrn_ros.networks.svn import KEYS, SVN  # noqa: E402


class Cores(nn.Module):
    """Cores of SVN modules on features made of the image's 8x8 cells, side by side."""

    def __init__(self, modules: list[SVN], scales: list[float], dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features, self.cores = nn.Conv2d(3, 32, 1), nn.ModuleList(modules)
        self.scales, self.dtype = scales, dtype

    def forward(self, image: Tensor) -> Tensor:
        x = F.avg_pool2d(image.permute(0, 3, 1, 2).float() / 255, 8)
        f = 20 * self.features(x - 0.5)
        return torch.cat(
            [
                core.core((f * scale).to(self.dtype)).float() / scale  # type: ignore[operator]
                for core in self.cores
                for scale in self.scales
            ],
            dim=1,
        )


GRIDS = [(72, 104), (64, 64), (360, 480), (136, 40)]  # cells: 9x13, 8x8, 45x60, 17x5


def test_every_kind_of_keys_at_any_grid() -> None:
    modules = [SVN(grids=(8,), keys=keys) for keys in KEYS]
    modules += [SVN(grids=(8, 4, 2)), SVN(grids=(16,), iterations=0), SVN(init="const")]
    cores = Cores(modules, [1.0], torch.float32)
    run = runner(trace(cores, None))
    for size in GRIDS:
        rgb = images(2, *size)
        with torch.no_grad():
            expected = cores(torch.from_numpy(rgb)).numpy()
        found = run(rgb)
        assert found.shape == expected.shape
        for a, b in zip(np.split(found, len(modules), 1), np.split(expected, len(modules), 1)):
            assert distance(a, b) < 1e-4


def test_half_precision_core_at_any_scale_of_the_features() -> None:
    scales = [1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3]
    modules = [SVN(grids=(8, 4))]
    run = runner(trace(Cores(modules, scales, torch.float16), None))
    rgb = images(1, 72, 104)
    with torch.no_grad():
        expected = Cores(modules, [1.0], torch.float32)(torch.from_numpy(rgb)).numpy()
    for found in np.split(run(rgb), len(scales), 1):
        assert distance(found, expected) < 2e-3


class Scores(nn.Module):
    """Coarse scores of a network on an image without normalisation."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network.coarse(image.permute(0, 3, 1, 2) / 255)  # type: ignore[operator]


class Contexts(nn.Module):
    """The contexts that the paper compares, on features of an image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, channels, 3, stride=32, padding=1)
        self.contexts = nn.ModuleList(kind(channels, 128) for kind in (PPM, DAPPM))

    def forward(self, image: Tensor) -> Tensor:
        features = self.features(image.permute(0, 3, 1, 2) / 255)
        return torch.cat([context(features) for context in self.contexts], dim=1)


def test_contexts_at_sizes_that_were_not_traced() -> None:
    torch.manual_seed(0)
    contexts = Contexts(64)
    with torch.no_grad():
        contexts.train()(torch.randint(0, 256, (2, 64, 96, 3)))
    run = runner(trace(contexts.eval(), None))
    for shape in ((1, 64, 64), (2, 88, 136)):  # 2x2 and 3x5 cells
        rgb = images(*shape)
        with torch.no_grad():
            expected = contexts(torch.from_numpy(rgb)).numpy()
        for a, b in zip(np.split(run(rgb), 2, 1), np.split(expected, 2, 1)):
            assert distance(a, b) < 1e-5


def test_context_and_alignment_at_sizes_that_were_not_traced() -> None:
    torch.manual_seed(0)
    network = build("frm", num_classes=5)  # the other variants differ in their context alone
    for stage in network.backbone.stages:  # type: ignore[union-attr]
        stage.blocks = stage.blocks[:1]  # type: ignore[union-attr]  # the others are the same
    with torch.no_grad():
        network.train()(torch.randn(2, 3, 64, 96))
    scores = Scores(network).eval()
    run = runner(trace(scores, None))
    for shape in ((1, 64, 64), (2, 88, 136)):  # 2x2 and 3x5 cells of context
        rgb = images(*shape)
        with torch.no_grad():
            expected = scores(torch.from_numpy(rgb)).numpy()
        assert distance(run(rgb), expected) < 1e-5
