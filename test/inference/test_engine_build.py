# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Real engines, built with TensorRT for RTX, which needs no GPU for that; none of them runs."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
trt = pytest.importorskip("tensorrt_rtx")

from lrn_ros.export.onnx import ImageNetwork, trace  # noqa: E402
from lrn_ros.export.quantise import quantise  # noqa: E402
from lrn_ros.inference import engine_build  # noqa: E402
from lrn_ros.inference.backends.base import BackendError  # noqa: E402
from lrn_ros.inference.backends.torch import load_network  # noqa: E402
from lrn_ros.inference.engine_build import build, parse  # noqa: E402
from lrn_ros.model.artifact import read_info  # noqa: E402
from lrn_ros.networks.blocks import fold_normalisation  # noqa: E402

pytestmark = pytest.mark.skipif(not engine_build.RTX, reason="tensorrt itself builds on a GPU only")

SHAPE = (2, 72, 104)


WEIGHTS = Path(__file__).parents[2] / "weights"
FP32 = WEIGHTS / "lrnnet_c_camvid.onnx"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shipped model by precision: ONNX files for any size and number of images."""
    folder = tmp_path_factory.mktemp("graphs")
    source = WEIGHTS / "lrnnet_c_camvid.safetensors"
    info = read_info(source)
    network = fold_normalisation(load_network(source, info))
    onnx.save(trace(ImageNetwork(network, info, torch.float16), None), folder / "fp16.onnx")
    rgb = np.random.default_rng(0).integers(0, 256, (72, 104, 3), np.uint8)
    onnx.save(quantise(onnx.load(FP32), [rgb]), folder / "int8.onnx")
    return {"fp32": FP32, "fp16": folder / "fp16.onnx", "int8": folder / "int8.onnx"}


PRECISIONS = ["fp32", "fp16", "int8"]


def outputs(network: trt.INetworkDefinition) -> list[tuple[str, str, tuple[int, ...]]]:
    """Kind of layer, type and shape of every tensor of a network."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    tensors = [
        (layer.type.name, layer.get_output(i)) for layer in layers for i in range(layer.num_outputs)
    ]
    return [(kind, tensor.dtype.name, tuple(tensor.shape)) for kind, tensor in tensors]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_network_has_the_types_of_the_graph_and_one_shape(
    models: dict[str, Path], precision: str
) -> None:
    _, network = parse(models[precision], SHAPE)
    ends = network.get_input(0), network.get_output(0)
    assert [(t.name, t.dtype.name, tuple(t.shape)) for t in ends] == [
        ("image", "UINT8", (2, 72, 104, 3)),
        ("logits", "FLOAT", (2, 11, 9, 13)),
    ]
    tensors = outputs(network)
    assert all(min(shape, default=1) >= 0 for _, _, shape in tensors)
    kinds = Counter(node.op_type for node in onnx.load(models[precision]).graph.node)
    convolutions = kinds["Conv"]
    assert convolutions > 80
    types = Counter((kind, dtype) for kind, dtype, _ in tensors)
    expected = "HALF" if precision == "fp16" else "FLOAT"
    assert types["CONVOLUTION", expected] == convolutions
    assert types["QUANTIZE", "INT8"] == kinds["QuantizeLinear"]
    assert (kinds["QuantizeLinear"] > 80) == (precision == "int8")
    # Keys of the SVN stay in float32: two grids with two iterations each, Gram and mixing matrix.
    assert types["MATRIX_MULTIPLY", "FLOAT"] == (6 if precision == "fp16" else 7)


@pytest.mark.parametrize(
    ("precision", "capability"),
    [("fp32", (8, 6)), ("int8", (8, 9)), ("fp16", (8, 0)), ("fp16", (8, 9)), ("fp16", (12, 0))],
)
def test_builds_for_any_gpu(
    models: dict[str, Path],
    precision: str,
    capability: tuple[int, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    engine = build(models[precision], SHAPE, capability)
    assert len(engine) > models[precision].stat().st_size / 2
    start, *_, end = (r.getMessage() for r in caplog.records if r.name == "lrn_ros")
    assert f"compiles {models[precision].name} for 2x72x104: seconds, only this once" in start
    assert "done in" in end


@pytest.mark.parametrize("architecture", ["frm", "lednet", "ndnet45"])
def test_every_family_in_every_precision(architecture: str) -> None:
    """LRNNet: the shipped model, in the other tests. All variants: benchmark/engines.py."""
    path = Path(__file__).parents[2] / "benchmark" / "engines.py"
    spec = importlib.util.spec_from_file_location("engines", path)
    assert spec is not None and spec.loader is not None
    engines = importlib.util.module_from_spec(spec)
    sys.modules["engines"] = engines
    spec.loader.exec_module(engines)
    rows = list(engines.measure(architecture, ["SM89"]))
    assert [row.precision for row in rows] == PRECISIONS
    for row in rows:
        assert row.convolutions > 50 and row.is_whole, row
    sizes = [row.engines["SM89"] for row in rows]
    assert sizes[1] < sizes[0], "weights in fp16 take less"


def test_says_how_far_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_build, "_REPORT_S", 0.0)
    caplog.set_level(logging.INFO)
    build(FP32, (1, 64, 64), (8, 9))
    lines = [r.getMessage() for r in caplog.records if "so far" in r.getMessage()]
    assert len(lines) > 10
    assert any("s so far: Optimizing graph, step 30 of 30" in line for line in lines)


def test_a_gpu_that_it_has_no_target_for() -> None:
    with pytest.raises(BackendError, match="no SM90, only SM75, .*; for other GPUs: pip install"):
        build(FP32, SHAPE, (9, 0))


def test_a_gpu_that_cannot_run_the_model() -> None:
    """TensorRT for RTX has no matrix product in float32 for Turing."""
    with pytest.raises(
        BackendError, match=r"cannot compile .*SM75.*: pip install tensorrt"
    ) as caught:
        build(FP32, (1, 64, 64), (7, 5))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["not onnx", "unknown operator"])
def test_what_it_cannot_read(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "damaged.onnx"
    model = onnx.load(FP32)
    model.graph.node[-1].op_type, name = "Convolve", model.graph.node[-1].name
    path.write_bytes(b"no" if damage == "not onnx" else model.SerializeToString())
    with pytest.raises(BackendError) as caught:
        build(path, SHAPE, (8, 9))
    assert f"cannot read {path}: " in str(caught.value) and "\n" not in str(caught.value)
    assert damage == "not onnx" or name in str(caught.value)


def test_without_memory_it_says_what_needs_less() -> None:
    engine_build.LOGGER.take_error()
    engine_build.LOGGER.log(trt.ILogger.WARNING, "a warning")
    engine_build.LOGGER.log(trt.ILogger.ERROR, "Error Code 2: OutOfMemory (out of\nmemory)")
    engine_build.LOGGER.log(trt.ILogger.ERROR, "a consequence")
    error = engine_build.LOGGER.take_error()
    assert error.startswith("Error Code 2: OutOfMemory (out of memory); a smaller network_size")
    assert engine_build.LOGGER.take_error() == "no reason given"
