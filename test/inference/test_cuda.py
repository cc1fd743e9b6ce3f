# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cuda backend on a GPU: graph, plain stages, kernels and the torch backend agree."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch finds no GPU; `make gpu` runs these tests on one", allow_module_level=True)

from test_postprocess import GEOMETRIES, KINDS, STRIDE, logits  # noqa: E402

from lrn_ros import Segmenter  # noqa: E402
from lrn_ros.inference.backends.cuda import CudaBackend, Engine  # noqa: E402
from lrn_ros.inference.device_code import Stages  # noqa: E402
from lrn_ros.inference.geometry import Geometry  # noqa: E402
from lrn_ros.inference.postprocess import upsample_argmax  # noqa: E402
from lrn_ros.inference.result import Result  # noqa: E402
from lrn_ros.scene import StreetScene  # noqa: E402

pytestmark = pytest.mark.gpu
MODEL = "lrnnet_c_camvid"
SIZES = [(360, 480), (720, 1280), (135, 240), (300, 97)]
Load = Callable[..., Segmenter]


def frames(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Street scenes, cropped where a side is below the scene's smallest."""
    height, width = (max(64, n) for n in size)
    scenes = (StreetScene(seed=seed, height=height, width=width) for seed in range(count))
    return [scene.frame(0)[0][: size[0], : size[1]] for scene in scenes]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load(MODEL, backend="cuda")


def backend(segmenter: Segmenter) -> CudaBackend:
    assert isinstance(segmenter.backend, CudaBackend)
    return segmenter.backend


def same(one: Result, other: Result) -> None:
    np.testing.assert_array_equal(one.mask, other.mask)
    assert (one.confidence is None) == (other.confidence is None)
    if one.confidence is not None and other.confidence is not None:
        np.testing.assert_array_equal(one.confidence, other.confidence)


def without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Engine, stream: torch.cuda.Stream) -> None:
        raise RuntimeError("not wanted")

    monkeypatch.setattr(Engine, "capture", fail)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("confidence", [False, True])
def test_graph_equals_plain_stages(
    segmenter: Segmenter,
    size: tuple[int, int],
    confidence: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = frames(3, size)
    with caplog.at_level(logging.WARNING):
        captured = [segmenter(rgb, confidence=confidence) for rgb in images]
    assert not caplog.records  # the capture did not fail
    without_graphs(monkeypatch)
    plain = Segmenter.load(MODEL, backend="cuda")
    for rgb, result in zip(images, captured):
        same(plain(rgb, confidence=confidence), result)
    assert "no CUDA graph" in caplog.text


@pytest.mark.parametrize("size", SIZES[:3])
@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.995), ("bf16", 0.99), ("fp32", 0.997)])
def test_agrees_with_the_torch_backend(size: tuple[int, int], precision: str, share: float) -> None:
    ours, torchs = (
        Segmenter.load(MODEL, backend=b, precision=p)
        for b, p in (("cuda", precision), ("torch", "fp32"))
    )
    agreement = [(ours(rgb).mask == torchs(rgb).mask).mean() for rgb in frames(4, size)]
    print(f"{precision} {size}: {np.mean(agreement):.4%} of the pixels as torch in fp32")
    assert np.mean(agreement) >= share


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("classes", [1, 11, 19, 255])
def test_masks_equal_those_of_the_cpu(
    segmenter: Segmenter, geometry: Geometry, classes: int
) -> None:
    cells = [-(-side // STRIDE) for side in geometry.network]
    scores = np.stack([logits(kind, (classes, *cells)) for kind in KINDS])
    kept = [torch.from_numpy(scores).cuda()]

    def upload(table: np.ndarray) -> int:
        kept.append(torch.tensor(table, device="cuda"))
        return int(kept[-1].data_ptr())

    shape = scores.shape[0], classes, cells[0], cells[1]
    stages = Stages(backend(segmenter)._kernels, geometry, shape, STRIDE, upload)
    planes = torch.empty((2, len(KINDS), *geometry.output), dtype=torch.uint8, device="cuda")
    stream = torch.cuda.current_stream().cuda_stream
    ends = kept[0].data_ptr(), planes[0].data_ptr(), planes[1].data_ptr()
    assert stages.make_masks(*ends, stream)
    masks, confidences = planes.cpu().numpy()
    for n, coarse in enumerate(scores):
        mask, confidence = upsample_argmax(coarse, geometry, STRIDE, True)
        np.testing.assert_array_equal(masks[n], mask, err_msg=KINDS[n])
        assert np.abs(confidences[n].astype(int) - confidence).max() <= 1, KINDS[n]


@pytest.mark.parametrize("batch", [2, 4])
def test_batches_agree_with_single_frames(segmenter: Segmenter, batch: int) -> None:
    size = (360, 480)
    images, geometry = frames(batch, size), segmenter.geometry(*size)
    together = segmenter.backend.run(images, geometry, True)
    assert len(together) == batch
    for rgb, result in zip(images, together):
        alone = segmenter(rgb, confidence=True)
        assert (alone.mask == result.mask).mean() >= 0.998  # other kernels, other rounding
        assert result.timings.batch == batch and result.timings.total_ms > 0
        assert result.timings.fused == ("preprocess", "postprocess")


def test_results_are_not_overwritten_by_the_next_frame(segmenter: Segmenter) -> None:
    first, second = frames(2, (360, 480))
    result = segmenter(first, confidence=True)
    kept = result.mask.copy()
    segmenter(second, confidence=True)
    np.testing.assert_array_equal(result.mask, kept)
    assert not np.array_equal(segmenter(second).mask, kept)


def test_prepare_beside_running_frames() -> None:
    """Frames of one size go on, with the same masks, while other sizes compile."""
    segmenter = Segmenter.load(MODEL, backend="cuda")
    (rgb,) = frames(1, (360, 480))
    expected = segmenter(rgb, confidence=True)
    others = [segmenter.geometry(*size) for size in SIZES[1:]]
    failures: list[Exception] = []

    def compile_others() -> None:
        try:
            for batch in (1, 2):
                for geometry in others:
                    segmenter.backend.prepare(geometry, batch)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=compile_others)
    thread.start()
    count, longest = 0, 0.0
    while thread.is_alive():
        start = time.perf_counter()
        same(segmenter(rgb, confidence=True), expected)
        count, longest = count + 1, max(longest, time.perf_counter() - start)
    thread.join()
    print(f"{count} frames beside 6 compilations, the slowest in {longest * 1e3:.0f} ms")
    assert not failures and count > 0
    assert all(segmenter.backend.prepared(geometry, 2) for geometry in others)
    for size in SIZES[1:]:
        (other,) = frames(1, size)
        same(segmenter(other), Segmenter.load(MODEL, backend="cuda")(other))


def test_memory_does_not_grow(segmenter: Segmenter) -> None:
    """Over 1,000 frames, nor when more sizes come by than are kept."""
    (rgb,) = frames(1, (360, 480))
    segmenter(rgb)
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    for n in range(1000):
        segmenter(rgb, confidence=n % 2 == 0)
    assert (torch.cuda.memory_allocated(), torch.cuda.memory_reserved()) == before
    used = []
    for _ in range(3):
        for height in range(100, 220, 10):
            segmenter(np.zeros((height, 200, 3), np.uint8))
        used.append(torch.cuda.memory_reserved())
    assert used[2] <= used[1] * 1.05


@pytest.mark.parametrize(("size", "batch"), [((360, 480), 1), ((360, 480), 4), ((720, 1280), 1)])
def test_throughput(
    segmenter: Segmenter,
    size: tuple[int, int],
    batch: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Prints what a batch takes, with and without the graph; the graph is not the slower one."""
    images, geometry = frames(batch, size), segmenter.geometry(*size)

    def median(runner: Segmenter) -> float:
        for _ in range(20):
            runner.backend.run(images, geometry, False)
        return float(
            np.median(
                [
                    runner.backend.run(images, geometry, False)[0].timings.total_ms
                    for _ in range(200)
                ]
            )
        )

    graph = median(segmenter)
    without_graphs(monkeypatch)
    plain = median(Segmenter.load(MODEL, backend="cuda"))
    name = backend(segmenter).device_name
    print(
        f"{name}: {batch} x {size}: graph {graph:.2f} ms ({batch * 1e3 / graph:.0f} frames/s),"
        f" plain {plain:.2f} ms"
    )
    assert graph <= plain
