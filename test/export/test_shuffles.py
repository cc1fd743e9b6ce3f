# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Channel shuffles as convolutions: the same bits as the graph that torch's exporter writes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from graph_checks import images  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from lrn_ros.export.onnx import ImageNetwork, trace  # noqa: E402
from lrn_ros.export.shuffles import SELECTION, replace_shuffles  # noqa: E402
from lrn_ros.model.artifact import ModelInfo  # noqa: E402
from lrn_ros.model.labels import LabelSet  # noqa: E402
from lrn_ros.networks import build  # noqa: E402
from lrn_ros.networks.blocks import channel_shuffle, fold_normalisation  # noqa: E402

# Shuffles of the encoder: 3 + 2 + 8. In LRNNet's blocks ten of them sit between two blocks of one
# stage, where each of the two branches gets its own selection, and three end a stage.
EXPECTED = {"lrnnet_c": 10 * 2 + 3, "lrnnet_ssnbt": 13}


def traced(name: str, size: tuple[int, int] | None, dtype: torch.dtype) -> onnx.ModelProto:
    torch.manual_seed(0)
    network = build(name, num_classes=5)
    if getattr(network, "svn", None) is not None:
        nn.init.normal_(network.svn.conv2.weight, std=0.1)  # type: ignore[union-attr]
    with torch.no_grad():
        network.train()(torch.randn(2, 3, 64, 96))
    labels, grey = LabelSet.load("camvid11"), (0.5, 0.5, 0.5)
    info = ModelInfo("random", name, labels, grey, grey, (64, 96), "none: random weights")
    return trace(ImageNetwork(fold_normalisation(network.eval()), info, dtype), size)


def run_in_order(model: onnx.ModelProto, rgb: np.ndarray) -> np.ndarray:
    """Node by node as the graph has them, nothing fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(["logits"], {"image": rgb})[0])


def run_in_openvino(model: onnx.ModelProto, rgb: np.ndarray, folder: Path) -> np.ndarray:
    """Compiled and fused, in float32."""
    openvino = pytest.importorskip("openvino")
    path = folder / "model.onnx"
    onnx.save(model, path)
    core = openvino.Core()
    read = core.read_model(path)
    read.reshape({"image": list(rgb.shape)})
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([rgb])[0])


@pytest.mark.parametrize("name", EXPECTED)
def test_the_same_bits_in_float32_at_any_size(name: str, tmp_path: Path) -> None:
    plain = traced(name, None, torch.float32)
    before = plain.SerializeToString()
    rewritten = replace_shuffles(plain)
    assert plain.SerializeToString() == before
    onnx.checker.check_model(rewritten)
    kinds = Counter(node.op_type for node in rewritten.graph.node)
    kinds.subtract(Counter(node.op_type for node in plain.graph.node))
    assert kinds["Conv"] == EXPECTED[name] and kinds["Transpose"] == -13
    for shape in ((2, 72, 104), (1, 64, 64)):
        rgb = images(*shape)
        expected = run_in_order(plain, rgb)
        assert np.ptp(expected) > 0.1
        np.testing.assert_array_equal(run_in_order(rewritten, rgb), expected)
    expected = run_in_openvino(plain, rgb, tmp_path)
    np.testing.assert_array_equal(run_in_openvino(rewritten, rgb, tmp_path), expected)


def test_a_fixed_size_and_half_precision() -> None:
    rewritten = replace_shuffles(traced("lrnnet_a", (64, 96), torch.float16))
    held = {t.name: t for t in rewritten.graph.initializer}
    convolutions = [n for n in rewritten.graph.node if n.op_type == "Conv"]
    assert {held[n.input[1]].data_type for n in convolutions} == {onnx.TensorProto.FLOAT16}
    selections = [n for n in convolutions if n.name.startswith(SELECTION)]
    assert len(selections) == EXPECTED["lrnnet_c"]
    for node in selections:  # one of every channel, or one half of them
        weight = onnx.numpy_helper.to_array(held[node.input[1]])[:, :, 0, 0]
        assert ((weight == 0) | (weight == 1)).all()
        assert (weight.sum(1) == 1).all() and weight.sum(0).max() == 1
        assert len(weight) in (weight.shape[1], weight.shape[1] // 2)


class Groups(nn.Module):
    """Shuffles whose values go elsewhere than into blocks, with four groups and with two."""

    def forward(self, image: Tensor) -> Tensor:
        x = image.permute(0, 3, 1, 2).float()
        x = torch.cat([x, x * 2, x * 3, x * 5], dim=1)  # twelve channels
        n, c, h, w = x.shape
        four = x.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)
        other = x.view(n, 4, c // 4, h, w).transpose(1, 3).reshape(n, -1, h, w)  # no shuffle
        return torch.cat([four, channel_shuffle(four).relu() + four, other], dim=1)


def test_shuffles_outside_of_blocks() -> None:
    plain = trace(Groups(), None)
    rewritten = replace_shuffles(plain)
    assert sum(n.op_type == "Conv" for n in rewritten.graph.node) == 2
    rgb = images(2, 64, 72)
    np.testing.assert_array_equal(run_in_order(rewritten, rgb), run_in_order(plain, rgb))


def test_a_graph_without_shuffles_stays() -> None:
    plain = traced("ndnet29_e2", None, torch.float32)
    assert [n.name for n in replace_shuffles(plain).graph.node] == [
        n.name for n in plain.graph.node
    ]
