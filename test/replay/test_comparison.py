# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Comparisons of replays: planted differences are found, runs that do not fit are refused."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from part_records import MODEL, frame_line, write_part, write_results

pytest.importorskip("rosbags")

from lrn_ros.cli import main
from lrn_ros.errors import UserError
from lrn_ros.metrics.confusion import scores
from lrn_ros.metrics.machine import Pace
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.comparison import Difference, compare, read_run
from lrn_ros.replay.figures import Failure, PlayedAs
from lrn_ros.replay.gate import Margins, Verdict, decide, judge, verdict
from lrn_ros.replay.realtime import Played
from lrn_ros.replay.records import write_record
from lrn_ros.replay.results import RESULTS
from lrn_ros.replay.tally import Tally, marginals

STEP_NS = 100_000_000
NAMES = ("road", "sky", "car")
FRAMES = 300


def matrices(seed: int = 0) -> list[np.ndarray]:
    """Frames of 30,000 pixels, most of them right, with errors that come and go slowly."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(FRAMES):
        wrong = 0.1 + 0.05 * np.sin(i / 20) + 0.02 * rng.random()
        shares = np.full((3, 4), wrong / 2)
        shares[:, 3] = 0
        shares[range(3), range(3)] = 1 - wrong
        sizes = 10_000 + rng.integers(-500, 500, 3)
        found.append(np.stack([rng.multinomial(n, s) for n, s in zip(sizes, shares)]))
    return found


def worsened(frames: list[np.ndarray], k: int, share: float) -> list[np.ndarray]:
    """The same frames in which a share of the hits of class k has no answer."""
    rng = np.random.default_rng(9)
    changed = []
    for matrix in frames:
        matrix, lost = matrix.copy(), rng.binomial(matrix[k, k], share)
        matrix[k, k] -= lost
        matrix[k, 3] += lost
        changed.append(matrix)
    return changed


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write what lrn replay writes, of given confusion matrices and times."""

    def write(
        name: str,
        frames: list[np.ndarray],
        times: Any = 20.0,
        names: tuple[str, ...] = NAMES,
        bag: str = "drive",
        start_ns: int = 0,
        more: Any = None,
        **record: Any,
    ) -> Path:
        tally = Tally.empty(len(names))
        times = np.broadcast_to(times, len(frames))
        lines = []
        for i, matrix in enumerate(frames):
            counts = {"pixels": marginals(matrix).tolist(), **(more[i] if more else {})}
            line = frame_line(i, start_ns + i * STEP_NS, total_ms=float(times[i]), **counts)
            lines.append(line)
            tally.matrix += matrix
        tally.frames = tally.labelled = len(frames)
        labels = LabelSet("three", names, tuple((i, i, i) for i in range(len(names))))
        changes = {"tally": tally, "labels": labels, "model": replace(MODEL, name=name), **record}
        part = write_part(tmp_path / name / "bags" / bag, lines, **changes)
        write_results(tmp_path / name, [part])
        return tmp_path / name

    return write


def test_differences_are_those_of_the_confusion_matrices(write_run) -> None:
    frames, worse = matrices(), worsened(matrices(), 2, 0.05)
    found = compare(read_run(write_run("a", frames)), read_run(write_run("b", worse)))
    a, b = (scores(np.sum(m, axis=0)) for m in (frames, worse))
    assert (found.frames, found.labelled, found.blocks) == (300, 300, 30)
    miou = found.figures["miou"]
    assert (miou.a, miou.b) == (pytest.approx(a.miou), pytest.approx(b.miou))
    assert miou.loss == pytest.approx(a.miou - b.miou) and miou.sure
    assert miou.low < b.miou - a.miou < miou.high < 0
    for i, name in enumerate(NAMES):
        assert found.classes[name].loss == pytest.approx(a.iou[i] - b.iou[i])
    assert found.figures["pixel_accuracy"].b == pytest.approx(b.pixel_accuracy)
    assert "consistency" not in found.figures


def test_intervals_are_those_of_paired_frames(write_run) -> None:
    """All frames equally large: pixel accuracy is a mean, its difference has a closed form."""
    rng = np.random.default_rng(4)
    hits = rng.integers(800, 1000, (2, FRAMES))
    hits[1] = hits[0] - rng.integers(0, 40, FRAMES)  # a pair has much in common
    runs = []
    for name, side in zip("ab", hits):
        frames = [np.array([[h, 1000 - h, 0], [0, 0, 0]]) for h in side]
        runs.append(read_run(write_run(name, frames, names=("one", "two"))))
    found = compare(*runs).figures["pixel_accuracy"]
    paired = (hits[1] - hits[0]) / 1000
    half = 1.96 * paired.std(ddof=1) / np.sqrt(FRAMES)
    assert found.b - found.a == pytest.approx(paired.mean())
    assert found.low == pytest.approx(paired.mean() - half, abs=0.25 * half)
    assert found.high == pytest.approx(paired.mean() + half, abs=0.25 * half)
    unpaired = 1.96 * np.sqrt(hits.var(1).sum() / FRAMES) / 1000
    assert found.high - found.low < unpaired / 2


def played(times: np.ndarray, pace: float = 5.0, interleaved: bool = False) -> Played:
    """A bag of 10 images a second that was played; NaN: an image that was not answered."""
    how = PlayedAs("drive", "drive", "/image", 1.0, 1, False, 0.0, None, 10.0, True)
    how = replace(how, before=Pace(pace, 0.1), after=Pace(pace, 0.1), interleaved=interleaved)
    answered = np.flatnonzero(np.isfinite(times))
    stamps = [i * STEP_NS for i in range(len(times))]
    stages = {"end_to_end_ms": times[answered]}
    frames = [(0, i) for i in range(len(times))]
    return Played(how, frames, stamps, [0.0] * len(times), answered, stages, [], {}, "torch fp32")


def test_latency_is_that_of_real_time(write_run) -> None:
    rng = np.random.default_rng(5)
    slow = np.where(rng.random(FRAMES) < 0.1, 60.0, 22.0)
    slow[::50] = np.nan
    a, b = (read_run(write_run(name, matrices())) for name in "ab")
    with pytest.raises(UserError, match="latency and drops are those of real time"):
        judge(compare(a, b), Margins(latency_percent=9.0))
    a = replace(a, played={"drive": played(np.full(FRAMES, 20.0))})
    b = replace(b, played={"drive": played(slow, pace=5.2)})
    found = compare(a, b)
    assert (found.realtime["p50_ms"].a, found.realtime["p50_ms"].b) == (20.0, 22.0)
    assert found.realtime["p95_ms"].b == 60.0 and found.realtime["p95_ms"].samples == FRAMES - 6
    assert found.realtime["unanswered"].b == pytest.approx(0.02)
    assert found.drift == pytest.approx(0.04) and not found.interleaved
    states = {j.name: j for j in judge(found, Margins(latency_percent=9.0))}
    assert states["latency's p50"].state is Verdict.WORSE
    states = {j.name: j for j in judge(found, Margins(latency_percent=11.0, drop_points=5.0))}
    assert states["latency's p50"].state is Verdict.PASSES
    assert states["share of unanswered images"].state is Verdict.PASSES
    assert states["latency's p95"].text == "latency's p95 rose by 200.0 %, 20.00 ms to 60.00 ms"
    judged = judge(found, Margins(drop_points=0.1))
    assert [j.state for j in judged if "unanswered" in j.name] == [Verdict.WORSE]
    # A machine that was slower by more than the margin decides nothing, turns do.
    for pace, turns, state in (
        ((6.0, 5.0), False, Verdict.DRIFT), ((6.0, 5.0), True, Verdict.WORSE),
        ((6.0, 6.0), True, Verdict.DRIFT),
    ):  # fmt: skip
        of_a, of_b = played(np.full(FRAMES, 20.0), 5.0, turns), played(slow, pace[0], turns)
        of_a = replace(of_a, how=replace(of_a.how, after=Pace(6.0, 0.1)))
        of_b = replace(of_b, how=replace(of_b.how, after=Pace(pace[1], 0.1)))
        a, b = replace(a, played={"drive": of_a}), replace(b, played={"drive": of_b})
        judged = judge(compare(a, b), Margins(latency_percent=9.0))
        assert verdict(judged) is state


def test_runs_that_were_played_otherwise_are_refused(write_run) -> None:
    a, b = (read_run(write_run(name, matrices())) for name in "ab")
    a = replace(a, played={"drive": played(np.full(FRAMES, 20.0))})
    for other in (played(np.full(FRAMES - 1, 20.0)), None):
        b = replace(b, played={"drive": other} if other else {"other": a.played["drive"]})
        with pytest.raises(UserError, match="were not played in the same way"):
            compare(a, b)


@pytest.mark.parametrize(
    ("low", "high", "samples", "state"),
    [
        (-0.004, 0.002, 300, Verdict.PASSES),  # a loss of at most 0.4 points
        (-0.02, -0.006, 300, Verdict.WORSE),
        (-0.02, 0.01, 300, Verdict.TOO_FEW),  # it may be anything
        (-0.007, 0.001, 300, Verdict.PASSES),  # the figure decides: a loss of 0.3 points
        (-0.009, -0.002, 300, Verdict.WORSE),  # 0.55 points
        (-0.02, -0.006, 9, Verdict.TOO_FEW),
        (np.nan, np.nan, 300, Verdict.TOO_FEW),
        (0.0, 0.0, 3, Verdict.PASSES),  # no frame differs
    ],
)
def test_a_figure_decides_if_its_interval_is_short_enough(low, high, samples, state) -> None:
    """A margin of half a point, for a figure of which more is better."""
    loss = 0.0 if np.isnan(low) else -(low + high) / 2
    difference = Difference(0.6, 0.6 - loss, low, high, loss, False, samples)
    assert decide(difference, 0.005, lower_is_better=False) is state
    mirrored = replace(difference, low=-high, high=-low)
    assert decide(mirrored, 0.005, lower_is_better=True) is state


def test_gate(write_run, capsys) -> None:
    a = str(write_run("a", matrices()))
    b = str(write_run("b", worsened(matrices(), 2, 0.05)))
    assert main(["compare", a, a]) == 0
    assert "verdict   B passes" in capsys.readouterr().out
    assert main(["compare", a, b]) == 1
    out = capsys.readouterr().out
    assert "worse     mIoU fell by" in out and "verdict   B is worse than A" in out
    assert main(["compare", b, a]) == 0  # better
    loss = compare(*map(read_run, map(Path, (a, b))))
    points = 100 * loss.figures["miou"].loss
    for margin, status in ((points * 0.99, 1), (points * 1.01, 0)):
        margins = ["--margin", f"{margin:.4f}", "--class-margin", "50"]
        assert main(["compare", a, b, *margins]) == status
    car = 100 * loss.classes["car"].loss
    assert car > 2 * points
    arguments = ["compare", a, b, "--margin", "50", "--class-margin"]
    assert main([*arguments, f"{car * 0.99:.4f}"]) == 1
    assert main([*arguments, f"{car * 1.01:.4f}"]) == 0
    capsys.readouterr()
    assert main(["compare", a, b, "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["figures"]["miou"]["loss"] == pytest.approx(points / 100)
    assert len(data["worse"]) == 2 and data["verdict"] == "B is worse than A"
    assert data["a"]["model"]["name"] == "a"


def test_a_loss_that_may_be_chance_decides_nothing(write_run, capsys) -> None:
    """One second of thirty got much worse: in many draws it does not occur."""
    frames = matrices()
    once = [*worsened(frames[:10], 2, 0.5), *frames[10:]]
    a, b = write_run("a", frames), write_run("b", once)
    assert main(["compare", str(a), str(b), "--margin", "0.1"]) == 2
    out = capsys.readouterr().out
    (line,) = re.findall(r"undecided .*mIoU.*", out)
    assert line.endswith("; 300 frames are too few for this margin")
    assert "verdict   none: too few frames for mIoU" in out


def test_a_second_alone_decides_nothing(write_run, capsys) -> None:
    a = write_run("a", matrices()[:15])
    b = write_run("b", worsened(matrices()[:15], 2, 0.5))
    assert main(["compare", str(a), str(b)]) == 2
    captured = capsys.readouterr()
    assert "too few frames" in captured.out and "nan" not in captured.out
    assert "only 0 blocks" in captured.err
    assert main(["compare", str(a), str(a)]) == 0  # not one frame differs
    assert "verdict   B passes" in capsys.readouterr().out


def test_a_handful_of_pairs_decides_nothing(write_run, capsys) -> None:
    """Three pairs that got much worse, in 300 frames that got better."""
    sampled = {0: 0.9, 100: 0.9, 200: 0.9}
    pairs = []
    for share in (0.9, 0.5):
        hits = np.full(3, int(1000 * share))
        before = [hits.tolist(), [1000] * 3, [1000] * 3]
        pairs.append([
            {"before": before, "still": 100, "flickered": 3} if i in sampled else {}
            for i in range(FRAMES)
        ])  # fmt: skip
    a = write_run("a", worsened(matrices(), 2, 0.05), more=pairs[0])
    b = write_run("b", matrices(), more=pairs[1])
    assert main(["compare", str(a), str(b)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"undecided temporal consistency fell .*; 3 pairs are too few", out)
    assert re.search(r"consistency, % .* 3 pairs\n", out) and "300 frames\n" in out


def test_classes_of_people_and_cars_are_gated_by_default(write_run, capsys) -> None:
    a, b = write_run("a", matrices()), write_run("b", worsened(matrices(), 2, 0.05))
    loose = ["compare", str(a), str(b), "--margin", "50"]
    assert main(loose) == 1
    assert "worse     IoU of car fell by" in capsys.readouterr().out
    assert main([*loose, "--class-margin", "50"]) == 0
    assert main([*loose, "--class-margin", "car=1", "--class-margin", "50"]) == 1
    assert main([*loose, "--class-margin", "sky=1"]) == 0
    assert main([*loose, "--class-margin", "van=1"]) == 2
    assert "--class-margin van: no such class was scored" in capsys.readouterr().err


def test_margins_of_figures_that_the_runs_do_not_have(write_run, capsys) -> None:
    a = str(write_run("a", matrices()))
    for option, said in (("--boundary-margin", "no boundary F-score"), ("--flicker-margin", "no f"),
                         ("--drop-margin", "drops are those of real time")):  # fmt: skip
        assert main(["compare", a, a, option, "1"]) == 2
        assert said in capsys.readouterr().err


def test_nothing_to_compare(write_run, capsys) -> None:
    a = write_run("a", [np.zeros((3, 4), np.int64)] * 9)
    assert main(["compare", str(a), str(a)]) == 2
    error = capsys.readouterr().err
    assert "nothing to compare: no ground truth" in error and error.count("\n") == 1


def test_a_stray_pixel_of_an_absent_class_is_no_loss(write_run, capsys) -> None:
    names = (*NAMES, "van")
    wide = [np.pad(m[:, :3], ((0, 1), (0, 2))) for m in matrices()[:100]]
    stray = [m.copy() for m in wide]
    stray[50][0, 3] += 1
    stray[50][0, 0] -= 1
    a, b = (write_run(n, f, names=names) for n, f in (("a", wide), ("b", stray)))
    assert main(["compare", str(a), str(b)]) == 0
    assert "note      van: not in the ground truth, and answered by one" in capsys.readouterr().out
    found = compare(read_run(a), read_run(b))
    assert found.unpaired == ("van",) and "van" not in found.classes
    assert 0 < found.figures["miou"].loss < 1e-5


def test_what_latency_depends_on_is_noted(write_run, capsys) -> None:
    settings = {"thorough": False, "smoothing": False, "model": {"threads": 1}}
    a = write_run("a", matrices()[:40], settings=settings)
    b = write_run("b", matrices()[:40], settings=settings | {"thorough": True})
    assert main(["compare", str(a), str(a)]) == 0
    assert "note" not in capsys.readouterr().out
    assert main(["compare", str(a), str(b)]) == 0
    assert "note      the runs differ in --thorough: latencies may" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bag": "other"}, "a replayed drive, .*b replayed other: only runs over the same bags"),
        ({"names": ("road", "sky", "van")}, "scored in the classes road, sky, car, .*--mapping"),
        ({"start_ns": 5}, "drive, frame 0 with stamp 0 is frame 0 with stamp 5 in"),
        ({"frames": matrices()[:9]}, "300 frames in .*, 9 in .*; replay the same part of it"),
        ({"frames": matrices(1)}, "frame 0 has other ground truth .*the same --ground-truth"),
        ({"network_size": (64, 192)}, "network size 96x288, .* 64x192: .*--allow network-size"),
        ({"mapping": "labels from x"}, "with mapping none, .* with mapping labels from x"),
        ({"topic": "/other"}, "with image topic /image, .* with image topic /other"),
        ({"more": [{"truth": "1"}] * 300}, "frame 0 has other ground truth"),
        ({"more": [{"content": "1"}] * 300}, "frame 0 is another image .* two recordings"),
    ],
)
def test_what_does_not_compare(write_run, capsys, changes, said) -> None:
    a = write_run("a", matrices())
    b = write_run("b", **{"frames": matrices(), **changes})
    assert main(["compare", str(a), str(b)]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error) and error.count("\n") == 1


def test_other_versions_and_network_sizes_can_be_allowed(write_run, capsys) -> None:
    a = write_run("a", matrices())
    b = write_run("b", matrices(), network_size=(64, 192))
    results = read_run(b).results
    made = replace(results.provenance, version="0.0.9")
    write_record(b / RESULTS, replace(results, provenance=made))
    assert main(["compare", str(a), str(b)]) == 2
    assert "by lrn_ros 0.1.0, " in (error := capsys.readouterr().err) and "by 0.0.9:" in error
    assert main(["compare", str(a), str(b), "--allow", "version"]) == 2
    assert "--allow network-size" in capsys.readouterr().err
    assert main(["compare", str(a), str(b), *(2 * ["--allow", "version", "--allow",
                                                   "network-size"])]) == 0  # fmt: skip
    assert "the runs differ in --network-size" in capsys.readouterr().out


def test_folders_without_a_whole_replay(write_run, tmp_path, capsys) -> None:
    a = write_run("a", matrices()[:20])
    assert main(["compare", str(a), str(tmp_path)]) == 2
    assert "is no folder of lrn replay --output" in capsys.readouterr().err
    os.mkfifo(tmp_path / RESULTS)  # a reader would wait for ever
    assert main(["compare", str(a), str(tmp_path)]) == 2
    assert "results.json: is no file" in capsys.readouterr().err
    results = read_run(a).results
    write_record(a / RESULTS, replace(results, complete=False))
    assert main(["compare", str(a), str(a)]) == 2
    assert "was interrupted; run the same lrn replay again" in capsys.readouterr().err
    write_record(a / RESULTS, replace(results, failed=(Failure("tour", "not a bag"),)))
    assert main(["compare", str(a), str(a)]) == 2
    assert "a: tour failed; run the same lrn replay again" in capsys.readouterr().err
    write_record(a / RESULTS, replace(results, bags=()))
    assert main(["compare", str(a), str(a)]) == 2
    assert "real time only" in capsys.readouterr().err


FOLDER = ("results.json", "bags/drive/part.json", "bags/drive/frames.jsonl")


def damaged(rng: np.random.Generator, a: Path, b: Path) -> str:
    """Cut, edit, swap or lose something in the folder of B; returns what was done."""
    name = FOLDER[rng.integers(len(FOLDER))]
    file = b / name
    data = bytearray(file.read_bytes())
    at = int(rng.integers(len(data)))
    way = ("cut", "byte", "digit", "line", "swap", "lose", "insert", "other")[rng.integers(8)]
    if way == "cut":
        data = data[:at]
    elif way == "byte":
        data[at] ^= 1 << int(rng.integers(8))
    elif way == "digit":
        digits = [i for i, c in enumerate(data) if chr(c).isdigit()]
        data[digits[rng.integers(len(digits))]] = ord(str(rng.integers(10)))
    elif way == "line":
        lines = data.splitlines(True)
        lines.pop(int(rng.integers(len(lines))))
        data = bytearray(b"".join(lines))
    elif way == "insert":
        data[at:at] = data[at : at + int(rng.integers(1, 60))]
    elif way == "swap":  # the file of the run that is better
        data = bytearray((a / name).read_bytes())
    elif way == "other":
        data = bytearray((b / FOLDER[rng.integers(len(FOLDER))]).read_bytes())
    file.unlink() if way == "lose" else file.write_bytes(bytes(data))
    return f"{way} {name} at {at}"


def test_nothing_that_is_done_to_a_folder_makes_a_worse_run_pass(write_run, capsys) -> None:
    """Status 0 never; 1 where the damage changes nothing, 2 with one line otherwise."""
    a = write_run("a", matrices()[:40])
    b = write_run("b", worsened(matrices()[:40], 2, 0.4))
    whole = {name: (b / name).read_bytes() for name in FOLDER}
    rng, statuses = np.random.default_rng(3), set()
    assert main(["compare", str(a), str(b)]) == 1
    for _ in range(int(os.environ.get("LRN_FUZZ", "300"))):
        what = damaged(rng, a, b)
        same = all((b / n).is_file() and (b / n).read_bytes() == d for n, d in whole.items())
        capsys.readouterr()
        status = main(["compare", str(a), str(b)])
        error = capsys.readouterr().err
        assert status != 0, what
        assert status == 2 or same or "frames.jsonl" not in what, what
        if status == 2:
            assert error.startswith("lrn compare: ") and error.count("\n") == 1, (what, error)
        statuses.add(status)
        for name, data in whole.items():
            (b / name).write_bytes(data)
    assert 2 in statuses
