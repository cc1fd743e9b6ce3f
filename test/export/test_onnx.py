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

from graph_checks import distance, images  # noqa: E402
from torch import nn  # noqa: E402

from lrn_ros.export.onnx import export_onnx, runner  # noqa: E402
from lrn_ros.inference.backends.torch import load_network  # noqa: E402
from lrn_ros.model.artifact import ExportInfo, ModelInfo, read_info, save_model  # noqa: E402
from lrn_ros.model.labels import LabelSet  # noqa: E402
from lrn_ros.networks import build  # noqa: E402


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
    keys = ("input", "output", "color_order", "size_multiple", "trained_size", "stride")
    keys += ("class_names", "class_colors", "unlabelled", "temperature", "license")
    assert [p.key for p in model.metadata_props] == ["lrn_ros", *keys]
    assert not any(t.external_data for t in model.graph.initializer)
    assert b".py" not in path.read_bytes()
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
