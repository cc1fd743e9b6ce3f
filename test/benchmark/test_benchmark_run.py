# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The measurement with real processes: turns, interruption, a killed process, memory, limits."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from lrn_ros.benchmark import measure as benchmark  # noqa: E402
from lrn_ros.benchmark.figures import figures, limits  # noqa: E402
from lrn_ros.benchmark.measure import (  # noqa: E402
    Combination,
    Plan,
    Samples,
    combine,
    measure,
    render,
    steadiest,
)
from lrn_ros.benchmark.models import find_models, other_models  # noqa: E402
from lrn_ros.benchmark.table import report  # noqa: E402
from lrn_ros.benchmark.worker import BASELINE, eager  # noqa: E402
from lrn_ros.errors import UserError  # noqa: E402
from lrn_ros.metrics.machine import describe  # noqa: E402

SIZE = (64, 96)


def children() -> list[int]:
    """Processes of this one's, oldest first."""
    tasks = Path("/proc/self/task").iterdir()
    return sorted(int(pid) for task in tasks for pid in (task / "children").read_text().split())


def processor_time(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def plan(random_model: Path, tmp_path: Path) -> Plan:
    models = find_models([str(random_model)], ["torch"], tmp_path)
    combinations = combine([str(random_model)], ["torch"], ["fp32", "bf16"], [SIZE])
    return Plan(models, combinations, threads=1, frames=2, rounds=2)


def test_others_rest_during_a_turn(plan: Plan, tmp_path: Path) -> None:
    steps: list[tuple[str, list[float]]] = []

    def step(text: str) -> None:
        steps.append((text, [processor_time(p) for p in children()]))

    before = children()
    run = measure(plan, tmp_path, step)
    assert children() == before == []
    fp32, bf16 = (str(c) for c in plan.combinations)
    turns = [text.split(": ")[1] for text, _ in steps if "round" in text]
    limit = "limits of the machine"
    assert turns == [limit, fp32, bf16, limit, bf16, fp32]
    for (text, start), (_, end) in zip(steps, steps[1:]):
        if "round" in text:
            used = np.subtract(end, start)
            busy = [limit, fp32, bf16].index(text.split(": ")[1])
            assert used.argmax() == busy
            assert np.delete(used, busy).max() <= 0.02  # two ticks of the clock

    for samples in run.samples:
        kinds = 6 if samples.combination.precision == "fp32" else 5  # the baseline: eager too
        assert [len(r[n]) for r in samples.rounds_ms for n in r] == [plan.frames] * 2 * kinds
        for one in samples.rounds_ms:
            stages = np.sum([one["pre"], one["network"], one["post"]], axis=0)
            assert (stages <= one["total"]).all()
    for row in figures(plan, run):
        total = np.ravel(row.samples_ms["total"])
        assert row.frames_per_second == pytest.approx(1e3 / total.mean(), rel=1e-3)


def samples(*medians: float) -> Samples:
    """Of rounds with these medians."""
    made = Samples(Combination("m", "torch", "fp32", SIZE), 1.0, "CPU", 100.0)
    made.rounds_ms = [{"total": [m - 1, m, m + 1]} for m in medians]
    return made


def test_the_steadiest_rounds_in_a_row_count() -> None:
    quiet, disturbed = samples(10, 10, 10, 10, 10), samples(20, 12, 10, 10.5, 14)
    assert steadiest([quiet, disturbed], 2) == (slice(2, 4), pytest.approx(0.5 / 10.25, abs=0.003))
    assert steadiest([quiet], 3)[0] == slice(2, 5)  # of equal ones the last
    assert steadiest([disturbed], 5)[0] == slice(0, 5)
    assert disturbed.spread() == pytest.approx(10 / 12, rel=0.1)


@pytest.mark.parametrize(("budget", "rounds"), [(0.0, 2), (1e6, 4)])
def test_rounds_are_repeated_until_they_are_steady_or_the_budget_is_spent(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: float, rounds: int
) -> None:
    monkeypatch.setattr(benchmark, "STEADY", 0.0)
    said: list[str] = []

    def step(text: str) -> None:
        said.append(text)
        if text.startswith("round 4"):
            benchmark.STEADY = 1e9

    run = measure(replace(plan, budget_s=budget), tmp_path, step)
    assert {len(one.rounds_ms) for one in run.samples} == {rounds}
    assert any("the budget is spent" in text for text in said) == (budget == 0)
    assert sum(text.endswith("once more") for text in said) == rounds - 2
    assert run.used.stop - run.used.start == 2 and run.used == steadiest(run.samples, 2)[0]
    monkeypatch.setattr("lrn_ros.benchmark.figures.STEADY", budget)
    rows = figures(plan, run)
    for row, one in zip(rows, run.samples):
        counted = [r["total"] for r in one.rounds_ms[run.used]]
        assert row.total.p50 == pytest.approx(np.median(counted), rel=1e-3)
        assert row.spread == pytest.approx(np.ptp(np.median(counted, axis=1)) / np.median(counted))
        assert row.is_steady == bool(budget) and len(row.samples_ms["total"]) == rounds
    text = report(plan, run, rows, None, describe())
    assert ("differ by more than" in text) is (" ! |" in text) is (budget == 0)
    assert ("4 were measured" in text) == (rounds == 4)


def test_the_picture_shows_what_is_not_steady(plan: Plan, tmp_path: Path) -> None:
    plot = pytest.importorskip("lrn_ros.benchmark.plot", exc_type=ImportError)
    row = figures(plan, measure(plan, tmp_path, lambda text: None))[0]
    p50 = row.total.p50
    steady = replace(row, miou=0.5, spread=0.01, round_medians=(p50, p50))
    rows = {
        "steady": [steady],
        "another machine": [steady],
        "whiskers": [replace(steady, round_medians=(0.8 * p50, 1.3 * p50))],
        "not steady": [replace(steady, spread=0.3)],
    }
    pictures = set()
    for name, one in rows.items():
        plot.draw_latency(tmp_path / "a.png", one, "B" if name == "another machine" else "A")
        pictures.add((tmp_path / "a.png").read_bytes())
    assert len(pictures) == len(rows)


def write_network(path: Path, shape: list[int | str]) -> Path:
    """Somebody else's network: one convolution of an image."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1])],
        "other",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [weight],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=opset), path)
    return path


def test_somebody_elses_networks(random_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    paths = [
        write_network(tmp_path / "any.onnx", [1, 3, "h", "w"]),
        write_network(tmp_path / "small.onnx", [1, 3, 32, 32]),
    ]
    others = other_models(paths, [])
    name = str(random_model)
    combinations = combine([name], ["torch"], ["fp32", "fp16"], [SIZE], ["any", "small"])
    assert [str(c) for c in combinations[2:]] == [
        "any openvino fp32 64x96", "small openvino fp32 64x96"
    ]  # fmt: skip
    models = [*find_models([name], ["torch"], tmp_path), *others]
    plan = Plan(models, combinations, threads=1, frames=3, rounds=1)
    run = measure(plan, tmp_path, lambda text: None)
    reasons = {s.combination.model: s.reason for s in run.skipped}
    assert "only, not [1, 3, 64, 96]" in reasons["small"]
    row = figures(plan, run)[-1]
    assert row.combination.model == "any" and row.other and row.miou is row.parameters is None
    assert row.total == row.bare and row.total.p50 > 0
    text = report(plan, run, figures(plan, run), None, describe())
    assert "| any (onnx) " in text and "compare its p50 with bare" in text
    with pytest.raises(UserError, match="another model is called any too"):
        other_models(paths[:1], ["any"])
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(UserError, match="not an ONNX file"):
        other_models([tmp_path / "text.onnx"], [])


def test_the_limits_are_those_of_this_machine(plan: Plan, tmp_path: Path) -> None:
    from lrn_ros.benchmark.process import WorkerProcess

    worker = WorkerProcess(tmp_path / "log")
    try:
        run = benchmark.Measurement(limits=[worker.ask("limits", threads=1)])
    finally:
        worker.close()
    found = limits(run)
    assert found is not None and found.software.startswith("torch ")
    a = np.ones((1024, 1024), np.float32)
    source = np.ones(1 << 26, np.uint8)
    target = np.zeros_like(source)
    seconds = []
    for work in (lambda: a @ a, lambda: np.copyto(target, source)):
        work()
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    assert found.fp32 == pytest.approx(1024**3 / seconds[0], rel=0.95)
    assert found.fp32 < 20 * 1024**3 / seconds[0]
    assert 0.05 < found.copy / (source.size / seconds[1]) < 20


def test_a_precision_with_a_file_of_its_own_runs_that(tmp_path: Path) -> None:
    """As NAME_int8.onnx: the model's in fp32, which says in its header that it is int8."""
    pytest.importorskip("openvino")
    weights = Path(__file__).parents[2] / "weights"
    data = (weights / "ndnet45_camvid.onnx").read_bytes()
    (tmp_path / "net.onnx").write_bytes(data)
    changed = data.replace(b'"precision": "fp32"', b'"precision": "int8"')
    assert changed != data
    (tmp_path / "net_int8.onnx").write_bytes(changed)
    shutil.copy(weights / "ndnet45_camvid.safetensors", tmp_path / "net.safetensors")
    name = str(tmp_path / "net.onnx")
    combinations = combine([name], ["openvino"], ["fp32", "int8"], [SIZE])
    models = find_models([name], ["openvino", "torch"], tmp_path)
    run = measure(Plan(models, combinations, 1, frames=1, rounds=1), tmp_path, lambda text: None)
    assert not run.skipped
    assert [s.combination.precision for s in run.samples] == ["fp32", "fp32", "int8"]


def test_interrupted_keeps_the_rounds_that_were_measured(plan: Plan, tmp_path: Path) -> None:
    fp32, bf16 = plan.combinations

    def step(text: str) -> None:
        if text == f"round 1 of 2: {bf16}":
            raise KeyboardInterrupt

    run = measure(plan, tmp_path, step)
    assert run.interrupted and children() == []
    assert [(s.combination, len(s.rounds_ms)) for s in run.samples] == [(fp32, 1)]
    assert [r.not_scored for r in figures(plan, run)] == ["interrupted"]
    assert [(s.combination, s.status) for s in run.skipped] == [(bf16, "interrupted")]


def test_a_killed_process_is_listed_and_the_others_go_on(plan: Plan, tmp_path: Path) -> None:
    def step(text: str) -> None:
        if text.startswith("round 2") and text.endswith("limits of the machine"):
            os.kill(children()[1], signal.SIGKILL)

    fp32, bf16 = plan.combinations
    run = measure(plan, tmp_path, step)
    assert [(s.combination, s.status) for s in run.skipped] == [(fp32, "failed")]
    assert "SIGKILL" in run.skipped[0].reason
    (row,) = figures(plan, run)
    assert row.combination == bf16 and row.speedup is None
    assert row.not_scored == f"its baseline, {' '.join(BASELINE)}, was not measured"


def test_what_a_failing_process_said_is_the_reason(plan: Plan, tmp_path: Path) -> None:
    from lrn_ros.benchmark.process import WorkerEnded, WorkerProcess

    worker = WorkerProcess(tmp_path / "log")
    try:
        with pytest.raises(WorkerEnded, match=r"exit status 1: TypeError: .*'no_such'"):
            worker.ask("limits", no_such=1)
    finally:
        worker.close()


def test_without_memory_nothing_is_started(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "RESERVE", 1e18)
    run = measure(plan, tmp_path, lambda text: None)
    assert not run.samples and len(run.skipped) == 2
    assert "MB of memory are free" in run.skipped[0].reason


def test_the_eager_network_gives_the_backends_scores(random_model: Path) -> None:
    from lrn_ros import Segmenter

    rgb = render(SIZE)[0]
    segmenter = Segmenter.load(random_model, "torch", network_size=SIZE)
    expected = segmenter.backend.logits(rgb, segmenter.geometry(*SIZE))
    found = eager(random_model, rgb)().numpy()[0]
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_scenes_differ() -> None:
    frames = render(SIZE)
    assert frames.shape == (benchmark.SCENES, *SIZE, 3) and frames.dtype == np.uint8
    assert len(np.unique(frames, axis=0)) == benchmark.SCENES
