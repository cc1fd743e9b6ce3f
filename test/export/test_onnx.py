# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exported graphs in onnxruntime against the torch modules they were made from."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lrn_ros.artifact import ExportInfo, ModelInfo, read_info, save_model  # noqa: E402
from lrn_ros.export.onnx import export_onnx, runner, trace  # noqa: E402
from lrn_ros.inference.backends.torch_ops import load_network  # noqa: E402
from lrn_ros.labels import LabelSet  # noqa: E402
from lrn_ros.networks import build  # noqa: E402
from lrn_ros.networks.context import DAPPM, PPM  # noqa: E402
from lrn_ros.networks.svn import KEYS, SVN  # noqa: E402


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), np.uint8)


def model_file(name: str, folder: Path) -> Path:
    torch.manual_seed(0)
    network = build(name, num_classes=11)
    if hasattr(network, "svn"):
        nn.init.normal_(network.svn.conv2.weight, std=0.1)  # type: ignore[union-attr]
    with torch.no_grad():
        network.train()(torch.randn(2, 3, 64, 96))
    info = ModelInfo(
        name="random",
        architecture=name,
        labels=LabelSet.load("camvid11"),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        size=(64, 96),
        license="none: random weights",
    )
    path = folder / f"{name}.safetensors"
    save_model(path, info, {k: v.numpy() for k, v in network.state_dict().items()})
    return path


def torch_logits(model: Path, rgb: np.ndarray) -> np.ndarray:
    """Coarse scores of the plain network, nothing folded, in double precision."""
    info = read_info(model)
    mean, std = (torch.tensor(v).double()[:, None, None] for v in (info.mean, info.std))
    x = (torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255.0 - mean) / std
    with torch.no_grad():
        return load_network(model, info).double().coarse(x).numpy()  # type: ignore[operator]


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="module", params=["lrnnet_c", "lednet", "ndnet29_e2"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file with its exported file beside it."""
    model = model_file(request.param, tmp_path_factory.mktemp("export"))
    export_onnx(model, model.with_suffix(".onnx"), images=[(images(64, 96), None)])
    return model


def test_any_size_and_number_of_images(exported: Path) -> None:
    run = runner(onnx.load(exported.with_suffix(".onnx")))
    stride = read_info(exported.with_suffix(".onnx")).export.stride  # type: ignore[union-attr]
    for shape in ((2, 72, 104), (1, 64, 64), (3, 88, 136)):
        rgb = images(*shape)
        found, expected = run(rgb), torch_logits(exported, rgb)
        assert found.dtype == np.float32
        assert found.shape == (shape[0], 11, *(math.ceil(n / stride) for n in shape[1:]))
        assert distance(found, expected) < 1e-5


def test_metadata(exported: Path) -> None:
    path = exported.with_suffix(".onnx")
    info = read_info(path)
    digest = hashlib.sha256(exported.read_bytes()).hexdigest()
    stride = 32 if "ndnet" in exported.stem else 8
    figures = {"images": 1, "same_label": 1.0}
    assert info.export == ExportInfo("fp32", stride, None, digest, figures)
    assert replace(info, export=None) == read_info(exported)
    # One file, and nothing in it of the machine that made it.
    model = onnx.load(path)
    assert [p.key for p in model.metadata_props] == ["lrn_ros"]
    assert not any(t.external_data for t in model.graph.initializer)
    assert b".py" not in path.read_bytes()
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]


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
    scales = [1e-2, 1.0, 1e3]
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
    """The contexts that the paper compares, on features of an image: of FRM's stages, so many."""

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
