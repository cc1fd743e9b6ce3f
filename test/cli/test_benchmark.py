# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn benchmark: its figures against other sources, its files, what it lists and refuses."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lrn_ros.cli import main
from lrn_ros.inference.backends.base import MODULES

torch = pytest.importorskip("torch")

SMALL = ["--sizes", "64x96", "--threads", "1"]


def benchmark(*arguments: object) -> int:
    return main(["benchmark", "--budget", "1s", *map(str, arguments)])


@pytest.fixture(scope="module")
def results(random_model, tmp_path_factory):
    """A run of two very different networks: the folder, what it wrote, and the model."""
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    pytest.importorskip("matplotlib")
    model = shutil.copy(random_model, tmp_path_factory.mktemp("model") / "tiny.safetensors")
    folder = tmp_path_factory.mktemp("benchmark") / "out"
    arguments = ["--models", model, "ndnet29_e2", "--backends", "openvino", "torch"]
    arguments += ["--precisions", "fp32", "fp16", "--sizes", "128x256", "--threads", "1"]
    assert benchmark(*arguments, "--frames", 4, "--rounds", 2, "--output", folder) == 0
    return folder, json.loads((folder / "results.json").read_text()), model


def rows(data):
    return {(Path(r["model"]).stem, r["backend"]): r for r in data["combinations"]}


def test_every_combination_is_measured_or_listed_with_its_reason(results):
    folder, data, model = results
    assert list(rows(data)) == [
        ("tiny", "torch"), ("ndnet29_e2", "openvino"), ("ndnet29_e2", "torch")
    ]  # fmt: skip
    missing = {(r["model"], r["backend"], r["precision"]): r for r in data["not_measured"]}
    onnx = model.with_suffix(".onnx")
    assert len(missing) == 5 and {r["status"] for r in missing.values()} == {"unavailable"}
    assert f"there is no {onnx}" in missing[str(model), "openvino", "fp32"]["reason"]
    assert "has no fp16" in missing["ndnet29_e2", "openvino", "fp16"]["reason"]
    assert "has no fp16" in missing["ndnet29_e2", "torch", "fp16"]["reason"]
    text = (folder / "results.md").read_text()
    assert all(r["reason"] in text for r in missing.values())
    assert data["command"] in text and "--rounds 2" in data["command"]


def test_percentiles_and_ratios_are_numpys(results):
    data = rows(results[1])
    for (model, _), row in data.items():
        total, bare = (np.ravel(row["samples_ms"][n]) for n in ("total", "bare"))
        assert np.shape(row["samples_ms"]["total"]) == (2, 4) and bare.shape == (8,)
        for name, q in (("p50", 50), ("p99", 99)):
            assert row["total"][name] == pytest.approx(np.percentile(total, q), abs=2e-3)
            assert row["bare"][name] == pytest.approx(np.percentile(bare, q), abs=2e-3)
        assert row["frames_per_second"] == pytest.approx(8e3 / total.sum(), rel=1e-3)
        samples = data[model, "torch"]["samples_ms"]
        baseline = min(np.median(samples["bare"]), np.median(samples["eager"]))
        assert row["speedup"] == pytest.approx(baseline / np.median(total), rel=1e-3)
        assert row["share_of_bare"] == pytest.approx(np.median(bare) / np.median(total), rel=1e-3)
        medians = np.median(row["samples_ms"]["total"], axis=1)
        assert row["spread"] == pytest.approx(
            np.ptp(medians) / np.median(total), rel=0.01, abs=1e-3
        )


def test_costs_and_their_order(results):
    from lrn_ros.networks.counting import count

    data = results[1]
    peak = data["limits"]["fp32"]
    for row in data["combinations"]:
        name = "lrnnet_c" if "tiny" in row["model"] else row["model"]
        expected = count(name, num_classes=11, size=(128, 256))
        assert (row["parameters"], row["multiply_adds"]) == (expected.parameters, expected.mac)
        rate = row["multiply_adds"] / np.median(row["samples_ms"]["bare"]) * 1e3
        assert row["multiply_adds_per_second"] == pytest.approx(rate, rel=1e-3)
        assert row["share_of_peak"] == pytest.approx(rate / peak, rel=1e-3)
        assert 0 < row["share_of_peak"] < 1
    data = rows(data)
    large, small = data["tiny", "torch"], data["ndnet29_e2", "torch"]
    assert large["bare"]["p50"] > 1.5 * small["bare"]["p50"]
    assert large["total"]["p50"] > 1.5 * small["total"]["p50"]
    # torch alone maps more than 100 MB, and the openvino backend never loads it.
    light = data["ndnet29_e2", "openvino"]
    assert 60 < light["memory_peak"] < small["memory_peak"] - 50 < 2000
    assert light["start_s"] > light["total"]["p50"] * 1e-3


def test_random_weights_have_no_accuracy(results):
    folder, data, _ = results
    data = rows(data)
    assert data["tiny", "torch"]["same_label"] == 1.0 and not data["tiny", "torch"]["random"]
    for key in (("ndnet29_e2", "openvino"), ("ndnet29_e2", "torch")):
        assert data[key]["random"] and "random weights" in data[key]["not_scored"]
        assert data[key]["same_label"] is data[key]["miou"] is data[key]["file_miou"] is None
    assert "ndnet29_e2 (random)" in (folder / "results.md").read_text()
    assert not (folder / "latency_accuracy.png").exists()


def test_scores_on_a_data_set_are_those_of_evaluate(random_model, dataset, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    options = ["--models", random_model, "--backends", "torch", "--precisions", "bf16", *SMALL]
    options += ["--frames", 1, "--rounds", 1, "--data", dataset, "--output", out]
    assert benchmark(*options, "--json") == 0
    said = capsys.readouterr()
    data = json.loads(said.out)
    assert data == json.loads((out / "results.json").read_text())
    command = ["evaluate", str(random_model), str(dataset), "--backend", "torch", "--json"]
    for row in data["combinations"]:
        more = ["--network-size", "64", "96", "--precision", row["precision"]]
        assert main([*command, *more]) == 0
        miou = json.loads(capsys.readouterr().out)["miou"]
        assert row["miou"] == pytest.approx(miou, abs=2e-3) and row["images"] == 3
    # The baseline was not asked for and is there.
    assert [r["precision"] for r in data["combinations"]] == ["fp32", "bf16"]

    from lrn_ros import Segmenter

    fp32, bf16 = (
        Segmenter.load(random_model, "torch", p, network_size=(64, 96)) for p in ("fp32", "bf16")
    )
    images = [cv2.imread(str(p))[..., ::-1] for p in sorted((dataset / "val").iterdir())]
    same = np.mean(
        [(fp32(i).mask == bf16(i).mask).mean() for i in map(np.ascontiguousarray, images)]
    )
    assert data["combinations"][1]["same_label"] == pytest.approx(same, abs=2e-3)
    picture = cv2.imread(str(out / "latency_accuracy.png"))
    assert picture.shape == (600, 900, 3) and "latency_accuracy.png" in said.err


def test_ctrl_c_writes_what_was_measured(random_model, tmp_path):
    command = [sys.executable, "-m", "lrn_ros", "benchmark", "--models", str(random_model)]
    command += ["--backends", "torch", "--precisions", "fp32", *SMALL, "--frames", "1"]
    process = subprocess.Popen(
        [*command, "--rounds", "10000", "--output", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr:
            if line.startswith("round 3"):
                break
        tasks = Path(f"/proc/{process.pid}/task").iterdir()
        workers = [pid for task in tasks for pid in (task / "children").read_text().split()]
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted; this is what was measured" in error
    assert "Traceback" not in error and "Interrupted: rounds are missing." in out
    assert len(workers) == 2 and not any(Path(f"/proc/{pid}").exists() for pid in workers)
    data = json.loads((tmp_path / "out" / "results.json").read_text())
    assert data["interrupted"] and 2 <= len(data["combinations"][0]["samples_ms"]["total"]) < 10000


def test_nothing_measured(random_model, monkeypatch, capsys):
    from lrn_ros.benchmark import measure as module

    monkeypatch.setattr(module, "RESERVE", 1e18)
    assert benchmark("--models", random_model, "--backends", "torch", *SMALL) == 1
    assert "unavailable: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--models", "lrnnet_z"], "unknown model 'lrnnet_z'"),
        (["--models", "lrnnet_z"], "architectures with random weights: "),
        (["--models", "nowhere.onnx"], "model 'nowhere.onnx': no such file\n"),
        (["--backends", "gpu"], f"--backends gpu is unknown; there are {', '.join(MODULES)}\n"),
        (
            ["--precisions", "auto"],
            "--precisions auto is unknown; there are fp32, fp16, bf16, int8",
        ),
        (["--sizes", "512"], "'512' is no size; HEIGHTxWIDTH such as 512x1024 works"),
        (["--sizes", "102x200"], "[104, 200] would work"),
        (["--rounds", "0"], "'0' is not a whole number from 1 up"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_refused(arguments, says, capsys):
    assert benchmark(*arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_protocol_of_the_papers_needs_a_gpu(capsys):
    assert benchmark("--protocol", "paper") == 2
    assert "no NVIDIA GPU here; `--backends openvino` measures" in capsys.readouterr().err


def test_the_protocol_of_the_papers_has_their_sizes(capsys):
    arguments = ["--protocol", "paper", "--backends", "torch", "--frames", 1, "--rounds", 1]
    arguments += ["--threads", 1, "--json", "--models"]
    assert benchmark(*arguments, "lrnnet_ss4", "ndnet61_e2") == 0
    data = json.loads(capsys.readouterr().out)
    assert "--protocol paper" in data["command"] and "--sizes" not in data["command"]
    found = [(r["model"], r["precision"], tuple(r["size"])) for r in data["combinations"]]
    assert found == [("lrnnet_ss4", "fp32", (512, 1024)), ("ndnet61_e2", "fp32", (1024, 2048))]
    assert benchmark(*arguments, "efficientnet_lite0_fpn") == 2
    said = capsys.readouterr().err.partition("which is in no table of the papers; ")[2]
    assert {"lednet", "lrnnet_c", "ndnet45"} <= set(said.replace(",", " ").split())


def test_every_network_of_the_papers_has_a_size():
    from lrn_ros.networks.reported import speed_sizes

    sizes = speed_sizes()
    assert sizes["lrnnet_c"] == sizes["lednet"] == ((512, 1024),)
    assert sizes["ndnet45"] == ((1024, 2048),) and sizes["frm"] == ((1024, 2048), (720, 1280))
    assert set(sizes) >= {"lrnnet_a", "lrnnet_ms3", "ndnet29w", "ndnet61_e2", "frm_dappm"}
