# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""docs/onnx.md: the metadata are those of the page, and both programs give the package's masks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("torch")

from lrn_ros import Segmenter  # noqa: E402
from lrn_ros.export.onnx import export_onnx  # noqa: E402
from lrn_ros.model.artifact import read_info  # noqa: E402
from lrn_ros.scene import StreetScene  # noqa: E402

TEXT = (Path(__file__).parents[1] / "docs" / "onnx.md").read_text(encoding="utf-8")
RGB = StreetScene(seed=2, height=96, width=136).frame(0)[0]


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.S)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def model(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with both of its files."""
    folder = tmp_path_factory.mktemp("model")
    weights = Path(shutil.copy(random_model, folder / "model.safetensors"))
    export_onnx(weights, folder / "model.onnx", images=[(RGB, None)])
    return folder / "model.onnx"


def test_metadata(model: Path) -> None:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    documented = set(
        re.findall(r"`(\w+)`", TEXT.partition("| key | value |")[2].partition("## ")[0])
    )
    assert set(about) <= documented
    info = read_info(model)
    assert about["class_names"].count('"') == 2 * len(info.labels)
    assert about["trained_size"] == "96x128" and about["stride"] == "8"
    assert "(N, H, W, 3); H and W are multiples of 8 from 64 up" in about["input"]
    assert float(about["temperature"]) == info.temperature


def test_python(model: Path, tmp_path: Path) -> None:
    (tmp_path / "segment.py").write_text(block("python"))
    cv2.imwrite(str(tmp_path / "odd.png"), RGB[:90, :133, ::-1])
    cv2.imwrite(str(tmp_path / "image.png"), RGB[..., ::-1])
    masks = []
    for name in ("odd", "image"):
        command = [sys.executable, "segment.py", str(model), f"{name}.png", "mask.png"]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        masks.append(cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_UNCHANGED))
    odd, mask = masks
    assert odd.shape == (90, 133)
    expected = Segmenter.load(model, backend="onnxruntime", network_size=(96, 136))(RGB).mask
    assert (mask == expected).mean() > 0.999 and len(np.unique(mask)) > 1
    assert read_info(model).labels.names[int(mask[0, 0])] in done.stdout


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_cpp(model: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    home = Path(openvino.__file__).parent
    if not (home / "include").is_dir():
        pytest.skip("this openvino has no headers")
    (tmp_path / "segment.cpp").write_text(block("cpp"))
    *_, last = (b for b in re.findall(r"```sh\n(.*?)```", TEXT, re.S))
    build = last.replace("python3", sys.executable)
    subprocess.run(["sh", "-ec", build], cwd=tmp_path, check=True)
    header = f"P6\n{RGB.shape[1]} {RGB.shape[0]}\n255\n".encode()
    (tmp_path / "image.ppm").write_bytes(header + RGB.tobytes())
    subprocess.run(["./segment", str(model), "image.ppm", "mask.raw"], cwd=tmp_path, check=True)
    mask = np.fromfile(tmp_path / "mask.raw", np.uint8).reshape(12, 17)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": RGB[None]})
    assert (mask == logits[0].argmax(0)).mean() > 0.99 and len(np.unique(mask)) > 1
