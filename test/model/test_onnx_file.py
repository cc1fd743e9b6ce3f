# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX files read without the package onnx, and models of lrn_ros among them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from lrn_ros.errors import UserError
from lrn_ros.model.artifact import ExportInfo, ModelInfo, read_info
from lrn_ros.model.labels import LabelSet
from lrn_ros.model.onnx_file import Tensor, read_onnx

onnx = pytest.importorskip("onnx")

INFO = ModelInfo(
    name="tiny",
    architecture="lrnnet_a",
    labels=LabelSet.load("camvid11"),
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.2, 0.2),
    size=(360, 480),
    license="CC0",
    export=ExportInfo("fp32", 8, None, "ab" * 32, {"images": 3, "same_label": 0.9995}),
)
UINT8, FLOAT, HALF = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
IMAGE = ("image", UINT8, ["batch", "8*rows", "8*columns", 3])
LOGITS = ("logits", FLOAT, ["batch", 11, "h", "w"])


def write(path: Path, metadata: dict[str, str], inputs=(IMAGE,), outputs=(LOGITS,)) -> Path:
    """A file with these inputs and outputs; its only node need not run."""
    make = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Nothing", [i[0] for i in inputs], [o[0] for o in outputs])
    tables = [make(*i) for i in inputs], [make(*o) for o in outputs]
    weights = [onnx.helper.make_tensor("w", FLOAT, [300], [0.5] * 300)]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", *tables, weights))
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path


def header(**changes: object) -> dict[str, str]:
    return {"lrn_ros": json.dumps(json.loads(INFO.to_json()) | changes)}


def test_read(tmp_path: Path) -> None:
    metadata = {"a": "", "ü": "long " * 100}
    odd = ("odd", onnx.TensorProto.BFLOAT16, [])
    file = read_onnx(write(tmp_path / "x.onnx", metadata, (IMAGE, odd), (LOGITS,)))
    assert file.metadata == metadata
    image = Tensor("image", "uint8", (None, None, None, 3))
    assert file.inputs == (image, Tensor("odd", "type 16", ()))
    assert file.outputs == (Tensor("logits", "float32", (None, 11, None, None)),)


def test_info_round_trip(tmp_path: Path) -> None:
    assert read_info(write(tmp_path / "x.onnx", header())) == INFO


def test_fixed_size(tmp_path: Path) -> None:
    export = json.loads(INFO.to_json())["export"] | {"size": [64, 96]}
    image, logits = ("image", UINT8, [1, 64, 96, 3]), ("logits", FLOAT, [1, 11, 8, 12])
    path = write(tmp_path / "x.onnx", header(export=export), (image,), (logits,))
    info = read_info(path)
    assert info.export is not None and info.export.size == (64, 96)
    with pytest.raises(UserError, match=r"takes image uint8 \(1, 64, 96, 3\) and gives"):
        read_info(write(path, header(), (image,), (logits,)))


@pytest.mark.parametrize("keep", [0, 1, 9, 100, 1000, -1])
def test_truncated_files_are_refused(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "cut.onnx", header())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="cut.onnx: truncated, or not an ONNX file"):
        read_info(path)


@pytest.mark.parametrize("data", [b"GIF89a" * 9, pickle.dumps({"a": 1}), b"\xff" * 40, b"\x08\x0a"])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    with pytest.raises(UserError, match="not an ONNX file"):
        read_info(path)
    with pytest.raises(UserError, match="no such model file"):
        read_info(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({}, "an ONNX file, but not a model of lrn_ros; lrn export"),
        (header(version=99), "version 99, this package reads version 1"),
        (header(export=None), "damaged model header"),
        (header(export={"precision": "fp32"}), "damaged model header"),
        ({"lrn_ros": "{"}, "damaged model header"),
    ],
)
def test_bad_metadata_is_refused(tmp_path: Path, metadata: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_info(write(tmp_path / "x.onnx", metadata))


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([("image", FLOAT, ["n", 3, "h", "w"])], [LOGITS]),
        ([("picture", UINT8, ["n", "h", "w", 3])], [LOGITS]),
        ([("image", UINT8, ["n", 64, "w", 3])], [LOGITS]),
        ([IMAGE, ("more", FLOAT, [1])], [LOGITS]),
        ([IMAGE], [("logits", HALF, ["n", 11, "h", "w"])]),
        ([IMAGE], [("logits", FLOAT, ["n", 19, "h", "w"])]),
        ([IMAGE], [("mask", UINT8, ["n", "h", "w"])]),
        ([IMAGE], [LOGITS, ("more", FLOAT, [1])]),
    ],
)
def test_other_inputs_and_outputs_are_refused(tmp_path: Path, inputs: list, outputs: list) -> None:
    says = r"takes image uint8 \(\?, \?, \?, 3\) and gives logits float32 \(\?, 11, \?, \?\)"
    with pytest.raises(UserError, match=says):
        read_info(write(tmp_path / "x.onnx", header(), inputs, outputs))


def test_reading_needs_neither_torch_nor_onnx(tmp_path: Path) -> None:
    path = write(tmp_path / "x.onnx", header())
    code = (
        "import sys; from pathlib import Path; from lrn_ros.model.artifact import read_info;"
        f"print(read_info(Path({str(path)!r})).name);"
        "sys.exit(bool({'torch', 'onnx', 'google.protobuf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "tiny\n"), done.stderr
