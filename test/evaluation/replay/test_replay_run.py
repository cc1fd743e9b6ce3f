# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Many bags: side by side as one after the other, not twice, and a bad one stops no other."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rosbags")
pytest.importorskip("torch")

from scene_bags import IMAGES, LABELS

from lrn_ros import artifact
from lrn_ros.bags.extent import Extent
from lrn_ros.cli.common import plain
from lrn_ros.errors import UserError
from lrn_ros.evaluation.replay import job as replay_job
from lrn_ros.evaluation.replay import run as replay_run
from lrn_ros.evaluation.replay.job import Job, ModelOptions
from lrn_ros.evaluation.replay.part import read_part
from lrn_ros.evaluation.replay.results import merge
from lrn_ros.evaluation.replay.run import Workers, run_jobs
from lrn_ros.evaluation.replay.scoring import TruthOptions
from lrn_ros.labels import LabelSet


@pytest.fixture
def jobs(write_bag, timed, frames, random_model, tmp_path):
    """Three bags of the scene, of six, six and four frames."""
    found = []
    for name, some in (("a", frames[:6]), ("b", frames[6:12]), ("c", frames[12:])):
        images, labels = zip(*some)
        bag = write_bag(
            {IMAGES: timed(images), LABELS: timed(labels)}, LabelSet.load("camvid11"), name=name
        )
        model = ModelOptions(str(random_model), "torch", "fp32", (64, 80), 1)
        folder = tmp_path / "out" / name
        found.append(Job(name, bag, folder, None, model, TruthOptions(), Extent(), True))
    return found


def elsewhere(jobs: list[Job], folder: Path) -> list[Job]:
    return [replace(job, folder=folder / job.name) for job in jobs]


def figures(jobs: list[Job]) -> dict:
    """Everything that does not depend on time."""
    parts = [read_part(job.name, job.folder) for job in jobs]
    found = plain(merge(parts))
    return {k: found[k] for k in ("frames", "accuracy", "temporal", "findings", "complete")}


def break_bag(job: Job) -> None:
    for file in job.bag.iterdir():
        file.write_bytes(b"\0" * 4096)


def test_one_failing_bag_is_reported_and_done_ones_are_not_run_again(jobs, monkeypatch):
    saved = {file: file.read_bytes() for file in jobs[1].bag.iterdir()}
    break_bag(jobs[1])
    outcome = run_jobs(jobs, Workers())
    assert outcome.done == ["a", "c"] and not outcome.interrupted
    ((name, reason),) = outcome.failed
    assert name == "b" and str(jobs[1].bag) in reason
    for file, data in saved.items():
        file.write_bytes(data)
    counts: list[int] = []
    again = run_jobs(jobs, Workers(), counts.append)
    assert (again.reused, again.done, again.failed) == (["a", "c"], ["a", "c", "b"], [])
    assert sum(counts) == 16
    assert run_jobs(jobs, Workers()).reused == ["a", "b", "c"]
    ran = []
    monkeypatch.setattr(replay_run, "run_job", lambda job, *_: not ran.append(job.name))
    changed = [replace(jobs[0], thorough=False), jobs[1], replace(jobs[2], extent=Extent(0.1))]
    run_jobs(changed, Workers())
    os.utime(next(jobs[1].bag.glob("*.db3")), (1, 1))
    os.utime(jobs[0].model.model, (1, 1))
    run_jobs(jobs[:2], Workers())
    assert ran == ["a", "c", "a", "b"]


def test_whatever_file_of_a_name_changes_counts(jobs, monkeypatch, tmp_path):
    """Backends and precisions run other files of the same name."""
    for folder in ("weights", "config/labels", "config/mappings"):
        (tmp_path / folder).mkdir(parents=True)
    names = ["weights/net.safetensors", "weights/net.onnx", "weights/net_fp16.onnx"]
    names += ["config/labels/set.yaml", "config/mappings/to.yaml"]
    for name in (*names, "weights/network.onnx"):
        (tmp_path / name).touch()
    for module in (artifact, replay_job):
        monkeypatch.setattr(module, "share_folder", lambda: tmp_path)
    truth = TruthOptions(labels="set", mapping="to")
    job = replace(jobs[0], model=ModelOptions("net"), truth=truth)
    for name in names:
        before = job.settings()
        os.utime(tmp_path / name, (1, 1))
        assert job.settings() != before, name
    before = job.settings()
    os.utime(tmp_path / "weights/network.onnx", (1, 1))
    assert job.settings() == before


def test_the_only_bag_says_what_is_wrong(jobs):
    break_bag(jobs[0])
    with pytest.raises(UserError, match=str(jobs[0].bag)):
        run_jobs(jobs[:1], Workers())


def test_interrupted(jobs, monkeypatch):
    """Ctrl-C in the second bag: the first is whole, the second as far as it came."""
    count = 0

    def progress(frames: int) -> None:
        nonlocal count
        count += frames
        if count == 8:
            os.kill(os.getpid(), signal.SIGINT)

    outcome = run_jobs(jobs, Workers(), progress)
    assert outcome.interrupted and outcome.done == ["a", "b"]
    part = read_part("b", jobs[1].folder)
    assert not part.summary["complete"] and 1 <= part.tally.frames < 6
    again = run_jobs(jobs, Workers())
    assert again.reused == ["a"] and sorted(again.done) == ["a", "b", "c"]
    assert figures(jobs)["frames"] == 16


def test_workers_give_the_same(jobs, tmp_path):
    pytest.importorskip("distributed")
    run_jobs(jobs, Workers())
    spread = elsewhere(jobs, tmp_path / "spread")
    bad = replace(spread[0], name="bad", bag=tmp_path, folder=tmp_path / "spread" / "bad")
    counts: list[int] = []
    outcome = run_jobs([bad, *spread], Workers(2), counts.append)
    assert sorted(outcome.done) == ["a", "b", "c"] and sum(counts) == 16
    assert [name for name, _ in outcome.failed] == ["bad"]
    assert figures(spread) == figures(jobs)
    assert run_jobs(spread, Workers(2)).reused == ["a", "b", "c"]


def test_a_scheduler_elsewhere(jobs):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        # Threads of this process: what a cluster's workers do, but for their start.
        outcome = run_jobs(jobs[2:], Workers(scheduler=cluster.scheduler_address))
    assert outcome.done == ["c"] and figures(jobs[2:])["frames"] == 4


def test_no_scheduler(jobs, monkeypatch):
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "300ms"}),
        pytest.raises(UserError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers"),
    ):
        run_jobs(jobs, Workers(scheduler="tcp://127.0.0.1:9"))
