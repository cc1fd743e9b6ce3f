# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stages on a device: against OpenCV, torch's own interpolation, NumPy, and for CUDA graphs."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from lrn_ros import Segmenter  # noqa: E402
from lrn_ros.inference.backends.torch_ops import (  # noqa: E402
    Resizer,
    Stages,
    area_matrix,
    device_axes,
    load_network,
    torch_classify,
)
from lrn_ros.inference.geometry import Geometry, fit  # noqa: E402
from lrn_ros.inference.postprocess import merge_table, upsample_argmax  # noqa: E402
from lrn_ros.inference.preprocess import resize  # noqa: E402
from lrn_ros.model.artifact import read_info  # noqa: E402
from lrn_ros.networks import architectures, build  # noqa: E402
from lrn_ros.scene import StreetScene  # noqa: E402

CPU = torch.device("cpu")


def frame(height: int, width: int, seed: int = 1) -> np.ndarray:
    return StreetScene(seed=seed, height=height, width=width).frame(3)[0]


def classify(
    coarse: np.ndarray, geometry: Geometry, confidence: bool, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray | None]:
    """torch_classify of scores (N, K, h, w) at stride 8."""
    axes = device_axes(coarse.shape[2:], geometry, 8, CPU)
    mask, probability = torch_classify(torch.from_numpy(coarse), *axes, confidence, temperature)
    return mask.numpy(), None if probability is None else probability.numpy()


RESIZES = [
    ((120, 160), (60, 80)),
    ((135, 240), (90, 160)),
    ((97, 61), (96, 60)),
    ((48, 64), (96, 128)),
]


@pytest.mark.parametrize(("source", "target"), RESIZES)
def test_device_resize_equals_opencv(source: tuple[int, int], target: tuple[int, int]) -> None:
    geometry = Geometry(source, target, (104, 168), source)
    frames = [
        frame(*(max(64, n) for n in source), seed)[: source[0], : source[1]] for seed in (1, 2)
    ]
    on_device = Resizer(geometry, CPU)(torch.from_numpy(np.stack(frames)))
    assert on_device.shape == (2, 3, 104, 168)
    expected = np.stack([resize(rgb, geometry) for rgb in frames])
    difference = np.abs(on_device.permute(0, 2, 3, 1).numpy() - expected)
    enlarges = target[0] > source[0]  # OpenCV's bilinear sums are truncated on the way
    assert difference.max() <= 1 and (difference > 0).mean() < (0.15 if enlarges else 0.05)


@pytest.mark.parametrize(("source", "target"), [(7, 3), (9, 9), (3, 7), (1, 4), (1920, 640)])
def test_area_matrix_rows_sum_to_one(source: int, target: int) -> None:
    np.testing.assert_allclose(area_matrix(source, target).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("size", [(96, 128), (107, 55), (360, 640)])
def test_upsampling_is_bilinear_at_half_pixel_centres(size: tuple[int, int]) -> None:
    """A linear ramp of scores must come out as a linear ramp in frame coordinates."""
    geometry = fit(size, (96, 128))
    cells = [side // 8 for side in geometry.network]
    for axis in (0, 1):
        centre = (np.arange(cells[axis]) + 0.5) * 8 / geometry.scale[axis]  # of a cell, in pixels
        position = size[axis] * 0.43 + 0.21
        ramp = (centre - position)[:, None] if axis == 0 else centre - position
        ramp = np.broadcast_to(ramp, cells)
        coarse = np.stack([0 * ramp, ramp])[None].astype(np.float32)
        mask, confidence = classify(coarse, geometry, True)
        line = (np.arange(size[axis]) + 0.5 > position).astype(np.uint8)
        expected = np.broadcast_to(line[:, None] if axis == 0 else line, size)
        np.testing.assert_array_equal(mask[0], expected)
        assert confidence is not None and confidence.min() >= 127


@pytest.mark.parametrize("size", [(96, 128), (135, 240), (64, 300), (301, 97)])
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.25])
def test_classes_are_those_of_torchs_interpolation(size: tuple[int, int], factor: float) -> None:
    geometry = fit(size, (96, 128)).scaled(factor)
    shape = (2, 4, geometry.network[0] // 8, geometry.network[1] // 8)
    coarse = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    # A hair up, so that rounding never makes the result a row short.
    scale = [8 * out / n * (1 + 1e-12) for out, n in zip(geometry.output, geometry.content)]
    full = F.interpolate(torch.from_numpy(coarse), scale_factor=scale, mode="bilinear")
    full = full[:, :, : geometry.output[0], : geometry.output[1]]
    mask, confidence = classify(coarse, geometry, True)
    assert (full.argmax(1).numpy() == mask).mean() > 0.999
    assert confidence is not None
    assert np.abs(full.softmax(1).amax(1).numpy() * 255 - confidence).max() < 0.6


@pytest.mark.parametrize(
    "geometry",
    [
        fit((96, 128), (96, 128)),
        fit((211, 283), (96, 128)),
        fit((45, 60), (96, 128)),
        fit((100, 300), (96, 128), (96, 160), "network"),
        fit((1, 700), (96, 128)),
        Geometry((30, 40), (8, 8), (8, 8), (30, 40)),
    ],
)
@pytest.mark.parametrize("kind", ["random", "ties", "huge", "not numbers"])
def test_classes_equal_those_on_the_host_bit_for_bit(geometry: Geometry, kind: str) -> None:
    random = np.random.default_rng(0)
    shape = (2, 11, geometry.network[0] // 8, geometry.network[1] // 8)
    coarse = random.normal(size=shape).astype(np.float32)
    if kind == "ties":
        coarse = coarse.round()
    elif kind == "huge":
        coarse *= np.float32(1e37)
    elif kind == "not numbers":
        coarse[:, 3, 0, 0] = np.nan
    mask, confidence = classify(coarse, geometry, True, 1.7)
    assert mask.dtype == np.uint8 and confidence is not None and confidence.dtype == np.uint8
    assert (mask == 255).any() == (kind == "not numbers")
    np.testing.assert_array_equal(classify(coarse, geometry, False)[0], mask)
    assert classify(coarse, geometry, False)[1] is None
    for n, scores in enumerate(coarse):
        np.testing.assert_array_equal(mask[n], upsample_argmax(scores, geometry, 8, False)[0])
        with np.errstate(invalid="ignore"):
            expected = upsample_argmax(scores, geometry, 8, True, temperature=1.7)[1]
        number = mask[n] != 255
        assert expected is not None
        assert np.abs(confidence[n].astype(int) - expected)[number].max(initial=0) <= 1
        assert not confidence[n][~number].any()


def test_merged_probabilities_equal_those_on_the_host() -> None:
    merged = (0, 7, 7, 1, 0, 255, 1, 7, 255, 3, 3)
    geometry, random = fit((90, 160), (96, 128)), np.random.default_rng(0)
    shape = (2, 11, geometry.network[0] // 8, geometry.network[1] // 8)
    coarse = random.normal(size=shape).astype(np.float32)
    rows, columns = device_axes(shape[2:], geometry, 8, CPU)
    groups = torch.from_numpy(merge_table(merged))
    masks, confidences = torch_classify(torch.from_numpy(coarse), rows, columns, True, 0.7, groups)
    assert confidences is not None
    for n, scores in enumerate(coarse):
        mask, confidence = upsample_argmax(scores, geometry, 8, True, merged, 0.7)
        np.testing.assert_array_equal(masks[n].numpy(), mask)
        assert confidence is not None
        assert np.abs(confidences[n].numpy().astype(int) - confidence).max() <= 1


@pytest.mark.parametrize("size", [(96, 128), (135, 240), (64, 100)])
def test_stages_agree_with_the_torch_backend(random_model: Path, size: tuple[int, int]) -> None:
    segmenter = Segmenter.load(random_model, backend="torch")
    geometry = segmenter.geometry(*size)
    info = read_info(random_model)
    stages = Stages(load_network(random_model, info), info, geometry, torch_classify)
    frames = np.stack([frame(*size, seed) for seed in range(2)])
    with torch.inference_mode():
        pixels = torch.from_numpy(frames)
        images = Resizer(geometry, CPU)(pixels).permute(0, 2, 3, 1).byte().numpy()
        coarse = stages.coarse(pixels).numpy()
        masks, confidences = (x.numpy() for x in stages(pixels, True))  # type: ignore[union-attr]
    own = Geometry(*[geometry.network] * 4)
    for n, image in enumerate(images):
        expected = segmenter.backend.logits(image, own)
        assert np.abs(coarse[n] - expected).max() < 1e-4 * np.abs(expected).max()
        mask, confidence = upsample_argmax(coarse[n], geometry, 8, True)
        np.testing.assert_array_equal(masks[n], mask)
        assert confidence is not None
        assert np.abs(confidences[n].astype(int) - confidence).max() <= 1


class OneDevice(TorchDispatchMode):
    """Refuses what touches another device than one, or waits for it to learn a value.

    Sizes that depend on values have no answer on the device "meta", which holds no values.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in torch.utils._pytree.tree_leaves((args, kwargs, out)):
            if isinstance(x, Tensor) and x.device.type != self.device:
                raise RuntimeError(f"{func} on {x.device}")
        return out


@pytest.mark.parametrize("name", architectures())
def test_nothing_in_the_stages_waits_for_the_device(
    name: str, random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CUDA graph needs, on a device without values."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # "meta" has none
    geometry = fit((100, 300), (96, 128), (96, 160))
    network = build(name, num_classes=11).eval().to("meta", torch.float16)
    stages = Stages(network, read_info(random_model), geometry, torch_classify)
    pixels = torch.empty((2, 100, 300, 3), dtype=torch.uint8, device="meta")
    with torch.inference_mode(), OneDevice("meta"):
        mask, confidence = stages(pixels, True)
    assert confidence is not None
    assert mask.shape == confidence.shape == (2, 100, 300)


@pytest.mark.parametrize(
    "step",
    [
        lambda x: x * x.amax().item(),
        lambda x: x[x > 0].sum() + x,
        lambda x: x + torch.nonzero(x).shape[0],
        lambda x: x if (x > 0).any() else -x,
        lambda x: x * torch.tensor([2.0]).to(x.device),
        lambda x: x.cpu().to(x.device),
    ],
)
def test_what_waits_for_the_device_is_found(step: Any) -> None:
    class Waits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return step(x)

    x = torch.empty((1, 3, 8, 8), device="meta")
    with (
        torch.inference_mode(),
        OneDevice("meta"),
        pytest.raises((RuntimeError, NotImplementedError)),
    ):
        Waits()(x)
