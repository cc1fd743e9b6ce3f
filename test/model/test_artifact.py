# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Model files: round trip, damage, names."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from lrn_ros.errors import UserError
from lrn_ros.model.artifact import (
    ModelInfo,
    check_origin,
    read_info,
    read_weights,
    resolve_model,
    save_model,
    weights_folder,
)
from lrn_ros.model.labels import LabelSet


def info(**changes: object) -> ModelInfo:
    values: dict = {
        "name": "tiny",
        "architecture": "lrnnet_a",
        "labels": LabelSet.load("camvid11"),
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.2, 0.2),
        "size": (360, 480),
        "license": "CC0",
        "options": {"dw_act": True},
        "temperature": 1.25,
        "provenance": {"steps": 5},
        "metrics": {"val": {"miou": 0.5}},
    }
    return ModelInfo(**values | changes)


WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_model(path, info(), WEIGHTS)
    assert read_info(path) == info()
    weights = read_weights(path)
    assert weights.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(weights[name], array)
        assert weights[name].dtype == array.dtype
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_a_file_from_before_temperatures_has_one_of_1() -> None:
    data = json.loads(info().to_json())
    del data["temperature"]
    assert ModelInfo.from_json(json.dumps(data), "old").temperature == 1.0
    for impossible in (0, -1):
        with pytest.raises(UserError, match=rf"temperature {impossible}\.0 is impossible"):
            ModelInfo.from_json(json.dumps(data | {"temperature": impossible}), "bad")
    for no_number in (float("inf"), float("nan")):  # neither is JSON
        with pytest.raises(UserError, match="damaged model header"):
            ModelInfo.from_json(json.dumps(data | {"temperature": no_number}), "bad")


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.safetensors"
    save_model(path, info(), WEIGHTS)
    before = path.read_bytes()

    def no_space(*args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match="space"):
        save_model(path, info(name="other"), WEIGHTS)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.safetensors"]


@pytest.mark.parametrize("keep", [0, 4, 9, 100, -1])
def test_truncated_files_are_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.safetensors"
    save_model(path, info(), WEIGHTS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="cut.safetensors"):
        read_weights(path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file(WEIGHTS, path)
    with pytest.raises(UserError, match="not a model of lrn_ros"):
        read_info(path)
    path.write_bytes(pickle.dumps({"a": 1}) * 10)
    with pytest.raises(UserError, match="not a safetensors file"):
        read_info(path)
    with pytest.raises(UserError, match="no such model file"):
        read_info(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("version", 99, "version 99"),
        ("mean", [0, 1], "damaged"),
        ("mean", [0, 1, float("nan")], "damaged"),
        ("std", [0.0, 1, 1], "impossible"),
        ("size", [0, 480], "impossible"),
        ("labels", {"name": "x"}, "label set"),
        ("options", 3, "damaged"),
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, key: str, value: object, says: str) -> None:
    path = tmp_path / "bad.safetensors"
    header = json.loads(info().to_json()) | {key: value}
    save_file(WEIGHTS, path, {"lrn_ros": json.dumps(header)})
    with pytest.raises(UserError, match=says):
        read_info(path)


def test_a_header_without_a_key_is_refused(tmp_path: Path) -> None:
    header = json.loads(info().to_json())
    del header["architecture"]
    save_file(WEIGHTS, tmp_path / "bad.safetensors", {"lrn_ros": json.dumps(header)})
    with pytest.raises(UserError, match="architecture"):
        read_info(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("name", ["nonesuch", "", "../weights/x", "/none/x.safetensors", "x.pt"])
def test_unknown_models_are_refused(name: str) -> None:
    with pytest.raises(UserError):
        resolve_model(name)


def test_an_absent_class_is_null(tmp_path: Path) -> None:
    """NaN is no JSON; earlier versions wrote it and their files are read."""
    nan, path = float("nan"), tmp_path / "x.safetensors"
    save_model(path, info(metrics={"val": {"iou": {"sky": nan}}}), WEIGHTS)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    with safe_open(str(path), framework="numpy") as file:
        header = json.loads(file.metadata()["lrn_ros"], parse_constant=refuse)
    assert header["metrics"]["val"]["iou"] == {"sky": None}
    old = json.dumps(header | {"metrics": {"val": {"iou": {"sky": nan}}}})
    assert ModelInfo.from_json(old, "x").metrics["val"]["iou"] == {"sky": None}


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"version": 1, "x": ' + "[" * 5000, "[]", "3", '"' + "x" * (1 << 20) + '"'],
)
def test_monstrous_headers_are_one_line(text: str) -> None:
    with pytest.raises(UserError, match="^here: ") as refused:
        ModelInfo.from_json(text, "here")
    assert len(str(refused.value)) < 300 and "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    path, bad = tmp_path / "x.safetensors", WEIGHTS | {"b": np.array([1, value], np.float16)}
    with pytest.raises(UserError, match="not written: b holds NaN"):
        save_model(path, info(), bad)
    assert not list(tmp_path.iterdir())
    save_file(bad, path, {"lrn_ros": info().to_json()})
    with pytest.raises(UserError, match="1 of its tensors hold NaN or infinity, b first"):
        read_weights(path)


class TestResolve:
    """A model by name, by path and by the folder of its run; names have dots."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        for name in ("farm_v1.5.safetensors", "farm_v1.5.onnx", "farm_v1.5_fp16_64x96.onnx"):
            (tmp_path / name).touch()
        return tmp_path

    def test_a_folder(self, run: Path) -> None:
        assert resolve_model(run) == run / "farm_v1.5.safetensors"
        assert resolve_model(run, (".onnx",)) == run / "farm_v1.5.onnx"
        os.unlink(run / "farm_v1.5.safetensors")  # exports alone, as on a robot
        assert resolve_model(run, (".onnx",)) == run / "farm_v1.5.onnx"
        with pytest.raises(UserError, match="there is no farm_v1.5.safetensors in"):
            resolve_model(run)
        (run / "other.onnx").touch()
        with pytest.raises(
            UserError, match="has several models, farm_v1.5, other; name one of the files"
        ):
            resolve_model(run, (".onnx",))
        (run / "empty").mkdir()
        with pytest.raises(UserError, match="lrn train writes the model when the training ends"):
            resolve_model(run / "empty")

    def test_a_file_stands_for_those_beside_it(self, run: Path) -> None:
        assert resolve_model(run / "farm_v1.5.safetensors", (".onnx",)) == run / "farm_v1.5.onnx"
        fixed = run / "farm_v1.5_fp16_64x96.onnx"
        assert resolve_model(fixed) == run / "farm_v1.5.safetensors"
        assert resolve_model(fixed, (".onnx",)) == fixed
        (run / "farm_v1.safetensors").touch()
        with pytest.raises(UserError, match="there is no farm_v1.onnx"):
            resolve_model(run / "farm_v1.safetensors", (".onnx",))

    def test_a_name_with_dots(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lrn_ros.model.artifact.weights_folder", lambda: run)
        assert resolve_model("farm_v1.5") == run / "farm_v1.5.safetensors"
        (run / "farm_v1.5_int8.onnx").touch()
        assert resolve_model("farm_v1.5", (".onnx",), "int8") == run / "farm_v1.5_int8.onnx"
        with pytest.raises(UserError):
            resolve_model("farm_v1")


def test_every_shipped_export_was_made_from_the_weights_beside_it() -> None:
    exports = sorted(weights_folder().glob("*.onnx"))
    assert exports
    for path in exports:
        check_origin(path, read_info(path))
