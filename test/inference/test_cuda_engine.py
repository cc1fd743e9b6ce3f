# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cuda backend's buffers, graphs, engines and locks on the CPU, with a stand-in for CUDA.

Its graph records operators and kernels between fixed tensors and replays them there, so that
whatever the backend would have to do anew for every frame gives the result of an earlier one. The
kernels are those of the GPU, compiled as C++.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cuda.bindings.driver")

from kernel_shim import StandInDriver  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from lrn_ros.inference import device_code  # noqa: E402
from lrn_ros.inference.backends import cuda  # noqa: E402
from lrn_ros.inference.backends import torch as torch_cpu  # noqa: E402
from lrn_ros.inference.backends.base import BackendError, BackendOptions  # noqa: E402
from lrn_ros.inference.cache import MAX_ENGINES, EngineCache  # noqa: E402
from lrn_ros.inference.cuda_graph import Gpu  # noqa: E402
from lrn_ros.inference.device_code import Kernels  # noqa: E402
from lrn_ros.inference.geometry import Geometry, fit  # noqa: E402
from lrn_ros.inference.postprocess import upsample_argmax  # noqa: E402
from lrn_ros.inference.preprocess import resize  # noqa: E402
from lrn_ros.inference.result import Result  # noqa: E402
from lrn_ros.model.artifact import read_info  # noqa: E402
from lrn_ros.networks import architectures, build  # noqa: E402

SIZES = [(64, 96), (45, 60), (30, 100)]
RECORDING: list[Graph] = []  # the graph that is captured


def enqueue(work: Callable[[], None]) -> None:
    """Run a kernel at once, and take it into the graph that is captured."""
    work()
    if RECORDING:
        RECORDING[0].calls.append(work)


class Graph(TorchDispatchMode):
    """Stands in for torch.cuda.CUDAGraph."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], None]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))

        def again() -> None:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **(kwargs or {})))):
                if isinstance(old, Tensor):
                    old.copy_(new)

        self.calls.append(again)
        return out

    def pool(self) -> int:
        return 0

    def replay(self) -> None:
        for again in self.calls:
            again()


class Stream:
    """Stands in for torch.cuda.Stream, one that is never behind."""

    def __init__(self, device: torch.device) -> None:
        pass

    def synchronize(self) -> None:
        pass


@contextmanager
def capture(graph: Graph, pool: Any, stream: Stream, capture_error_mode: str) -> Iterator[None]:
    assert capture_error_mode == "thread_local"
    with graph:
        RECORDING.append(graph)
        yield
        RECORDING.pop()


Make = Callable[..., cuda.CudaBackend]


@pytest.fixture
def make(random_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Makes the backend in fp32 with further BackendOptions, on the CPU."""
    monkeypatch.setattr(device_code, "driver", StandInDriver(enqueue))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=7))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "stand-in")
    kernels = Kernels((8, 9), "13000", EngineCache(tmp_path))

    def create(**options: Any) -> cuda.CudaBackend:
        wanted = BackendOptions(**{"precision": "fp32", **options})
        device = torch.device("cpu")
        return cuda.CudaBackend(random_model, read_info(random_model), wanted, device, kernels)

    return create


@pytest.fixture
def backend(make: Make) -> cuda.CudaBackend:
    return make()


def geometry(size: tuple[int, int]) -> Geometry:
    return fit(size, (64, 64))


def frames(count: int, size: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    """Large spots of colour, so that neither masks nor confidences of two frames are alike."""
    random = np.random.default_rng(seed)
    spots = random.integers(0, 255, (count, -(-size[0] // 8), -(-size[1] // 8), 3), np.uint8)
    return list(spots.repeat(8, 1).repeat(8, 2)[:, : size[0], : size[1]])


def plain(model: Path, images: list[np.ndarray]) -> list[Result]:
    """The results of the torch backend, whose scaling and masks are the CPU's own."""
    cpu = torch_cpu.create(model, read_info(model), BackendOptions())
    size = images[0].shape[:2]
    return cpu.run(images, geometry((size[0], size[1])), True)


def check(backend: cuda.CudaBackend, model: Path, images: list[np.ndarray]) -> None:
    """Both with and without confidences the masks are those of the CPU, bit for bit."""
    expected = plain(model, images)
    size = images[0].shape[:2]
    for wanted in (True, False):
        results = backend.run(images, geometry((size[0], size[1])), wanted)
        assert len(results) == len(images)
        for result, cpu in zip(results, expected):
            np.testing.assert_array_equal(result.mask, cpu.mask)
            assert (result.confidence is not None) == wanted
            if wanted:  # the sum of the exponentials is rounded in another order
                difference = np.abs(result.confidence.astype(int) - cpu.confidence)
                assert difference.max() <= 1 and (difference > 0).mean() < 0.01
            assert result.timings.fused == ("preprocess", "postprocess")
            assert result.timings.total_ms > 0 and result.timings.batch == len(images)


def test_probabilities_of_merged_classes_are_added_up(
    backend: cuda.CudaBackend, make: Make
) -> None:
    merged = (0, 0, 0, 0, 4, 4, 6, 6, 6, 255, 255)  # two of them win in the pictures: 4 and 5
    merging = make(merged=merged)
    images = frames(1, SIZES[0])
    for _ in range(2):  # the second time from the graph
        (result,) = merging.run(images, geometry(SIZES[0]), True)
    coarse = merging.logits(images[0], geometry(SIZES[0]))
    mask, confidence = upsample_argmax(coarse, geometry(SIZES[0]), merging.stride, True, merged)
    np.testing.assert_array_equal(result.mask, mask)
    assert confidence is not None and result.confidence is not None
    assert np.abs(result.confidence.astype(int) - confidence).max() <= 1
    (alone,) = backend.run(images, geometry(SIZES[0]), True)
    assert alone.confidence is not None
    assert result.confidence.astype(int).sum() > alone.confidence.astype(int).sum()


@pytest.mark.parametrize("batch", [1, 3])
def test_replays_equal_the_plain_stages(
    backend: cuda.CudaBackend, random_model: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in SIZES:
        assert not backend.prepared(geometry(size), batch)
        backend.prepare(geometry(size), batch)
        assert backend.prepared(geometry(size), batch)
        assert not backend.prepared(geometry(size), batch + 1)
    for seed in (1, 2):
        for size in SIZES:
            check(backend, random_model, frames(batch, size, seed))
    images = frames(batch, SIZES[0], 3)
    expected = backend.run(images, geometry(SIZES[0]), True)
    monkeypatch.setattr(cuda.Engine, "scores", None)  # only the graph is left
    again = backend.run(images, geometry(SIZES[0]), True)
    for one, other in zip(expected, again):
        np.testing.assert_array_equal(one.mask, other.mask)


def test_results_are_not_overwritten(backend: cuda.CudaBackend) -> None:
    first, second = frames(2, SIZES[0])
    result = backend.run([first], geometry(SIZES[0]), True)[0]
    kept = result.mask.copy()
    other = backend.run([second], geometry(SIZES[0]), True)[0]
    np.testing.assert_array_equal(result.mask, kept)
    assert not np.array_equal(other.mask, kept)


def test_frames_need_not_be_contiguous_or_writable(
    backend: cuda.CudaBackend, random_model: Path
) -> None:
    (rgb,) = frames(1, SIZES[0])
    strange = np.zeros((*SIZES[0], 5), np.uint8)[..., ::-1][..., 1:4]
    strange[:] = rgb
    strange.flags.writeable = False
    np.testing.assert_array_equal(
        backend.run([strange], geometry(SIZES[0]), False)[0].mask,
        plain(random_model, [rgb])[0].mask,
    )


def test_logits_are_those_behind_the_mask(backend: cuda.CudaBackend) -> None:
    (rgb,) = frames(1, SIZES[1])
    coarse = backend.logits(rgb, geometry(SIZES[1]))
    assert coarse.shape == (11, 8, 11) and coarse.dtype == np.float32
    mask, _ = upsample_argmax(coarse, geometry(SIZES[1]), backend.stride, False)
    np.testing.assert_array_equal(mask, backend.run([rgb], geometry(SIZES[1]), False)[0].mask)


@pytest.mark.parametrize("confidence", [False, True])
def test_smoothing_follows_the_network(backend: cuda.CudaBackend, confidence: bool) -> None:
    """Every frame's scores and resized picture are given out; the mask is of what comes back."""
    size = SIZES[1]
    images, seen = frames(2, size), []

    def double(scores: np.ndarray, image: np.ndarray) -> np.ndarray:
        seen.append((scores, image))
        return scores * np.float32(-2)

    results = backend.run(images, geometry(size), confidence, [double, double])
    assert [r.timings.batch for r in results] == [2, 2]
    for rgb, result, (scores, image) in zip(images, results, seen):
        np.testing.assert_allclose(scores, backend.logits(rgb, geometry(size)), rtol=0, atol=0.01)
        np.testing.assert_array_equal(image, resize(rgb, geometry(size)))
        mask, probability = upsample_argmax(
            scores * np.float32(-2), geometry(size), backend.stride, confidence
        )
        np.testing.assert_array_equal(result.mask, mask)
        np.testing.assert_array_equal(result.confidence, probability)


def test_a_failed_capture_is_said_once_and_frames_go_on(
    backend: cuda.CudaBackend,
    random_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @contextmanager
    def fail(*_: Any, **__: Any) -> Iterator[None]:
        raise RuntimeError("operation not permitted\nand more")
        yield

    monkeypatch.setattr(torch.cuda, "graph", fail)
    caplog.clear()
    for seed in range(3):
        check(backend, random_model, frames(1, SIZES[0], seed))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "no CUDA graph" in record.message and "operation not permitted" in record.message


def test_a_kernel_that_cannot_be_started(
    backend: cuda.CudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_code.driver, "can_launch", False)
    with pytest.raises(BackendError, match="the kernel make_images could not be started"):
        backend.prepare(geometry(SIZES[0]))
    assert not backend.prepared(geometry(SIZES[0]))


def test_the_engines_used_last_are_kept(backend: cuda.CudaBackend) -> None:
    sizes = [(64, 64 + 8 * n) for n in range(MAX_ENGINES + 1)]
    for size in sizes[:-1]:
        backend.prepare(geometry(size))
    backend.run(frames(1, sizes[0]), geometry(sizes[0]), False)
    backend.prepare(geometry(sizes[-1]))
    kept = [backend.prepared(geometry(size)) for size in sizes]
    assert kept == [True, False, *[True] * (MAX_ENGINES - 1)]


def test_prepare_beside_running_frames(backend: cuda.CudaBackend, random_model: Path) -> None:
    images = frames(1, SIZES[0])
    expected = plain(random_model, images)[0].mask
    backend.prepare(geometry(SIZES[0]))
    threads = [
        threading.Thread(target=backend.prepare, args=(geometry(SIZES[1]), batch))
        for batch in (1, 1, 2)
    ]
    for thread in threads:
        thread.start()
    count = 0
    while any(thread.is_alive() for thread in threads) or not count:
        result = backend.run(images, geometry(SIZES[0]), False)[0]
        np.testing.assert_array_equal(result.mask, expected)
        assert backend.prepared(geometry(SIZES[0]))
        count += 1
    assert backend.prepared(geometry(SIZES[1]), 1) and backend.prepared(geometry(SIZES[1]), 2)
    check(backend, random_model, frames(2, SIZES[1]))


def test_too_little_memory_names_the_batch(
    backend: cuda.CudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: cuda.Engine) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cuda.Engine, "scores", fail)
    with pytest.raises(BackendError, match="stand-in has too little memory for 3 frames of"):
        backend.prepare(geometry(SIZES[0]), 3)
    assert not backend.prepared(geometry(SIZES[0]), 3)


def test_what_cuda_refuses_is_said_in_a_line(
    backend: cuda.CudaBackend, random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that "auto" goes on: torch lacks kernels for the GPU, say."""

    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")

    says = "no kernel image is available$"
    with monkeypatch.context() as patch, pytest.raises(BackendError, match=f"^stand-in .*{says}"):
        patch.setattr(cuda.Engine, "scores", fail)
        backend.prepare(geometry(SIZES[0]))
    assert not backend.prepared(geometry(SIZES[0]))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda, "find_gpu", lambda index: Gpu(index, "stand-in", (8, 9), "13000"))
    monkeypatch.setattr(torch.cuda, "get_device_name", fail)
    with pytest.raises(BackendError, match=f"^GPU 0 cannot take the model: .*{says}"):
        cuda.create(random_model, read_info(random_model), BackendOptions())


@pytest.mark.parametrize(
    ("capability", "loads", "says"),
    [
        ((5, 2), True, "compiles for compute capability 7.5 and newer, this GPU has 5.2"),
        ((8, 9), False, "cannot load what NVRTC .* compiles; update the driver"),
    ],
)
@pytest.mark.usefixtures("make")
def test_a_gpu_or_a_driver_that_is_too_old(
    capability: tuple[int, int],
    loads: bool,
    says: str,
    random_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda, "find_gpu", lambda index: Gpu(index, "stand-in", capability, "12000"))
    monkeypatch.setattr(device_code.driver, "takes", lambda code: loads)
    with pytest.raises(BackendError, match=says) as caught:
        options = BackendOptions(cache_dir=tmp_path / "cache")
        cuda.create(random_model, read_info(random_model), options)
    assert "\n" not in str(caught.value)


def test_there_is_no_int8(make: Make) -> None:
    with pytest.raises(BackendError, match="fp32, fp16 and bf16 work"):
        make(precision="int8")


class OneDevice(TorchDispatchMode):
    """Refuses what touches another device than one, or waits for it to learn a value.

    Sizes that depend on values have no answer on the device "meta", which holds no values.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves((args, kwargs, out)):
            if isinstance(x, Tensor) and x.device.type != self.device:
                raise RuntimeError(f"{func} on {x.device}")
        return out


@pytest.mark.parametrize("name", architectures())
@pytest.mark.usefixtures("make")
def test_nothing_waits_for_the_device(
    name: str, random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CUDA graph needs, on a device without values."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # "meta" has none
    network = build(name, num_classes=11).eval().to("meta", torch.float16)
    kernels: Any = SimpleNamespace(launch=lambda *_: True)
    info = read_info(random_model)
    engine = cuda.Engine(network, info, fit((100, 300), (96, 128), (96, 160)), 2, kernels)
    with torch.inference_mode(), OneDevice("meta"):
        scores = engine.scores()
    stride = int(network.stride)
    assert scores.shape == (2, 11, 96 // stride, 160 // stride) and scores.is_contiguous()


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
