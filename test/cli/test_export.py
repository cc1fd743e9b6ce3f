# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn export: what it writes, says and refuses."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lrn_ros.cli import main
from lrn_ros.model.artifact import read_info, read_weights, save_model

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture
def model(random_model, tmp_path):
    """A model file in a folder of its own."""
    return shutil.copy(random_model, tmp_path / "tiny.safetensors")


def export(*arguments):
    return main(["export", *map(str, arguments)])


def test_half_precision_at_a_fixed_size(model, dataset, capsys):
    from lrn_ros import Segmenter

    options = ["--format", "onnx", "--precision", "fp16", "--size", 64, 104, "--data", dataset]
    assert export(model, *options, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    path = model.with_name("tiny_fp16_64x104.onnx")
    assert (report["model"], report["bytes"]) == (str(path), path.stat().st_size)
    # Half of it, and the convolutions that take the place of shuffles.
    assert path.stat().st_size < 0.62 * model.stat().st_size
    info = read_info(path)
    assert info.export is not None and info.export.agreement == report["agreement"]
    assert (info.export.precision, info.export.size) == ("fp16", (64, 104))

    session = onnxruntime.InferenceSession(path.read_bytes())
    assert session.get_inputs()[0].shape == [1, 64, 104, 3]
    segmenter = Segmenter.load(model, backend="torch", network_size=(64, 104))
    same = []
    for file in sorted((dataset / "val").iterdir()):
        rgb = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        padded = np.pad(rgb, ((0, 0), (0, 8), (0, 0)), mode="edge")
        (logits,) = session.run(None, {"image": padded[None]})
        cells = segmenter.backend.logits(rgb, segmenter.geometry(64, 96))
        error = np.linalg.norm(logits[0] - cells) / np.linalg.norm(cells)
        assert 1e-6 < error < 0.02
        full = [cv2.resize(c.transpose(1, 2, 0), (104, 64)) for c in (logits[0], cells)]
        same.append((full[0].argmax(2) == full[1].argmax(2))[:, :96].mean())
    assert report["agreement"]["same_label"] == pytest.approx(np.mean(same), abs=1e-4)

    command = ["evaluate", str(model), str(dataset), "--backend", "torch", "--json"]
    assert main([*command, "--network-size", "64", "104"]) == 0
    miou = json.loads(capsys.readouterr().out)["miou"]
    assert report["agreement"]["torch_miou"] == pytest.approx(miou)


def test_all_models_in_all_precisions(random_model, dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lrn_ros.model.artifact.weights_folder", lambda: tmp_path)
    for name in ("one", "two"):
        shutil.copy(random_model, tmp_path / f"{name}.safetensors")
    teacher = replace(read_info(random_model), provenance={"recipe": {"storage": "float16"}})
    save_model(tmp_path / "teacher.safetensors", teacher, read_weights(random_model))
    monkeypatch.setattr("lrn_ros.export.onnx._check", lambda figures, precision: None)
    options = ["--format", "onnx", "--precision", "all", "--data", dataset]
    assert export("all", *options, "--json") == 0
    reports = json.loads(capsys.readouterr().out)
    names = [f"{model}{end}.onnx" for model in ("one", "two") for end in ("", "_fp16", "_int8")]
    assert [report["model"] for report in reports] == [str(tmp_path / name) for name in names]
    assert [report["precision"] for report in reports] == 2 * ["fp32", "fp16", "int8"]
    for name, report in zip(names, reports):
        assert read_info(tmp_path / name).export.precision == report["precision"]

    assert export("all", "--format", "onnx", "--output", tmp_path / "x.onnx") == 2
    assert "names one file" in capsys.readouterr().err
    assert export("one", "--format", "openvino", "--precision", "all") == 2
    assert "'all' is for --format onnx" in capsys.readouterr().err


def test_int8_is_calibrated_on_the_train_split(tmp_path, capsys):
    from lrn_ros.scene import StreetScene

    for split, seeds in (("train", range(10, 22)), ("val", range(4))):
        (tmp_path / split).mkdir()
        (tmp_path / f"{split}annot").mkdir()
        for seed in seeds:
            rgb, label = StreetScene(seed=seed, height=184, width=256).frame(0)
            cv2.imwrite(str(tmp_path / split / f"{seed}.png"), rgb[..., ::-1])
            cv2.imwrite(str(tmp_path / f"{split}annot" / f"{seed}.png"), label)
    path = tmp_path / "int8.onnx"
    options = ["--format", "onnx", "--precision", "int8", "--size", 184, 256, "--data", tmp_path]
    assert export("lrnnet_c_camvid", *options, "--output", path) == 0
    assert "int8" in capsys.readouterr().out
    info = read_info(path)
    assert info.export is not None
    assert (info.export.precision, info.export.size) == ("int8", (184, 256))
    assert 0.985 <= info.export.agreement["same_label"] < 1

    # The first scale is the largest value of the normalised training images over 127.
    largest = 0.0
    for file in (tmp_path / "train").iterdir():
        rgb = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) / 255.0
        largest = max(largest, np.abs((rgb - info.mean) / info.std).max())
    graph = onnx.load(path).graph
    first = next(node for node in graph.node if node.op_type == "Conv")
    (pair,) = (node for node in graph.node if first.input[0] in node.output)
    (scale,) = (t for t in graph.initializer if t.name == pair.input[1])
    assert onnx.numpy_helper.to_array(scale) == pytest.approx(largest / 127, rel=1e-4)


def test_int8_needs_a_train_split(model, dataset, tmp_path, capsys):
    data = tmp_path / "data"
    for split in ("val", "valannot"):
        shutil.copytree(dataset / split, data / split)
    options = ["--format", "onnx", "--precision", "int8", "--data", data]
    assert export(model, *options) == 2
    assert capsys.readouterr().err == f"lrn export: {data}: no split 'train'; there are val\n"
    (data / "train").mkdir()
    (data / "trainannot").mkdir()
    assert export(model, *options) == 2
    assert f"{data / 'train'}: no images" in capsys.readouterr().err
    assert not list(model.parent.glob("*.onnx"))


@pytest.mark.parametrize(
    ("precision", "figures", "says"),
    [
        ("fp32", (0.998, 0.5, 0.5), "99.800 % of the pixels of 2 images"),
        ("fp32", (1.0, 0.5, 0.502), "0.20 points of mIoU"),
        ("int8", (0.984, 0.5, 0.5), "98.400 % of the pixels of 2 images"),
        ("int8", (0.99, 0.5, 0.511), "1.10 points of mIoU"),
    ],
)
def test_disagreement_writes_nothing(model, precision, figures, says, monkeypatch, capsys):
    from lrn_ros.export import onnx as module

    monkeypatch.setattr(module, "trace", lambda *args: onnx.ModelProto())
    monkeypatch.setattr(module, "runner", lambda graph: None)
    monkeypatch.setattr(module, "quantise", lambda graph, images: graph)
    named = dict(zip(("same_label", "miou", "torch_miou"), figures))
    monkeypatch.setattr(module, "measure", lambda *args: {"images": 2, **named})
    options = ["--format", "onnx", "--precision", precision]
    assert export(model, *options) == 1
    assert says in capsys.readouterr().err
    assert [p.name for p in model.parent.iterdir()] == [model.name]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "openvino", "--data", "x"], "--data is for --format onnx, not for openvino"),
        (["--format", "onnx", "--output", "tiny.bin"], "tiny.bin: the name of an ONNX file ends"),
        (["--format", "onnx", "--size", "100", "100"], "multiples of 8"),
        (["--format", "onnx", "--data", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_refused(model, arguments, says, capsys, monkeypatch):
    monkeypatch.chdir(model.parent)
    assert export(model, *arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert [p.name for p in model.parent.iterdir()] == [model.name]


def test_without_the_packages_it_says_what_to_install(model, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "lrn_ros.export.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export(model, "--format", "onnx") == 2
    assert "pip install 'lrn_ros[export]'" in capsys.readouterr().err


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's engine cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lrn_ros"


def test_compiled_ahead_for_openvino(cache, capsys):
    pytest.importorskip("openvino")
    from lrn_ros import Segmenter

    model = "lrnnet_c_camvid"
    assert export(model, "--format", "openvino", "--size", 64, 96, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["backend"], report["size"], report["folder"]) == (
        "openvino",
        [64, 96],
        str(cache),
    )
    (entry,) = cache.iterdir()
    written = entry.stat().st_ino
    segmenter = Segmenter.load(model, backend="openvino", network_size=(64, 96))
    segmenter.backend._model = None  # nothing to compile from
    segmenter(np.zeros((64, 96, 3), np.uint8))
    assert entry.stat().st_ino == written
    assert export(model, "--format", "openvino", "--size", 64, 96) == 0
    assert f"{model} at 64x96 in {segmenter.backend.precision} on" in capsys.readouterr().out


def test_compiled_ahead_at_the_trained_size(cache, capsys):
    pytest.importorskip("openvino")
    assert export("lrnnet_c_camvid", "--format", "openvino") == 0
    assert "lrnnet_c_camvid at 360x480 in" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_tensorrt_without_a_gpu_says_so(cache, capsys):
    pytest.importorskip("tensorrt_rtx")
    assert export("lrnnet_c_camvid", "--format", "tensorrt", "--precision", "fp32") == 2
    assert "no NVIDIA driver" in capsys.readouterr().err
    assert not any(cache.iterdir())


def test_nowhere_to_keep_what_is_compiled(cache, capsys):
    cache.parent.write_text("a file")
    assert export("lrnnet_c_camvid", "--format", "openvino") == 1
    assert "there is no folder for the compiled model" in capsys.readouterr().err
