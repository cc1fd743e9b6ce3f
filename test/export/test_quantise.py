# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Quantised graphs: where the pairs are, their scales, and how they run."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from graph_checks import distance, images  # noqa: E402

from lrn_ros.errors import UserError  # noqa: E402
from lrn_ros.export.onnx import export_onnx, runner  # noqa: E402
from lrn_ros.export.quantise import quantise  # noqa: E402
from lrn_ros.inference.backends.torch import load_network  # noqa: E402
from lrn_ros.model.artifact import read_info  # noqa: E402
from lrn_ros.networks.blocks import fold_normalisation  # noqa: E402

WEIGHTS = Path(__file__).parents[2] / "weights"


@pytest.fixture(scope="module", params=["lrnnet_c", "lednet", "ndnet45"])
def graphs(request: pytest.FixtureRequest) -> tuple:
    """A shipped model: its network, float graph, quantised graph."""
    model = WEIGHTS / f"{request.param}_camvid.safetensors"
    network = fold_normalisation(load_network(model, read_info(model)))
    plain = onnx.load(model.with_suffix(".onnx"))
    before = plain.SerializeToString()
    quantised = quantise(plain, [images(72, 104), images(64, 64)])
    assert plain.SerializeToString() == before
    return network, plain, quantised


def test_inputs_and_weights_of_every_convolution(graphs: tuple) -> None:
    network, plain, quantised = graphs
    graph = quantised.graph
    made = {name: node for node in graph.node for name in node.output}
    held = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    weights = sorted(
        # Sorted: an export without shuffles has the channels in another order.
        tuple(sorted(np.abs(m.weight.detach().numpy()).max(axis=(1, 2, 3)) / 127))
        for m in network.modules()
        if isinstance(m, torch.nn.Conv2d)
    )
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    scales = []
    for node in convolutions:
        image, weight = made[node.input[0]], made[node.input[1]]
        assert (image.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert made[image.input[0]].op_type == "QuantizeLinear"
        assert held[weight.input[0]].dtype == held[image.input[2]].dtype == np.int8
        assert not held[weight.input[2]].any() and not held[image.input[2]].any()
        assert held[image.input[1]].size == 1
        if np.isin(held[weight.input[0]], (0, 127)).all():  # selects channels, as shuffles do
            np.testing.assert_allclose(held[weight.input[1]], 1 / 127, rtol=1e-6)
        else:
            scales.append(tuple(sorted(held[weight.input[1]])))
        assert all(held[name].dtype == np.float32 for name in node.input[2:])
    assert len(scales) == len(weights)
    for found, expected in zip(sorted(scales), weights):
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    # Nothing else: the float graph with the pairs in it.
    added = Counter(n.op_type for n in graph.node)
    added.subtract(Counter(n.op_type for n in plain.graph.node))
    assert {kind for kind, count in added.items() if count} == {
        "QuantizeLinear",
        "DequantizeLinear",
    }
    readers = {n.op_type for n in graph.node for i in n.input if i in made
               and made[i].op_type == "DequantizeLinear"}  # fmt: skip
    assert "Conv" in readers and not readers & {"MatMul", "Gather", "Mul", "Div", "ReduceSum"}
    assert [(o.domain, o.version) for o in quantised.opset_import] == [("", 18)]


def test_any_size_and_number_of_images(graphs: tuple) -> None:
    network, plain, quantised = graphs
    run, exact = runner(quantised), runner(plain)
    for shape in ((2, 72, 104), (1, 88, 136)):
        rgb = images(*shape)
        found, expected = run(rgb), exact(rgb)
        sides = (math.ceil(n / network.stride) for n in shape[1:])
        assert found.shape == (shape[0], 11, *sides) and found.dtype == np.float32
        assert 1e-4 < distance(found, expected) < 0.3  # a wrong scale anywhere makes it about 1


def test_needs_images(random_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs images to calibrate on"):
        export_onnx(random_model, tmp_path / "x.onnx", "int8", images=[(images(64, 96), None)])
    assert not list(tmp_path.iterdir())
