# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The kernels around a network: compiled for every GPU, and run as C++ against OpenCV and NumPy."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("cuda.bindings.driver")
nvrtc = pytest.importorskip("cuda.bindings.nvrtc")

from kernel_shim import StandInDriver  # noqa: E402
from test_postprocess import GEOMETRIES, KINDS, STRIDE, logits  # noqa: E402

from lrn_ros.inference import device_code  # noqa: E402
from lrn_ros.inference.backends.base import BackendError  # noqa: E402
from lrn_ros.inference.cache import EngineCache  # noqa: E402
from lrn_ros.inference.device_code import Kernels, Stages, compile_kernels  # noqa: E402
from lrn_ros.inference.geometry import Geometry, fit  # noqa: E402
from lrn_ros.inference.postprocess import upsample_argmax  # noqa: E402
from lrn_ros.inference.preprocess import (  # noqa: E402
    AREA,
    AREA_HALVES_UP,
    COPY,
    LINEAR,
    resize,
    resize_rule,
)

# T4, RTX 30, Jetson Orin, RTX 40, H100, B100, RTX 50.
GPUS = [(7, 5), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (12, 0)]


@pytest.mark.parametrize("capability", GPUS)
def test_compiles_for_every_gpu(capability: tuple[int, int]) -> None:
    code = compile_kernels(capability)
    assert code[:4] == b"\x7fELF" and b"make_images" in code and b"make_masks" in code


def test_a_gpu_newer_than_nvrtc_gets_code_that_its_driver_compiles() -> None:
    assert b".target compute_" in (code := compile_kernels((99, 0))) or b".target sm_" in code
    assert b".visible .entry make_masks" in code


def test_a_gpu_too_old_for_nvrtc() -> None:
    says = r"NVRTC [\d.]+ compiles for compute capability 7\.5 and newer, this GPU has 5\.2"
    with pytest.raises(BackendError, match=says):
        compile_kernels((5, 2))


def test_a_source_that_does_not_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.cu").write_text("nonsense;")
    monkeypatch.setattr(device_code, "SOURCE", tmp_path / "wrong.cu")
    with pytest.raises(BackendError, match="cannot compile for sm_89: .*nonsense"):
        compile_kernels((8, 9))


def test_nvrtc_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise RuntimeError('Failure finding "libnvrtc.so":\nmore')

    monkeypatch.setattr(nvrtc, "nvrtcGetSupportedArchs", missing)
    with pytest.raises(
        BackendError, match=r"no NVRTC \(Failure finding .*pip install nvidia-cuda-nvrtc"
    ):
        compile_kernels((8, 9))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> StandInDriver:
    driver = StandInDriver()
    monkeypatch.setattr(device_code, "driver", driver)
    return driver


def test_kept_kernels_are_loaded_again(
    driver: StandInDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EngineCache(tmp_path / "cache")
    first = Kernels((8, 9), "13000", cache)
    monkeypatch.setattr(device_code, "compile_kernels", None)
    again = Kernels((8, 9), "13000", cache)
    assert len(set(driver.loaded)) == 1 and len(driver.loaded) == 2
    del first, again
    assert not driver.loaded
    with pytest.raises(TypeError):  # another driver, another GPU: nothing is kept for them
        Kernels((8, 9), "13010", cache)
    with pytest.raises(TypeError):
        Kernels((8, 6), "13000", cache)


def test_kept_kernels_that_the_driver_refuses_are_compiled_anew(
    driver: StandInDriver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cache = EngineCache(tmp_path / "cache")
    Kernels((8, 9), "13000", cache)
    (entry,) = (tmp_path / "cache").iterdir()
    refusals = iter([False])
    driver.takes = lambda code: next(refusals, True)
    Kernels((8, 9), "13000", cache)
    assert "the kept kernels were refused by the driver" in caplog.text
    data = entry.read_bytes()
    entry.write_bytes(data[:-1])  # damaged: not found, compiled anew, replaced
    Kernels((8, 9), "13000", cache)
    assert entry.read_bytes() == data


def test_a_driver_too_old_for_nvrtc(driver: StandInDriver, tmp_path: Path) -> None:
    driver.takes = lambda code: False
    with pytest.raises(BackendError, match=r"cannot load what NVRTC [\d.]+ compiles; update the d"):
        Kernels((8, 9), "13000", EngineCache(tmp_path))
    assert not list(tmp_path.iterdir())


def test_without_a_cache(
    driver: StandInDriver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    Kernels((8, 9), "13000", EngineCache(tmp_path / "file" / "cache"))
    assert caplog.text.count("not kept") == 1 and driver.launches == []


class Device:
    """Runs Stages of one geometry on the CPU; what is uploaded is kept."""

    def __init__(
        self, geometry: Geometry, batch: int, classes: int, folder: Path, **options: Any
    ) -> None:
        self._kept: list[NDArray] = []
        self.geometry = geometry
        cells = [-(-side // STRIDE) for side in geometry.network]
        self.shape = (batch, classes, cells[0], cells[1])
        kernels = Kernels((8, 9), "13000", EngineCache(folder))
        self.stages = Stages(kernels, geometry, self.shape, STRIDE, self.upload, **options)

    def upload(self, array: NDArray) -> int:
        assert array.flags.c_contiguous and array.dtype in (np.int32, np.float32, np.uint8)
        self._kept.append(array)
        return array.ctypes.data

    def images(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        images = np.full((len(frames), *self.geometry.network, 3), 99, np.uint8)
        assert self.stages.make_images(frames.ctypes.data, images.ctypes.data, 7)
        return images

    def masks(self, scores: NDArray[np.float32], confidence: bool) -> NDArray[np.uint8]:
        planes = np.full((2, len(scores), *self.geometry.output), 99, np.uint8)
        address = planes[1].ctypes.data if confidence else 0
        assert self.stages.make_masks(scores.ctypes.data, planes.ctypes.data, address, 7)
        return planes


SIZES = {
    "copy": (fit((96, 128), (96, 128)), COPY),
    "copy and border": (fit((90, 125), (90, 125)), COPY),
    "720p to 360": (fit((720, 1280), (360, 480)), AREA_HALVES_UP),
    "1080p to 360": (fit((1080, 1920), (360, 480)), AREA),
    "whole numbers that differ": (Geometry((120, 400), (60, 100), (64, 104), (60, 100)), AREA),
    "by a fraction": (fit((211, 283), (96, 128)), AREA),
    "by a fraction, with a border": (fit((100, 300), (96, 128), (96, 160)), AREA),
    "one side stays": (Geometry((120, 100), (90, 100), (96, 104), (120, 100)), AREA),
    "larger": (fit((45, 60), (96, 128)), LINEAR),
    "a little larger": (fit((95, 127), (96, 128)), LINEAR),
    "one pixel": (fit((1, 1), (96, 128)), LINEAR),
    "one row": (fit((1, 700), (96, 128)), LINEAR),
    "one grows, one shrinks": (Geometry((100, 100), (120, 90), (120, 96), (100, 100)), LINEAR),
    "one shrinks, one grows": (Geometry((100, 100), (90, 120), (96, 120), (100, 100)), LINEAR),
}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.usefixtures("driver")
def test_images_equal_those_of_opencv(name: str, tmp_path: Path) -> None:
    geometry, kind = SIZES[name]
    assert resize_rule(geometry).kind == kind
    noise = np.random.default_rng(0).integers(0, 256, (2, *geometry.frame, 3), np.uint8)
    smooth = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in noise])
    device = Device(geometry, 2, 3, tmp_path)
    for frames in (noise, smooth.reshape(noise.shape)):
        expected = [resize(frame, geometry) for frame in frames]
        np.testing.assert_array_equal(device.images(frames), expected)


@pytest.mark.usefixtures("driver")
def test_images_of_random_sizes(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for _ in range(40):
        frame = tuple(int(n) for n in random.integers(1, 200, 2))
        content = tuple(max(1, round(n * float(random.uniform(0.2, 3)))) for n in frame)
        network = tuple(-(-n // 8) * 8 for n in content)
        geometry = Geometry(frame, content, network, frame)  # type: ignore[arg-type]
        rgb = random.integers(0, 256, (1, *frame, 3), np.uint8)
        found = Device(geometry, 1, 3, tmp_path).images(rgb)[0]
        np.testing.assert_array_equal(found, resize(rgb[0], geometry), err_msg=str(geometry))


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("classes", [1, 11])
@pytest.mark.usefixtures("driver")
def test_masks_equal_those_of_the_cpu(geometry: Geometry, classes: int, tmp_path: Path) -> None:
    device = Device(geometry, len(KINDS), classes, tmp_path)
    scores = np.stack([logits(kind, device.shape[1:]) for kind in KINDS])
    plain, both = device.masks(scores, False), device.masks(scores, True)
    assert (plain[1] == 99).all()
    for n, coarse in enumerate(scores):
        mask, confidence = upsample_argmax(coarse, geometry, STRIDE, True)
        np.testing.assert_array_equal(plain[0, n], mask, err_msg=KINDS[n])
        np.testing.assert_array_equal(both[0, n], mask, err_msg=KINDS[n])
        # The sum of the exponentials is rounded in another order.
        difference = np.abs(both[1, n].astype(int) - confidence)  # type: ignore[operator]
        assert difference.max() <= 1 and (difference > 0).mean() < 0.01, KINDS[n]


@pytest.mark.usefixtures("driver")
def test_confidence_of_merged_classes_at_a_temperature(tmp_path: Path) -> None:
    geometry, options = fit((45, 60), (96, 128)), {"merged": (0, 1, 0, 2, 1), "temperature": 1.7}
    device = Device(geometry, 1, 5, tmp_path, **options)
    scores = 3 * logits("random", device.shape[1:])[None]
    planes = device.masks(scores, True)
    mask, confidence = upsample_argmax(scores[0], geometry, STRIDE, True, **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(planes[0, 0], mask)
    assert np.abs(planes[1, 0].astype(int) - confidence).max() <= 1  # type: ignore[operator]
    alone = Device(geometry, 1, 5, tmp_path).masks(scores, True)
    np.testing.assert_array_equal(alone[0], planes[0])
    assert (alone[1] != planes[1]).mean() > 0.9


@pytest.mark.usefixtures("driver")
def test_scores_that_are_not_numbers_are_unlabelled(tmp_path: Path) -> None:
    geometry = Geometry((32, 32), (32, 32), (32, 32), (32, 32))
    for place in (0, 1, 2):
        scores = np.zeros((1, 3, 4, 4), np.float32)
        scores[0, 1], scores[0, place, 3, 3] = 5, np.nan
        planes = Device(geometry, 1, 3, tmp_path).masks(scores, True)
        expected, _ = upsample_argmax(scores[0], geometry, STRIDE, False)
        np.testing.assert_array_equal(planes[0, 0], expected)
        assert set(np.unique(expected)) == {1, 255} and planes[1, 0, 31, 31] == 0
