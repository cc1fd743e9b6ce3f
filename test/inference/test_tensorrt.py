# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tensorrt backend on a stand-in for the GPU: buffers, graph, cache and what it refuses."""

from __future__ import annotations

import gc
import importlib
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

runtime = pytest.importorskip("cuda.bindings.runtime")
pytest.importorskip("tensorrt_rtx")

from gpu_stand_in import StandInGpu, StandInTensorRt, closed_form  # noqa: E402
from kernel_shim import StandInDriver  # noqa: E402

from lrn_ros import Segmenter  # noqa: E402
from lrn_ros.cli import main  # noqa: E402
from lrn_ros.errors import RunError, UserError  # noqa: E402
from lrn_ros.inference import cuda_graph, device_code  # noqa: E402
from lrn_ros.inference.backends import base, tensorrt  # noqa: E402
from lrn_ros.inference.backends.tensorrt import _precision  # noqa: E402
from lrn_ros.inference.postprocess import upsample, upsample_argmax  # noqa: E402
from lrn_ros.inference.preprocess import resize  # noqa: E402

MODEL = Path(__file__).parents[2] / "weights" / "lrnnet_c_camvid.onnx"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInGpu]:
    """Check that everything that a test allocates is freed after it."""
    gpu = StandInGpu()
    monkeypatch.setattr(cuda_graph, "cudart", gpu)
    gpu.kernels = StandInDriver(gpu.enqueue)
    monkeypatch.setattr(device_code, "driver", gpu.kernels)
    monkeypatch.setattr(base, "_DRIVER", "libc.so.6")  # a library that is there
    yield gpu
    gc.collect()
    assert not gpu.live and not gpu.kernels.loaded


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def trt(
    request: pytest.FixtureRequest, gpu: StandInGpu, monkeypatch: pytest.MonkeyPatch
) -> StandInTensorRt:
    trt = StandInTensorRt(gpu)
    monkeypatch.setattr(tensorrt, "trt", trt)
    monkeypatch.setattr(tensorrt, "RTX", request.param == "tensorrt_rtx")
    return trt


Load = Callable[..., Segmenter]


@pytest.fixture
def builds() -> list[tuple[int, ...]]:
    """Shapes built."""
    return []


@pytest.fixture
def load(
    trt: StandInTensorRt,
    builds: list[tuple[int, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Load:
    def build(model: Path, shape: tuple[int, ...], capability: tuple[int, int]) -> bytes:
        logging.getLogger("lrn_ros").info("built")
        builds.append(shape)
        return trt.build(model, shape, capability)

    def call(model: str | Path = MODEL, **options: object) -> Segmenter:
        options = {"backend": "tensorrt", "cache_dir": tmp_path / "cache"} | options
        return Segmenter.load(model, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tensorrt, "build", build)
    return call


def frame(height: int, width: int, seed: int = 1) -> np.ndarray:
    """Cells of random colours."""
    shape = height // 8, width // 8, 3
    cells = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return cells.repeat(8, axis=0).repeat(8, axis=1)


def test_logits_and_masks_equal_the_closed_form(load: Load) -> None:
    size = 96, 128
    segmenter = load(network_size=size)
    backend, geometry = segmenter.backend, segmenter.geometry(*size)
    assert (backend.name, backend.precision, backend.stride) == ("tensorrt", "fp32", 8)
    assert (backend.device_name, backend.batches) == ("Stand-in 4090", True)
    frames = [frame(*size, seed) for seed in (1, 2, 3)]
    expected = closed_form(np.stack(frames)).astype(np.float32)
    for rgb, scores in zip(frames, expected):
        np.testing.assert_allclose(backend.logits(rgb, geometry), scores, atol=1e-6)
    for count in (1, 3, 2):
        results = backend.run(frames[:count], geometry, False)
        for result, scores in zip(results, expected):
            np.testing.assert_array_equal(result.mask, upsample(scores, geometry, 8).argmax(0))


def test_frames_of_any_size_cross_once_and_masks_come_back(load: Load, gpu: StandInGpu) -> None:
    """Scaled, with a border, upsampled, with confidences and without, beside the CPU's results."""
    segmenter = load(network_size=(96, 160))
    for size, output in (((211, 283), "input"), ((100, 300), "network"), ((45, 60), "input")):
        rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        geometry = segmenter.geometry(*size, output)
        scores = closed_form(resize(rgb, geometry)[None])[0].astype(np.float32)
        mask, confidence = upsample_argmax(scores, geometry, 8, True)
        gpu.calls.clear()
        for asked in (True, False):
            (result,) = segmenter.backend.run([rgb], geometry, asked)
            np.testing.assert_array_equal(result.mask, mask)
            assert (result.confidence is None) is not asked
            assert (result.timings.fused, result.timings.batch) == (
                ("preprocess", "postprocess"),
                1,
            )
            if result.confidence is not None:
                assert np.abs(result.confidence - confidence.astype(int)).max() <= 1  # type: ignore[union-attr]


def test_smoothing_sees_the_scores_and_the_scaled_frame(load: Load) -> None:
    segmenter = load(network_size=(96, 160))
    rgb = frame(104, 144)
    geometry, seen = segmenter.geometry(104, 144), []

    def smooth(scores: np.ndarray, image: np.ndarray) -> np.ndarray:
        seen.append((scores.copy(), image))
        return scores[::-1].copy()

    (result,) = segmenter.backend.run([rgb], geometry, True, [smooth])
    ((scores, image),) = seen
    np.testing.assert_array_equal(image, resize(rgb, geometry))
    np.testing.assert_allclose(scores, closed_form(image[None])[0], atol=1e-6)
    mask, _ = upsample_argmax(scores[::-1].copy(), geometry, 8, False)
    np.testing.assert_array_equal(result.mask, mask)
    assert result.timings.fused == ("preprocess",)


def test_one_capture_and_one_set_of_buffers_for_many_frames(
    load: Load, gpu: StandInGpu, trt: StandInTensorRt
) -> None:
    segmenter = load(network_size=(96, 128), device=1)
    geometry = segmenter.geometry(96, 128)
    assert not segmenter.backend.prepared(geometry)
    segmenter.backend.prepare(geometry)
    assert segmenter.backend.prepared(geometry)
    way = ["cudaMemcpyAsync", "cudaMemcpyAsync"]  # there and back, whichever way it is
    capture = ["cudaStreamBeginCapture", *way, "cudaStreamEndCapture", "cudaGraphInstantiate"]
    assert gpu.calls[gpu.calls.index("cudaStreamCreateWithFlags") :] == [
        "cudaStreamCreateWithFlags",
        *("cudaMallocHost", "cudaMalloc"),  # frames
        "cudaMalloc",  # the network's input
        *("cudaMallocHost", "cudaMalloc"),  # scores
        *("cudaMallocHost", "cudaMalloc"),  # masks and confidences
        *(15 * ["cudaMalloc", "cudaMemcpy"]),  # tables of the kernels
        *(3 * [*way, "cudaStreamSynchronize"]),
        *(3 * capture),
    ]
    assert gpu.modes == 3 * [runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal]
    gpu.calls.clear()
    for seed in range(5):
        rgb = frame(96, 128, seed)
        logits = segmenter.backend.logits(rgb, geometry)
        np.testing.assert_allclose(logits, closed_form(rgb[None])[0], atol=1e-6)
    assert gpu.calls == 5 * ["cudaSetDevice", "cudaGraphLaunch", "cudaStreamSynchronize"]
    assert [context.runs for context in trt.contexts] == [6]  # before the captures, and in them


def test_without_a_graph_it_runs_and_says_so_once(
    load: Load, gpu: StandInGpu, trt: StandInTensorRt, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.can_capture = False
    segmenter = load(network_size=(96, 128))
    geometry = segmenter.geometry(96, 128)
    for seed in range(3):
        rgb = frame(96, 128, seed)
        logits = segmenter.backend.logits(rgb, geometry)
        np.testing.assert_allclose(logits, closed_form(rgb[None])[0], atol=1e-6)
    assert caplog.text.count("no CUDA graph, slower without: CUDA: ") == 1
    assert [context.runs for context in trt.contexts] == [3 + 1 + 3]
    assert "cudaGraphLaunch" not in gpu.calls


def test_engines_that_are_not_kept_in_memory_are_freed(load: Load, gpu: StandInGpu) -> None:
    segmenter = load()
    for width in range(64, 64 + 8 * 20, 8):
        segmenter.backend.prepare(replace(segmenter.geometry(64, 64), network=(64, width)))
    kinds = {"stream": 16, "memory": 16 * 19, "pinned": 48, "graph": 48, "executable": 48}
    assert Counter(gpu.live.values()) == kinds
    del segmenter
    gc.collect()
    assert not gpu.live


@pytest.mark.parametrize("allocations", [0, 1, 3, 18])
def test_out_of_memory(load: Load, gpu: StandInGpu, allocations: int) -> None:
    segmenter = load(network_size=(96, 128))
    gpu.memory = allocations
    geometry = segmenter.geometry(96, 128)
    with pytest.raises(
        base.BackendError, match=r"at \[1, 96, 128\] on .*: CUDA: out of memory.*smaller"
    ):
        segmenter.backend.prepare(geometry)
    gc.collect()
    assert not gpu.live and not segmenter.backend.prepared(geometry)
    gpu.memory = 19
    segmenter.backend.prepare(geometry)


def test_no_memory_for_the_engine_itself(load: Load, trt: StandInTensorRt) -> None:
    trt.can_start, trt.complaint = False, "Error Code 2: out of memory"
    segmenter = load()
    with pytest.raises(base.BackendError, match="Error Code 2: out of memory; a smaller network"):
        segmenter.backend.prepare(segmenter.geometry(96, 128))


def test_why_an_engine_does_not_run_is_said(load: Load, trt: StandInTensorRt) -> None:
    """The reason is the error of this call, and not one that an earlier call has left."""
    segmenter = load()
    tensorrt.LOGGER.log(tensorrt.LOGGER.ERROR, "of something else")  # type: ignore[attr-defined]
    trt.can_run, trt.complaint = False, "Error Code 1: Cask kernel not found"
    says = r"at \[1, 96, 128\] on .*: the engine could not be started: Error Code 1: Cask"
    with pytest.raises(base.BackendError, match=says):
        segmenter.backend.prepare(replace(segmenter.geometry(96, 128), network=(96, 128)))


def test_a_kernel_that_is_not_launched(load: Load, gpu: StandInGpu) -> None:
    segmenter = load(network_size=(96, 128))
    gpu.kernels.can_launch = False
    with pytest.raises(base.BackendError, match="the frames could not be scaled"):
        segmenter.backend.prepare(segmenter.geometry(96, 128))


def test_a_driver_too_old_for_nvrtc(load: Load, gpu: StandInGpu) -> None:
    gpu.kernels.takes = lambda code: False
    with pytest.raises(base.BackendError, match="the driver cannot load what NVRTC"):
        load()


def test_what_an_engine_was_started_with_lives_as_long(load: Load, trt: StandInTensorRt) -> None:
    segmenter = load(network_size=(96, 128))
    segmenter(frame(96, 128))
    gc.collect()
    assert len(trt.configs) == (1 if tensorrt.RTX else 0)
    del segmenter
    gc.collect()
    assert not trt.configs


def test_a_gpu_that_fails_while_running(load: Load, gpu: StandInGpu) -> None:
    segmenter = load(network_size=(96, 128))
    segmenter(frame(96, 128))
    lost = runtime.cudaError_t.cudaErrorIllegalAddress
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StandInGpu, "_cudaStreamSynchronize", lambda self, stream: lost)
        with pytest.raises(RunError, match="an illegal memory access"):
            segmenter(frame(96, 128))


def test_prepares_one_shape_while_another_runs(
    load: Load, trt: StandInTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = load(network_size=(96, 128))
    geometry, rgb = segmenter.geometry(96, 128), frame(96, 128)
    expected = segmenter(rgb).mask
    building, go_on = threading.Event(), threading.Event()

    def build(*arguments: object) -> bytes:
        building.set()
        assert go_on.wait(10)
        return trt.build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tensorrt, "build", build)
    prepare = segmenter.backend.prepare
    threads = [threading.Thread(target=prepare, args=(geometry, 2)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert building.wait(10)
    np.testing.assert_array_equal(segmenter(rgb).mask, expected)
    assert not segmenter.backend.prepared(geometry, 2)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert segmenter.backend.prepared(geometry, 2)
    assert len(trt.contexts) == 2  # one a shape


def entries(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.iterdir()}


def test_second_time_comes_from_the_cache(
    load: Load, trt: StandInTensorRt, builds: list, tmp_path: Path
) -> None:
    rgb = frame(96, 128)
    expected = load(network_size=(96, 128))(rgb).mask
    before = entries(tmp_path / "cache")
    np.testing.assert_array_equal(load(network_size=(96, 128))(rgb).mask, expected)
    assert builds == [(1, 96, 128)] and entries(tmp_path / "cache") == before
    rtx = tensorrt.RTX
    assert trt.kernels == ([None, b"kernels"] if rtx else [])
    assert len(before) == (3 if rtx else 2)  # the engine, its kernels, the kernels around it


@pytest.mark.parametrize("attribute", ["name", "driver"])
def test_another_gpu_or_driver_gets_its_own_engine(
    load: Load, gpu: StandInGpu, builds: list, attribute: str
) -> None:
    other = {"name": b"Stand-in 3060", "driver": 12080}[attribute]
    rgb, mine = frame(96, 128), getattr(gpu, attribute)
    for value in (mine, other, mine, other):
        setattr(gpu, attribute, value)
        load(network_size=(96, 128))(rgb)
    assert len(builds) == 2


def test_another_driver_for_the_same_cuda_gets_its_own_engine(
    load: Load, builds: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "version"
    monkeypatch.setattr(cuda_graph, "_MODULE", module)
    for version in ("570.86.10", "570.124.06", "570.86.10"):
        module.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}\nGCC 13\n")
        load(network_size=(96, 128))(frame(96, 128))
    assert len(builds) == 2


def test_another_way_to_build_gets_its_own_engine(
    load: Load, builds: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    for recipe in (tensorrt.RECIPE, tensorrt.RECIPE + 1, tensorrt.RECIPE):
        monkeypatch.setattr(tensorrt, "RECIPE", recipe)
        load(network_size=(96, 128))(frame(96, 128))
    assert len(builds) == 2


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_bad_engine_is_built_anew_and_replaced(
    load: Load, gpu: StandInGpu, builds: list, tmp_path: Path, damage: str
) -> None:
    """An engine that is damaged on disk, or an intact engine that TensorRT refuses."""
    segmenter = load(network_size=(96, 128))
    expected = segmenter(frame(96, 128)).mask
    before = entries(tmp_path / "cache")
    if damage == "cut":
        for path, data in before.items():
            path.write_bytes(data[:-1])
    else:
        backend = segmenter.backend
        key = (*backend._key, "1x96x128")  # type: ignore[attr-defined]
        for name in ((), ("kernels",)):
            backend._cache.save(b"elsewhere 1 96 128", *key, *name)  # type: ignore[attr-defined]
        assert entries(tmp_path / "cache") != before
    np.testing.assert_array_equal(load(network_size=(96, 128))(frame(96, 128)).mask, expected)
    assert len(builds) == 2
    kept = entries(tmp_path / "cache")
    assert {path: kept[path] for path in before} == before


def test_works_without_a_cache(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    segmenter = load(cache_dir=tmp_path / "file" / "cache", network_size=(96, 128))
    mask = segmenter(frame(96, 128)).mask
    segmenter.warm_up(64, 64)
    assert caplog.text.count("not kept") == 1
    np.testing.assert_array_equal(mask, load(network_size=(96, 128))(frame(96, 128)).mask)


def test_no_gpu_and_wrong_gpu(load: Load, gpu: StandInGpu) -> None:
    with pytest.raises(base.BackendError, match="GPU 2: only 0 to 1 exist"):
        load(device=2)
    for error in ("cudaErrorInsufficientDriver", "cudaErrorNoDevice"):
        gpu.device_count = getattr(runtime.cudaError_t, error)
        version = runtime.cudaRuntimeGetVersion()[1] // 1000
        says = f"no NVIDIA GPU with a driver .*nvidia-smi .*'cuda-bindings<{version}'"
        with pytest.raises(base.BackendError, match=says):
            load()


def test_a_gpu_that_no_engine_can_be_built_for(load: Load, gpu: StandInGpu) -> None:
    gpu.capability = (9, 0)
    with pytest.raises(base.BackendError, match="no SM90, only SM75, .*: pip install tensorrt"):
        load()


def test_auto_takes_it_first_and_goes_on_without_a_gpu(load: Load, gpu: StandInGpu) -> None:
    segmenter = load(backend="auto")
    assert (segmenter.backend.name, segmenter.passed_over) == ("tensorrt", ())
    gpu.device_count = runtime.cudaError_t.cudaErrorNoDevice
    with pytest.raises(base.BackendError, match="no backend works here: tensorrt: no NVIDIA GPU"):
        load(backend="auto", precision="fp16")


@pytest.mark.parametrize(("asked", "has"), [("auto", "fp16"), ("fp16", "fp16"), ("int8", "int8")])
def test_precision_is_that_of_the_file(asked: str, has: str) -> None:
    assert _precision(asked, has, MODEL) == has


@pytest.mark.parametrize(
    ("asked", "has", "says"),
    [
        (
            "fp16",
            "fp32",
            "is fp32: precision auto or fp32 works, and lrn export .*--precision fp16",
        ),
        (
            "fp32",
            "int8",
            "is int8: precision auto or int8 works, and lrn export .*--precision fp32",
        ),
        ("bf16", "fp32", "no bf16; fp32, fp16 and int8 work"),
    ],
)
def test_precisions_that_cannot_be_had(asked: str, has: str, says: str) -> None:
    with pytest.raises(base.BackendError, match=says):
        _precision(asked, has, MODEL)


def test_a_name_stands_for_the_file_in_the_precision(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrn_ros.model.artifact.weights_folder", lambda: tmp_path)
    data = MODEL.read_bytes()
    (tmp_path / "net.onnx").write_bytes(data)
    assert load("net").backend.precision == "fp32"
    for precision in ("fp16", "int8"):  # the same length: the graph around it stays whole
        changed = data.replace(b'"precision": "fp32"', b'"precision": "%s"' % precision.encode())
        assert changed != data
        (tmp_path / f"net_{precision}.onnx").write_bytes(changed)
    precisions = ("auto", "fp32", "fp16", "int8")
    found = [load("net", precision=p).backend.precision for p in precisions[:1] + precisions[2:]]
    assert found == ["fp16", "fp16", "int8"]
    assert load("net", precision="fp32").backend.precision == "fp32"
    assert load(tmp_path / "net.onnx").backend.precision == "fp32"
    with pytest.raises(UserError, match="unknown model 'other'"):
        load("other", precision="fp16")


def test_no_torch_on_this_path() -> None:
    code = (
        "import sys; import lrn_ros.inference.backends.tensorrt\n"
        "sys.exit(bool({'torch', 'rclpy', 'onnx', 'openvino'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["tensorrt_rtx", "cuda.bindings"])
@pytest.mark.usefixtures("gpu")
def test_without_a_package_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for module in ("backends.tensorrt", "engine_build", "cuda_graph"):
        monkeypatch.delitem(sys.modules, f"lrn_ros.inference.{module}")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(base.BackendError, match=r"pip install 'lrn_ros\[tensorrt\]'"):
        Segmenter.load(MODEL, backend="tensorrt")


def test_without_a_driver_it_says_so_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_DRIVER", "libnone.so.1")
    monkeypatch.setitem(sys.modules, "lrn_ros.inference.backends.tensorrt", None)  # not imported
    with pytest.raises(base.BackendError, match=r"no NVIDIA driver \(libnone.*--gpus all"):
        Segmenter.load(MODEL, backend="tensorrt")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise ImportError('libnvinfer.so.10: no such file')", r"tensorrt: libnvinfer\.so\.10"),
        ("raise OSError('libcudart.so.12: no such file')", r"tensorrt: libcudart\.so\.12"),
        ("__version__ = '8.5.2'", r"8\.5\.2 is too old, 10 or newer.*on a Jetson: sudo apt"),
    ],
)
def test_an_installation_of_no_use_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, says: str
) -> None:
    (tmp_path / "tensorrt.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # put back or taken out behind the test
    del sys.modules["tensorrt"]
    monkeypatch.delitem(sys.modules, "lrn_ros.inference.engine_build")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt_rtx", None)
        with pytest.raises(base.BackendError, match=says):
            importlib.import_module("lrn_ros.inference.engine_build")
    assert importlib.import_module("lrn_ros.inference.engine_build").RTX


def test_messages_of_tensorrt_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tensorrt.LOGGER.log(tensorrt.LOGGER.ERROR, "noise")  # type: ignore[attr-defined]
    assert tensorrt.LOGGER.take_error() == "noise" and not caplog.records


def test_lrn_export_fills_the_cache_of_the_node(
    load: Load,
    builds: list,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["export", str(MODEL), "--format", "tensorrt"]) == 0
    said = capsys.readouterr()
    assert "at 360x480 in fp32 on Stand-in 4090 in" in said.out and said.err == "built\n"
    segmenter = load(cache_dir=None)
    segmenter.backend.prepare(segmenter.geometry(360, 480))
    assert builds == [(1, 360, 480)]
    folder = tmp_path / "kept"
    assert main(["export", str(MODEL), "--format", "tensorrt", "--output", str(folder)]) == 0
    segmenter = load(cache_dir=folder)
    segmenter.backend.prepare(segmenter.geometry(360, 480))
    assert len(builds) == 2  # one a folder
    capsys.readouterr()
    assert main(["export", str(MODEL), "--format", "tensorrt", "--precision", "int8"]) == 2
    assert "--format onnx --precision int8" in capsys.readouterr().err
