# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Comparisons of replays: planted differences are found, what does not compare is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags")

from lrn_ros.cli import main
from lrn_ros.cli.common import write_json
from lrn_ros.metrics.confusion import scores
from lrn_ros.replay.comparison import Margins, compare, losses, read_run
from lrn_ros.replay.frame_counts import marginals
from lrn_ros.replay.part import STAGES, read_part
from lrn_ros.replay.results import RESULTS, merge
from lrn_ros.replay.tally import Tally

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
    ) -> Path:
        folder = tmp_path / name / "bags" / bag
        folder.mkdir(parents=True)
        tally = Tally.empty(len(names))
        times = np.broadcast_to(times, len(frames))
        with (folder / "frames.jsonl").open("w") as lines:
            for i, matrix in enumerate(frames):
                stamp = start_ns + i * STEP_NS
                line = {"index": i, "stamp_ns": stamp, "recorded_ns": stamp}
                line |= dict.fromkeys(STAGES, 1.0)
                line |= {"total_ms": float(times[i]), "pixels": marginals(matrix).tolist()}
                lines.write(json.dumps(line) + "\n")
                tally.matrix += matrix
        tally.frames = tally.labelled = len(frames)
        classes = [{"name": n, "rgb": [i, i, i]} for i, n in enumerate(names)]
        model = {"name": name, "backend": "torch", "precision": "fp32", "device": "cpu"}
        part = {
            "bag": bag, "topic": "/image", "complete": True, "damage": None, "seconds": 1.0,
            "tally": tally.to_dict(), "labels": {"name": "three", "classes": classes},
            "ground_truth": None, "findings": [], "model": model,
        }  # fmt: skip
        write_json(folder / "part.json", part)
        write_json(tmp_path / name / RESULTS, merge([read_part(bag, folder)]))
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


def test_latency(write_run) -> None:
    rng = np.random.default_rng(5)
    slow = np.where(rng.random(FRAMES) < 0.1, 60.0, 22.0)
    a = read_run(write_run("a", matrices(), 20.0))
    b = read_run(write_run("b", matrices(), slow))
    found = compare(a, b)
    assert (found.latency_ms["p50_ms"].a, found.latency_ms["p50_ms"].b) == (20.0, 22.0)
    assert found.latency_ms["p95_ms"].b == 60.0 and found.figures["miou"].loss == 0
    assert losses(found, Margins(0.5)) == []
    assert [loss.sure for loss in losses(found, Margins(0.5, latency_percent=9.0))] == [True, True]
    (p95,) = losses(found, Margins(0.5, latency_percent=11.0))
    assert p95.text == "latency's p95 rose by 200.0 %, 20.00 ms to 60.00 ms"


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
        assert main(["compare", a, b, "--margin", f"{margin:.4f}"]) == status
    car = 100 * loss.classes["car"].loss
    assert car > 2 * points
    arguments = ["compare", a, b, "--margin", "50", "--class-margin"]
    assert main([*arguments, f"{car * 0.99:.4f}"]) == 1
    assert main([*arguments, f"{car * 1.01:.4f}"]) == 0
    capsys.readouterr()
    assert main(["compare", a, b, "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["figures"]["miou"]["loss"] == pytest.approx(points / 100)
    assert len(data["worse"]) == 1 and data["a"]["model"]["name"] == "a"


def test_a_loss_that_may_be_chance_is_marked(write_run, capsys) -> None:
    """One second of thirty got much worse: in many draws it does not occur."""
    frames = matrices()
    once = [*worsened(frames[:10], 2, 0.5), *frames[10:]]
    a, b = write_run("a", frames), write_run("b", once)
    assert main(["compare", str(a), str(b), "--margin", "0.1"]) == 1
    (line,) = re.findall(r"worse .*mIoU.*", capsys.readouterr().out)
    assert line.endswith("; it may be chance, more frames would tell")


def test_a_loss_in_a_second_alone_is_not_certain(write_run, capsys) -> None:
    a = write_run("a", matrices()[:15])
    b = write_run("b", worsened(matrices()[:15], 2, 0.5))
    assert main(["compare", str(a), str(b)]) == 1
    captured = capsys.readouterr()
    assert "too few frames" in captured.out and "nan" not in captured.out
    assert "it may be chance" in captured.out and "only 0 blocks" in captured.err


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
    a, b = write_run("a", matrices()[:40]), write_run("b", matrices()[:40])
    for run, thorough in ((a, False), (b, True)):
        part = run / "bags" / "drive" / "part.json"
        settings = {"thorough": thorough, "smoothing": False, "model": {"threads": 1}}
        part.write_text(json.dumps({**json.loads(part.read_text()), "settings": settings}))
    assert main(["compare", str(a), str(a)]) == 0
    assert "note" not in capsys.readouterr().out
    assert main(["compare", str(a), str(b)]) == 0
    assert "note      the runs differ in --thorough: so may" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bag": "other"}, "a replayed drive, .*b replayed other: only runs over the same bags"),
        ({"names": ("road", "sky", "van")}, "scored in the classes road, sky, car, .*--mapping"),
        ({"start_ns": 5}, "drive, frame 0 with stamp 0 is frame 0 with stamp 5 in"),
        ({"frames": matrices()[:9]}, "300 frames in .*, 9 in .*; replay the same part of it"),
        ({"frames": matrices(1)}, "frame 0 has other ground truth .*the same --ground-truth"),
    ],
)
def test_what_does_not_compare(write_run, capsys, changes, said) -> None:
    import re

    a = write_run("a", matrices())
    b = write_run("b", **{"frames": matrices(), **changes})
    assert main(["compare", str(a), str(b)]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error) and error.count("\n") == 1


def test_folders_without_a_whole_replay(write_run, tmp_path, capsys) -> None:
    a = write_run("a", matrices()[:20])
    assert main(["compare", str(a), str(tmp_path)]) == 2
    assert "no folder of lrn replay --output" in capsys.readouterr().err
    results = json.loads((a / RESULTS).read_text())
    (a / RESULTS).write_text(json.dumps({**results, "complete": False}))
    assert main(["compare", str(a), str(a)]) == 2
    assert "was interrupted; run its lrn replay again" in capsys.readouterr().err
    failed = {"failed": [{"bag": "tour", "error": "not a bag"}]}
    (a / RESULTS).write_text(json.dumps({**results, **failed}))
    assert main(["compare", str(a), str(a)]) == 2
    assert "a: tour failed; run its lrn replay again" in capsys.readouterr().err
