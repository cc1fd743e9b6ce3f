# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The onnxruntime backend on shipped files: as torch in fp32, batches, precisions, refusals."""

from __future__ import annotations

import sys

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime")

from lrn_ros import Segmenter  # noqa: E402
from lrn_ros.errors import UserError  # noqa: E402
from lrn_ros.inference.backends import MODULES  # noqa: E402
from lrn_ros.inference.backends import onnxruntime as backend  # noqa: E402
from lrn_ros.inference.backends.base import BackendError, BackendOptions  # noqa: E402
from lrn_ros.scene import StreetScene  # noqa: E402

MODEL = "ndnet45_camvid"
FRAMES = [StreetScene(seed=s, height=100, width=160).frame(0)[0] for s in range(2)]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load(MODEL, backend="onnxruntime", network_size=(96, 160))


def test_as_torch_in_fp32(segmenter: Segmenter) -> None:
    torch = Segmenter.load(MODEL, backend="torch", precision="fp32", network_size=(96, 160))
    assert segmenter.backend.precision == "fp32"
    for rgb in FRAMES:
        ours, theirs = segmenter(rgb, confidence=True), torch(rgb, confidence=True)
        assert ours.mask.shape == rgb.shape[:2]
        assert (ours.mask == theirs.mask).mean() > 0.999
        assert np.abs(ours.confidence.astype(int) - theirs.confidence).mean() < 0.5


def test_a_batch_is_its_frames(segmenter: Segmenter) -> None:
    geometry = segmenter.geometry(100, 160)
    together = segmenter.backend.run(FRAMES, geometry, False)
    for rgb, result in zip(FRAMES, together):
        np.testing.assert_array_equal(result.mask, segmenter(rgb).mask)


def test_the_file_decides_the_precision() -> None:
    half = Segmenter.load(MODEL, backend="onnxruntime", precision="fp16", network_size=(96, 160))
    assert half.backend.precision == "fp16" and half(FRAMES[0]).mask.shape == (100, 160)
    with pytest.raises(BackendError, match="is fp32, and backend onnxruntime runs a file as it is"):
        Segmenter.load(MODEL, backend="onnxruntime", precision="bf16")


def test_it_stands_behind_openvino_and_before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    order = list(MODULES)
    assert order.index("openvino") < order.index("onnxruntime") < order.index("torch")
    up = dict.fromkeys(("tensorrt", "cuda", "openvino"), "not here")
    assert Segmenter.load(MODEL, given_up=up).backend.name == "onnxruntime"
    monkeypatch.delitem(sys.modules, MODULES["onnxruntime"].name, raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=r"pip install .*\[onnxruntime\]"):
        Segmenter.load(MODEL, backend="onnxruntime")


def test_the_best_provider_is_first(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names[::-1])
    found = backend._providers(BackendOptions(device=1, cache_dir=tmp_path))
    assert [name for name, _ in found] == names
    assert found[0][1]["device_id"] == found[1][1]["device_id"] == 1
    assert found[0][1]["trt_engine_cache_path"] == str(tmp_path)


def test_a_file_that_it_cannot_load(tmp_path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="x.onnx"):
        Segmenter.load(path, backend="onnxruntime")
