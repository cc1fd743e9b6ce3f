# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Segmenter and the torch backend against the plain network, OpenCV and closed forms."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from lrn_ros import Segmenter
from lrn_ros.errors import BackendError, UserError
from lrn_ros.inference.backends.base import MODULES
from lrn_ros.inference.backends.torch import load_network
from lrn_ros.inference.geometry import fit
from lrn_ros.inference.overlay import blend, colorize
from lrn_ros.inference.postprocess import upsample_argmax
from lrn_ros.inference.preprocess import resize
from lrn_ros.model.artifact import read_info, read_weights, save_model
from lrn_ros.model.labels import LabelSet
from lrn_ros.networks.blocks import fold_normalisation
from lrn_ros.scene import StreetScene


@pytest.fixture(scope="module")
def segmenter(random_model: Path) -> Segmenter:
    return Segmenter.load(random_model, backend="torch")


def frame(height: int, width: int) -> np.ndarray:
    return StreetScene(seed=1, height=height, width=width).frame(3)[0]


def plain_logits(model: Path, rgb: np.ndarray) -> torch.Tensor:
    info = read_info(model)
    network = load_network(model, info)
    mean, std = (torch.tensor(v)[:, None, None] for v in (info.mean, info.std))
    x = (torch.from_numpy(rgb).permute(2, 0, 1) / 255 - mean) / std
    with torch.no_grad():
        return network(x[None])


def test_equals_the_network_at_its_own_size(segmenter: Segmenter, random_model: Path) -> None:
    rgb = frame(96, 128)
    result = segmenter(rgb, confidence=True)
    logits = plain_logits(random_model, rgb)
    assert (result.mask == logits.argmax(1)[0].numpy()).mean() > 0.9999
    probability = logits.softmax(1).amax(1)[0].numpy() * 255
    assert result.confidence is not None
    assert np.abs(result.confidence - probability).max() < 0.51
    assert result.timings.total_ms > 0


@pytest.mark.parametrize("size", [(96, 128), (192, 256), (135, 240), (64, 300), (301, 97), (8, 9)])
def test_mask_has_the_frames_size(segmenter: Segmenter, size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    result = segmenter(rgb, confidence=True)
    assert result.confidence is not None
    assert result.mask.shape == result.confidence.shape == size
    assert result.mask.dtype == result.confidence.dtype == np.uint8
    assert result.mask.max() < len(segmenter.labels)


def test_confidence_only_on_request(segmenter: Segmenter) -> None:
    assert segmenter(frame(96, 128)).confidence is None


def test_the_models_temperature_reaches_the_confidence(random_model: Path, tmp_path: Path) -> None:
    """Against the softmax of the scores themselves; the mask stays."""
    info, weights = read_info(random_model), read_weights(random_model)
    path = tmp_path / "warm.safetensors"
    save_model(path, replace(info, temperature=2.5), weights)
    rgb = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    plain, warm = (Segmenter.load(p, backend="torch") for p in (random_model, path))
    before, after = plain(rgb, confidence=True), warm(rgb, confidence=True)
    np.testing.assert_array_equal(before.mask, after.mask)
    scores = warm.scores(rgb).astype(np.float64)
    expected = 255 / np.exp((scores - scores.max(0)) / 2.5).sum(0)
    assert after.confidence is not None and before.confidence is not None
    assert np.abs(after.confidence - expected).max() < 0.51
    assert after.confidence.mean() < before.confidence.mean()


def test_same_frame_same_mask(segmenter: Segmenter) -> None:
    rgb = frame(135, 240)
    np.testing.assert_array_equal(segmenter(rgb).mask, segmenter(rgb, confidence=True).mask)


def test_non_contiguous_frames(segmenter: Segmenter) -> None:
    rgb = frame(96, 128)
    padded = np.zeros((96, 150, 3), np.uint8)
    padded[:, :128] = rgb
    expected = segmenter(rgb).mask
    np.testing.assert_array_equal(segmenter(padded[:, :128]).mask, expected)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    np.testing.assert_array_equal(segmenter(bgr[..., ::-1]).mask, expected)


def test_network_output_size(random_model: Path) -> None:
    segmenter = Segmenter.load(random_model, backend="torch", network_size=(64, 128))
    assert segmenter(frame(120, 160), output="network").mask.shape == (64, 85)


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.parametrize("backend", ["torch", pytest.param("cuda", marks=GPU)])
def test_logits_are_those_behind_the_mask(random_model: Path, backend: str) -> None:
    segmenter = Segmenter.load(random_model, backend=backend, precision="fp32")
    rgb = frame(96, 128)
    geometry = segmenter.geometry(96, 128)
    logits = segmenter.backend.logits(rgb, geometry)
    assert logits.dtype == np.float32 and segmenter.backend.stride == 8
    info = read_info(random_model)
    mean, std = np.array(info.mean, np.float32), np.array(info.std, np.float32)
    x = torch.from_numpy(((rgb / np.float32(255) - mean) / std).transpose(2, 0, 1)[None])
    with torch.no_grad():
        expected = load_network(random_model, info).coarse(x)[0].numpy()  # type: ignore[operator]
    assert logits.shape == expected.shape == (11, 12, 16)
    assert np.abs(logits - expected).max() < 1e-2 * np.abs(expected).max()
    mask, _ = upsample_argmax(logits, geometry, 8, False)
    assert (segmenter(rgb).mask == mask).mean() > 0.999


@pytest.mark.parametrize("size", [(96, 128), (192, 256), (135, 240), (64, 300), (301, 97), (8, 9)])
def test_scores_have_the_mask_at_their_top(segmenter: Segmenter, size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    scores = segmenter.scores(rgb)
    assert scores.shape == (11, *size) and scores.dtype == np.float32
    assert (scores.argmax(0) == segmenter(rgb).mask).mean() > 0.999


@pytest.mark.parametrize(
    "bad",
    [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3), np.float32)],
)
def test_other_arrays_are_refused(segmenter: Segmenter, bad: np.ndarray) -> None:
    with pytest.raises(UserError, match="uint8 RGB"):
        segmenter(bad)
    with pytest.raises(UserError, match="uint8 RGB"):
        segmenter.scores(bad)
    with pytest.raises(UserError, match="empty"):
        segmenter(np.zeros((0, 9, 3), np.uint8))


def test_bf16_is_close(random_model: Path, segmenter: Segmenter) -> None:
    other = Segmenter.load(random_model, backend="torch", precision="bf16")
    rgb = frame(96, 128)
    a, b = segmenter(rgb, confidence=True), other(rgb, confidence=True)
    assert (a.mask == b.mask).mean() > 0.95
    assert a.confidence is not None and b.confidence is not None
    assert np.abs(a.confidence.astype(int) - b.confidence).mean() < 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"backend": "tpu"}, "there are auto, tensorrt, cuda, openvino, onnxruntime, torch"),
        ({"precision": "fp8"}, "fp32"),
        ({"backend": "torch", "precision": "int8"}, "fp32 and bf16 work"),
        ({"network_size": (100, 100)}, "multiples of 8"),
    ],
)
def test_bad_arguments_say_what_works(random_model: Path, arguments: dict, says: str) -> None:
    with pytest.raises((UserError, BackendError), match=says):
        Segmenter.load(random_model, **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_auto_says_what_it_passed_over(random_model: Path) -> None:
    segmenter = Segmenter.load(random_model)
    assert segmenter.backend.name == "torch"
    assert [name for name, _ in segmenter.passed_over] == [
        *("tensorrt", "cuda", "openvino", "onnxruntime")
    ]
    assert all("lrn export" in segmenter.passed_over[i][1] for i in (0, 2, 3))
    with pytest.raises(BackendError, match="no NVIDIA driver|CPU-only build|no usable"):
        Segmenter.load(random_model, backend="cuda")


def test_auto_passes_over_what_cannot_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And lets go of it before the next one is loaded, which needs its memory."""
    pytest.importorskip("openvino")
    from lrn_ros.inference.backends import openvino
    from lrn_ros.inference.backends import torch as torch_backend

    failed, held = list[weakref.ref[Any]](), list[bool]()
    create = torch_backend.create

    def refuse(self: openvino.OpenVinoBackend, shape: tuple[int, int, int]) -> None:
        failed.append(weakref.ref(self))
        raise BackendError(f"not enough memory for {shape}")

    def note(*arguments: Any) -> Any:
        held.extend(backend() is not None for backend in failed)
        return create(*arguments)

    monkeypatch.setattr(openvino.OpenVinoBackend, "_compile", refuse)
    monkeypatch.setattr(torch_backend, "create", note)
    none = {"tensorrt": "not asked", "cuda": "not asked", "onnxruntime": "not asked"}
    segmenter = Segmenter.load(cache_dir=tmp_path, network_size=(64, 96), given_up=none)
    assert segmenter.backend.name == "torch"
    reasons = {**none, "openvino": "not enough memory for (1, 64, 96)"}
    assert dict(segmenter.passed_over) == reasons
    assert held == [False]
    with pytest.raises(BackendError, match="no backend works here: .*openvino: not enough memory"):
        Segmenter.load(cache_dir=tmp_path, given_up={**none, "torch": "not asked"})


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(_has_driver(), reason="an NVIDIA driver is there")
def test_without_a_driver_nothing_for_gpus_is_imported(tmp_path: Path) -> None:
    """Torch alone would take 250 MB and seconds."""
    pytest.importorskip("openvino")
    code = (
        "import sys; import numpy as np; from lrn_ros import Segmenter\n"
        f"s = Segmenter.load(backend='auto', cache_dir={str(tmp_path)!r})\n"
        "s(np.zeros((360, 480, 3), np.uint8), confidence=True)\n"
        "assert s.backend.name == 'openvino'\n"
        "assert all('no NVIDIA driver (libcuda.so.1' in why for _, why in s.passed_over)\n"
        "assert not {'torch', 'tensorrt', 'tensorrt_rtx', 'cuda'} & set(sys.modules)\n"
        # Not ru_maxrss, which counts the process that was forked.
        "peak = [x for x in open('/proc/self/status') if x.startswith('VmHWM')]\n"
        "print(peak[0].split()[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 700e6


def test_weights_that_do_not_fit_are_refused(random_model: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    path = tmp_path / "wrong.safetensors"
    info = read_info(random_model)
    save_model(path, replace(info, architecture="lrnnet_ssnbt"), read_weights(random_model))
    with pytest.raises(UserError, match="do not fit"):
        Segmenter.load(path)
    save_model(path, replace(info, architecture="resnet"), read_weights(random_model))
    with pytest.raises(UserError, match="unknown architecture"):
        Segmenter.load(path)


def test_folding_is_exact(random_model: Path) -> None:
    info = read_info(random_model)
    network, folded = load_network(random_model, info), load_network(random_model, info)
    fold_normalisation(folded)
    norms = [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 3  # those of the downsampling units, behind a concatenation
    x = torch.randn(1, 3, 72, 96)
    with torch.no_grad():
        a, b = network(x), folded(x)
    assert (a - b).abs().max() < 1e-4 * a.abs().max()


def test_border_repeats_the_edge() -> None:
    geometry = fit((90, 150), (96, 128), (96, 160))
    image = resize(frame(90, 150), geometry)
    assert image.shape == (96, 160, 3) and geometry.content == (96, 160)
    geometry = fit((100, 300), (96, 128), (96, 160))
    image = resize(frame(100, 300), geometry)
    assert geometry.content == (53, 160)
    np.testing.assert_array_equal(image[53:], np.broadcast_to(image[52], (43, 160, 3)))


def test_colours_and_blend() -> None:
    labels = LabelSet.load("camvid11")
    mask = np.array([[0, 3], [10, 255]], np.uint8)
    color = colorize(mask, labels.lookup())
    expected = [[labels.colors[0], labels.colors[3]], [labels.colors[10], (0, 0, 0)]]
    np.testing.assert_array_equal(color, np.array(expected))
    rgb = np.full((2, 2, 3), 100, np.uint8)
    mixed = blend(rgb, color, mask, 0.25)
    np.testing.assert_array_equal(mixed[0, 0], [107, 107, 107])
    np.testing.assert_array_equal(mixed[1, 1], [100, 100, 100])
    assert cv2.absdiff(blend(rgb, color, mask, 0.0), rgb).max() == 0


def test_importing_the_package_needs_neither_torch_nor_rclpy() -> None:
    code = (
        "import sys, lrn_ros, lrn_ros.inference.segmenter, lrn_ros.model.artifact, lrn_ros.scene;"
        "sys.exit(bool({'torch', 'rclpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert list(MODULES) == ["tensorrt", "cuda", "openvino", "onnxruntime", "torch"]
