# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The openvino backend against a closed form, its precisions, its cache and what it refuses."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx")
ov = pytest.importorskip("openvino")

from lrn_ros import Segmenter  # noqa: E402
from lrn_ros.errors import UserError  # noqa: E402
from lrn_ros.inference import backends as processor  # noqa: E402
from lrn_ros.inference.backends import base  # noqa: E402
from lrn_ros.inference.backends.openvino import _precision  # noqa: E402
from lrn_ros.inference.postprocess import upsample  # noqa: E402
from lrn_ros.model.artifact import ExportInfo, ModelInfo, read_info, resolve_model  # noqa: E402
from lrn_ros.model.labels import LabelSet  # noqa: E402
from lrn_ros.scene import StreetScene  # noqa: E402

CLASSES = 11
WEIGHTS = np.random.default_rng(0).normal(size=(CLASSES, 3)).astype(np.float32)
OFFSET = np.random.default_rng(1).normal(size=CLASSES).astype(np.float32) * 0.3


def write_model(
    path: Path,
    size: tuple[int | str, int | str] = ("h", "w"),
    quantised: bool = False,
    made_from: Path | None = None,
) -> Path:
    """A model whose scores are WEIGHTS times the mean colour (0-1) of 8 x 8 pixels, plus OFFSET.

    Its metadata say that it was made from `made_from`.
    """
    tensor, node, value = (
        onnx.TensorProto,
        onnx.helper.make_node,
        onnx.helper.make_tensor_value_info,
    )
    kernel = np.repeat(WEIGHTS / 255 / 64, 64).reshape(CLASSES, 3, 8, 8).astype(np.float32)
    arrays = {
        "kernel": kernel,
        "offset": OFFSET,
        "step": np.float32(1),
        "zero": np.uint8(0),
    }
    nodes = [
        node("Cast", ["image"], ["float"], to=tensor.FLOAT),
        node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
    ]
    if quantised:
        nodes += [
            node("QuantizeLinear", ["planes", "step", "zero"], ["whole"]),
            node("DequantizeLinear", ["whole", "step", "zero"], ["again"]),
        ]
    source = "again" if quantised else "planes"
    nodes.append(node("Conv", [source, "kernel", "offset"], ["logits"], strides=[8, 8]))
    coarse = [side // 8 if isinstance(side, int) else f"{side}8" for side in size]
    fixed = None if isinstance(size[0], str) else size
    batch = "n" if fixed is None else 1
    graph = onnx.helper.make_graph(
        nodes,
        "mean_colour",
        [value("image", tensor.UINT8, [batch, *size, 3])],
        [value("logits", tensor.FLOAT, [batch, CLASSES, *coarse])],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()],
    )
    model = onnx.helper.make_model(
        graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    digest = hashlib.sha256(made_from.read_bytes()).hexdigest() if made_from else ""
    info = ModelInfo(
        name=path.stem,
        architecture="lrnnet_c",
        labels=LabelSet.load("camvid11"),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        size=(96, 128),
        license="none",
        export=ExportInfo("int8" if quantised else "fp32", 8, fixed, digest),  # type: ignore[arg-type]
    )
    onnx.helper.set_model_props(model, {"lrn_ros": info.to_json()})
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "mean_colour.onnx")


Load = Callable[..., Segmenter]


@pytest.fixture
def load(model: Path, tmp_path: Path) -> Load:
    """Segmenter.load with the model, the backend and a cache of the test's own."""

    def call(path: Path = model, precision: str = "fp32", **options: object) -> Segmenter:
        options = {"backend": "openvino", "cache_dir": tmp_path / "cache"} | options
        return Segmenter.load(path, precision=precision, **options)  # type: ignore[arg-type]

    return call


def frame(height: int, width: int) -> NDArray[np.uint8]:
    return StreetScene(seed=1, height=height, width=width).frame(3)[0]


def closed_form(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(K, h, w) scores of a frame whose sides are multiples of 8."""
    height, width = rgb.shape[0] // 8, rgb.shape[1] // 8
    mean = (rgb / 255.0).reshape(height, 8, width, 8, 3).mean(axis=(1, 3))
    return np.moveaxis(mean @ WEIGHTS.T.astype(float) + OFFSET, 2, 0)


def test_logits_and_mask_equal_the_closed_form(load: Load) -> None:
    segmenter = load()
    backend = segmenter.backend
    assert (backend.name, backend.precision, backend.stride) == ("openvino", "fp32", 8)
    for size in ((96, 128), (64, 160), (96, 128)):
        rgb = frame(*size)
        geometry = load(network_size=size).geometry(*size)
        expected = closed_form(rgb)
        logits = backend.logits(rgb, geometry)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        result = backend.run([rgb], geometry, True)[0]
        np.testing.assert_array_equal(result.mask, upsample(logits, geometry, 8).argmax(0))
        exact = upsample(expected.astype(np.float32), geometry, 8).astype(float)
        probability = 255 / np.exp(exact - exact.max(0)).sum(0)
        assert result.confidence is not None
        assert np.abs(result.confidence - probability).max() < 0.6
        assert min(result.timings.inference_ms, result.timings.postprocess_ms) > 0


@pytest.fixture(scope="module")
def exported(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LRNNet-C with random weights, exported by the package."""
    pytest.importorskip("onnxruntime")
    from lrn_ros.export.onnx import export_onnx

    path = tmp_path_factory.mktemp("exported") / "random.onnx"
    export_onnx(random_model, path, images=[(frame(96, 128), None)])
    return path


@pytest.mark.parametrize("size", [(96, 128), (135, 240), (301, 97)])
def test_equals_the_torch_backend(
    load: Load, exported: Path, random_model: Path, size: tuple[int, int]
) -> None:
    ours, torchs = load(exported), load(random_model, backend="torch")
    rgb = frame(*size)
    geometry = ours.geometry(*size)
    logits, expected = (s.backend.logits(rgb, geometry) for s in (ours, torchs))
    assert np.abs(logits - expected).max() < 1e-3 * np.abs(expected).max()
    a, b = ours(rgb, confidence=True), torchs(rgb, confidence=True)
    assert (a.mask == b.mask).mean() > 0.999
    assert a.confidence is not None and b.confidence is not None
    assert np.abs(a.confidence.astype(int) - b.confidence).max() <= 2


def test_kept_results_do_not_change_with_the_next_frame(load: Load) -> None:
    segmenter = load()
    geometry = segmenter.geometry(96, 128)
    rgb = frame(96, 128)
    logits, result = segmenter.backend.logits(rgb, geometry), segmenter(rgb)
    before = logits.copy(), result.mask.copy()
    segmenter(np.zeros_like(rgb))
    np.testing.assert_array_equal(logits, before[0])
    np.testing.assert_array_equal(result.mask, before[1])


def test_any_frame(load: Load) -> None:
    """Read-only, not contiguous, scaled, and more sizes than are kept compiled."""
    segmenter = load()
    rgb = frame(96, 128)
    expected = segmenter(rgb).mask
    rgb.setflags(write=False)
    np.testing.assert_array_equal(segmenter(rgb).mask, expected)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    np.testing.assert_array_equal(segmenter(bgr[..., ::-1]).mask, expected)
    for size in ((135, 240), (64, 300), (301, 97), (8, 9), (100, 500), (96, 128)):
        assert (
            segmenter(frame(*(max(64, n) for n in size))[: size[0], : size[1]]).mask.shape == size
        )
    np.testing.assert_array_equal(segmenter(rgb).mask, expected)


def test_bf16_is_close(load: Load) -> None:
    try:
        segmenter = load(precision="bf16")
    except base.BackendError as error:
        pytest.skip(str(error))
    rgb = frame(96, 128)
    assert segmenter.backend.precision == "bf16"
    logits = segmenter.backend.logits(rgb, segmenter.geometry(96, 128))
    difference = np.abs(logits - closed_form(rgb)).max()
    assert 1e-5 < difference < 0.05


@pytest.mark.parametrize(
    ("asked", "quantised", "has_bf16", "expected"),
    [
        ("auto", False, True, ("bf16", "bf16")),
        ("auto", False, False, ("fp32", "f32")),
        ("fp32", False, True, ("fp32", "f32")),
        ("bf16", False, True, ("bf16", "bf16")),
        ("auto", True, True, ("int8", "bf16")),
        ("int8", True, False, ("int8", "f32")),
    ],
)
def test_precision(asked: str, quantised: bool, has_bf16: bool, expected: tuple) -> None:
    assert _precision(asked, quantised, has_bf16) == expected


@pytest.mark.parametrize(
    ("asked", "quantised", "has_bf16", "says"),
    [
        ("bf16", False, False, "no bf16; fp32 works"),
        ("fp16", False, True, "no fp16; fp32 and bf16 work"),
        ("int8", False, True, "lrn export --precision int8"),
        ("fp32", True, True, "auto or int8 works"),
    ],
)
def test_precisions_that_cannot_be_had(
    asked: str, quantised: bool, has_bf16: bool, says: str
) -> None:
    with pytest.raises(base.BackendError, match=says):
        _precision(asked, quantised, has_bf16)


@pytest.mark.parametrize(
    ("limit", "has_int8_file", "precision", "reason"),
    [
        ("AVX512_CORE_BF16", True, "bf16", "this processor computes in bf16"),
        ("AVX512_CORE_VNNI", True, "int8", "both_int8.onnx is int8"),
        ("AVX512_CORE_VNNI", False, "fp32", "no int8 file beside both.onnx; lrn export"),
        ("AVX512_CORE", True, "fp32", "this processor has neither bf16 nor VNNI"),
    ],
)
def test_auto_takes_what_the_processor_computes_fastest(
    limit: str, has_int8_file: bool, precision: str, reason: str, tmp_path: Path
) -> None:
    """In a process of its own, whose oneDNN does without newer instructions."""
    if precision == "bf16" and not processor.has_bf16():
        pytest.skip("this processor has no bf16")
    if limit.endswith("VNNI") and not processor.has_vnni():
        pytest.skip("this processor has no VNNI")
    write_model(tmp_path / "both.onnx")
    if has_int8_file:
        write_model(tmp_path / "both_int8.onnx", quantised=True)
    code = (
        "import logging, pathlib, numpy as np; logging.basicConfig(level=logging.INFO)\n"
        "import lrn_ros.model.artifact as artifact; from lrn_ros import Segmenter\n"
        f"artifact.weights_folder = lambda: pathlib.Path({str(tmp_path)!r})\n"
        f"s = Segmenter.load('both', 'openvino', cache_dir={str(tmp_path / 'cache')!r})\n"
        "rgb = np.full((96, 128, 3), 200, np.uint8)\n"
        "print(s.backend.precision, s.backend.logits(rgb, s.geometry(96, 128)).mean())"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": limit}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, mean = done.stdout.split()
    assert found == precision
    assert reason in done.stderr and f"precision auto is {precision}" in done.stderr
    expected = closed_form(np.full((96, 128, 3), 200, np.uint8)).mean()
    assert float(mean) == pytest.approx(expected, abs=0.05)


def test_int8_models_are_recognised(load: Load, tmp_path: Path) -> None:
    path = write_model(tmp_path / "int8.onnx", quantised=True)
    segmenter = load(path, precision="auto")
    assert segmenter.backend.precision == "int8"
    rgb = frame(96, 128)
    logits = segmenter.backend.logits(rgb, segmenter.geometry(96, 128))
    assert np.abs(logits - closed_form(rgb)).max() < 0.1


def test_int8_agrees_with_torch_as_an_export_must(load: Load, tmp_path: Path) -> None:
    """The shipped model, calibrated on rendered scenes, on others."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    from lrn_ros.export.onnx import PRECISIONS
    from lrn_ros.export.quantise import quantise

    size, shipped = (184, 256), resolve_model("lrnnet_c_camvid", (".onnx",))
    seen = [StreetScene(seed=s, height=184, width=256).frame(0)[0] for s in range(10, 22)]
    quantised = quantise(onnx.load(shipped), seen)
    info = read_info(shipped)
    export = replace(info.export, precision="int8")  # type: ignore[type-var]
    onnx.helper.set_model_props(quantised, {"lrn_ros": replace(info, export=export).to_json()})
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantised.SerializeToString())
    ours = load(path, precision="auto", network_size=size)
    torchs = load("lrnnet_c_camvid", backend="torch", network_size=size)
    assert ours.backend.precision == "int8"
    rgbs = [StreetScene(seed=s, height=184, width=256).frame(0)[0] for s in range(4)]
    same = np.mean([(ours(rgb).mask == torchs(rgb).mask).mean() for rgb in rgbs])
    assert PRECISIONS["int8"].same_label <= same < 1


def test_second_time_comes_from_the_cache(load: Load, tmp_path: Path) -> None:
    rgb = frame(96, 128)
    expected = load()(rgb).mask
    (entry,) = (tmp_path / "cache").iterdir()
    written = entry.stat().st_ino
    again = load()
    backend = again.backend
    backend._model = None  # type: ignore[attr-defined]  # nothing to compile from
    np.testing.assert_array_equal(again(rgb).mask, expected)
    assert entry.stat().st_ino == written
    load(threads=1)(rgb)
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("whole", [False, True])
def test_a_corrupt_cache_is_compiled_anew(load: Load, tmp_path: Path, whole: bool) -> None:
    """Damaged on disk, or a whole entry that OpenVINO refuses."""
    rgb = frame(96, 128)
    segmenter = load()
    expected = segmenter(rgb).mask
    (entry,) = (tmp_path / "cache").iterdir()
    good = entry.stat().st_size
    if whole:
        key = (*segmenter.backend._key, "1x96x128")  # type: ignore[attr-defined]
        segmenter.backend._cache.save(b"from elsewhere", *key)  # type: ignore[attr-defined]
        assert entry.stat().st_size < 100
    else:
        entry.write_bytes(entry.read_bytes()[:-100])
    np.testing.assert_array_equal(load()(rgb).mask, expected)
    assert entry.stat().st_size == good


def test_works_without_a_cache(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    rgb = frame(96, 128)
    mask = load(cache_dir=tmp_path / "file" / "cache")(rgb).mask
    assert "not kept" in caplog.text
    np.testing.assert_array_equal(mask, load()(rgb).mask)


def test_a_fixed_model_runs_at_its_size_and_names_it(load: Load, tmp_path: Path) -> None:
    path = write_model(tmp_path / "fixed.onnx", size=(64, 96))
    segmenter = load(path)
    rgb = frame(64, 96)
    np.testing.assert_allclose(
        segmenter.backend.logits(rgb, segmenter.geometry(64, 96)), closed_form(rgb), atol=1e-4
    )
    with pytest.raises(
        UserError, match=r"only, not at \[96, 128\]: set network_size to \[64, 96\]"
    ):
        load(path, network_size=(96, 128))(frame(96, 128))


def test_a_model_that_openvino_cannot_read(load: Load, tmp_path: Path) -> None:
    path = write_model(tmp_path / "unknown.onnx")
    model = onnx.load(path)
    model.graph.node[-1].op_type = "Convolve"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(base.BackendError, match="OpenVINO cannot read .*unknown.onnx"):
        load(path)


def test_auto_takes_it_where_the_model_has_an_onnx_file(
    load: Load, model: Path, random_model: Path
) -> None:
    segmenter = load(backend="auto", given_up={"tensorrt": "is tested elsewhere"})
    assert segmenter.backend.name == "openvino" and segmenter.info.name == "mean_colour"
    assert [name for name, _ in segmenter.passed_over] == ["tensorrt", "cuda"]
    assert "no .safetensors file" in segmenter.passed_over[1][1]
    with pytest.raises(base.BackendError, match="lrn export .*random.safetensors --format onnx"):
        load(random_model)
    with pytest.raises(base.BackendError, match="torch: model .* has no .safetensors file"):
        load(backend="torch")


def test_every_backend_takes_its_own_file_of_a_name(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrn_ros.model.artifact.weights_folder", lambda: tmp_path)
    (tmp_path / "both.safetensors").write_bytes(random_model.read_bytes())
    with pytest.raises(base.BackendError, match="lrn export both --format onnx"):
        Segmenter.load("both", backend="openvino")
    write_model(tmp_path / "both.onnx", made_from=tmp_path / "both.safetensors")
    assert Segmenter.load("both", backend="torch").info.name == "random"
    onnx_segmenter = Segmenter.load("both", backend="openvino", cache_dir=tmp_path / "cache")
    assert onnx_segmenter.info.name == "both"
    assert resolve_model("both", (".onnx",)) == tmp_path / "both.onnx"


class TestAnExportAndItsWeights:
    """A retrained model beside an old export; everywhere the model is loaded, by any of its names.

    `model` is the stem of both files, in a folder of their own.
    """

    @pytest.fixture
    def files(self, random_model: Path, tmp_path: Path) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        weights = folder / "farm_v1.5.safetensors"
        weights.write_bytes(random_model.read_bytes())
        write_model(folder / "farm_v1.5.onnx", made_from=weights)
        return folder / "farm_v1.5"

    def retrain(self, files: Path) -> None:
        weights = files.with_name("farm_v1.5.safetensors")
        weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))

    @pytest.mark.parametrize("given", ["run", "run/farm_v1.5.safetensors", "run/farm_v1.5.onnx"])
    def test_the_export_is_found_unless_it_is_stale(
        self, load: Load, files: Path, given: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(files.parents[1])
        up = {"given_up": {"tensorrt": "is tested elsewhere", "cuda": "is tested elsewhere"}}
        assert load(Path(given), backend="auto", **up).backend.name == "openvino"
        self.retrain(files)
        says = "farm_v1.5.onnx is stale: .* farm_v1.5.safetensors beside it.* lrn export .*onnx$"
        with pytest.raises(base.BackendError, match=says):
            load(Path(given))
        if given.endswith(".onnx"):  # this very file was asked for
            with pytest.raises(base.BackendError, match=says):
                load(Path(given), backend="auto", **up)
            return
        found = load(Path(given), backend="auto", precision="auto", **up)
        assert found.backend.name == "torch"
        assert any("is stale" in reason for _, reason in found.passed_over)

    def test_without_the_weights_there_is_nothing_to_compare(self, load: Load, files: Path) -> None:
        self.retrain(files)
        os.unlink(f"{files}.safetensors")
        assert load(files.parent).backend.name == "openvino"

    def test_a_stale_variant_gives_way_to_a_fresh_export(self, load: Load, files: Path) -> None:
        write_model(files.with_name("farm_v1.5_int8.onnx"), quantised=True)
        with pytest.raises(base.BackendError, match="not int8"):  # the float file was taken
            load(files.parent, precision="int8")
        source = files.with_name("farm_v1.5.safetensors")
        write_model(files.with_name("farm_v1.5_int8.onnx"), quantised=True, made_from=source)
        assert load(files.parent, precision="int8").backend.precision == "int8"


def test_no_torch_on_this_path(model: Path, tmp_path: Path) -> None:
    code = (
        "import sys; import numpy as np; from lrn_ros import Segmenter\n"
        f"s = Segmenter.load({str(model)!r}, cache_dir={str(tmp_path)!r})\n"
        "assert s.backend.name in ('tensorrt', 'openvino'), s.passed_over\n"
        "s(np.zeros((96, 128, 3), np.uint8), confidence=True)\n"
        "sys.exit(bool({'torch', 'rclpy', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_openvino_it_says_what_to_install(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, base.MODULES["openvino"].name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(base.BackendError, match=r"pip install 'lrn_ros\[openvino\]'"):
        load()
