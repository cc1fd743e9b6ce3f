# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Many bags: the same results side by side, no bag twice, and a bad bag stops no other bag."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rosbags")
pytest.importorskip("torch")

from scene_bags import IMAGES, LABELS

from lrn_ros.data.bags.times import Extent
from lrn_ros.errors import UserError
from lrn_ros.model import artifact
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay import run as replay_run
from lrn_ros.replay.accuracy import PartFiles, read_part
from lrn_ros.replay.job import Job, ModelOptions
from lrn_ros.replay.records import to_data
from lrn_ros.replay.results import merge
from lrn_ros.replay.run import Workers, run_jobs
from lrn_ros.replay.scoring import TruthOptions


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
    found = to_data(merge(parts))
    return {k: found[k] for k in ("frames", "accuracy", "temporal", "findings", "complete")}


def change(file: Path) -> None:
    """Other content, of the same size and time."""
    data, state = bytearray(file.read_bytes() or b"0"), file.stat()
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


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
    for file in (next(jobs[1].bag.glob("*.db3")), Path(jobs[0].model.model)):
        os.utime(file, (1, 1))  # the content decides, not the time
    assert run_jobs(jobs[:2], Workers()).reused == ["a", "b"] and ran == ["a", "c"]
    change(next(jobs[1].bag.glob("*.db3")))
    run_jobs(jobs[:2], Workers())
    assert ran == ["a", "c", "b"]


def test_whatever_file_of_a_name_changes_counts(jobs, monkeypatch, tmp_path):
    """Backends and precisions run other files of the same name."""
    (tmp_path / "weights").mkdir()
    names = ["weights/net.safetensors", "weights/net.onnx", "weights/net_fp16.onnx"]
    for name in (*names, "weights/network.onnx"):
        (tmp_path / name).write_text("0")
    monkeypatch.setattr(artifact, "share_folder", lambda: tmp_path)
    job = replace(jobs[0], model=ModelOptions("net"))
    for name in names:
        before = job.settings()
        os.utime(tmp_path / name, (1, 1))
        assert job.settings() == before, name
        change(tmp_path / name)
        assert job.settings() != before, name
    before = job.settings()
    change(tmp_path / "weights/network.onnx")
    assert job.settings() == before


def test_whatever_of_label_set_mapping_and_bag_changes_counts(jobs, tmp_path):
    sets = {n: LabelSet.load(n).to_dict() for n in ("cityscapes19", "camvid11")}
    mapping = {"from": "own.yaml", "to": "camvid11", "classes": {}}
    mapping["classes"] = {c["name"]: None for c in sets["cityscapes19"]["classes"]}
    given, own, to = (tmp_path / f"{name}.yaml" for name in ("given", "own", "to"))
    given.write_text(yaml.safe_dump(sets["cityscapes19"]))
    own.write_text(given.read_text())
    to.write_text(yaml.safe_dump(mapping))
    job = replace(jobs[0], truth=TruthOptions(labels=str(given), mapping=str(to)))
    found = [job.settings()]
    for file in (given, own):
        sets["cityscapes19"]["classes"][0]["rgb"] = [1, 2, 3]
        file.write_text(yaml.safe_dump(sets["cityscapes19"]))
        found.append(job.settings())
    to.write_text(yaml.safe_dump(mapping | {"classes": mapping["classes"] | {"road": "road"}}))
    found += [job.settings(), replace(job, workers=2).settings()]
    for split in (jobs[0].bag / "one_0.mcap", jobs[0].bag / "one_1.mcap"):
        split.touch()
        found.append(replace(job, bag=jobs[0].bag / "one_0.mcap").settings())
    assert all(a != b for a, b in zip(found, found[1:]))


def test_what_is_not_whole_is_not_taken(jobs):
    assert run_jobs(jobs[:1], Workers()).reused == []
    assert run_jobs(jobs[:1], Workers()).reused == [jobs[0].name]
    files = PartFiles(jobs[0].folder)
    shutil.rmtree(files.pictures)
    assert run_jobs(jobs[:1], Workers()).reused == []
    files.frames.unlink()
    assert run_jobs(jobs[:1], Workers()).reused == []
    files.frames.write_text("".join(files.frames.read_text().splitlines(True)[:-1]))
    assert run_jobs(jobs[:1], Workers()).reused == []
    change(files.summary)
    assert run_jobs(jobs[:1], Workers()).reused == []
    assert run_jobs(jobs[:1], Workers()).reused == [jobs[0].name]


def test_a_folder_that_is_called_as_a_model_is_none(jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lrnnet_c_camvid", "camvid11", "truth"):
        (tmp_path / name).mkdir()
    options = TruthOptions(where="truth", labels="camvid11", mapping="cityscapes19_to_camvid11")
    job = replace(jobs[0], model=ModelOptions("lrnnet_c_camvid"), truth=options).absolute()
    assert (job.model.model, job.truth.labels) == ("lrnnet_c_camvid", "camvid11")
    assert job.truth.where == str(tmp_path / "truth")


def test_labels_named_by_frame_are_of_one_bag(jobs, tmp_path):
    folder = tmp_path / "truth"
    folder.mkdir()
    (folder / "000000.png").touch()
    numbered = [replace(job, truth=TruthOptions(where=str(folder))) for job in jobs]
    with pytest.raises(UserError, match="labels that are named by frame fit one bag only"):
        run_jobs(numbered, Workers())


def test_a_bag_with_an_unforeseen_fault_stops_no_other(jobs, monkeypatch):
    def run_job(job, *options):
        if job.name == jobs[0].name:
            raise ZeroDivisionError("of nothing")
        return original(job, *options)

    original = replay_run.run_job
    monkeypatch.setattr(replay_run, "run_job", run_job)
    outcome = run_jobs(jobs[:2], Workers())
    assert outcome.failed == [(jobs[0].name, "ZeroDivisionError: of nothing")]
    assert outcome.done == [jobs[1].name]


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
    assert not part.record.complete and 1 <= part.record.tally.frames < 6
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


def test_two_replays_on_one_scheduler_keep_apart(jobs, tmp_path, monkeypatch):
    """The second starts while the first is in its only bag, which is called the same."""
    distributed = pytest.importorskip("distributed")
    both = threading.Barrier(2, timeout=30)

    def run_job(job, *options):
        both.wait()
        return original(job, *options)

    original = replay_run.run_job
    monkeypatch.setattr(replay_run, "run_job", run_job)
    runs = jobs[2:], elsewhere(jobs[2:], tmp_path / "elsewhere")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        ThreadPoolExecutor(2) as pool,
    ):
        workers = Workers(scheduler=cluster.scheduler_address)
        outcomes = list(pool.map(lambda run: run_jobs(run, workers), runs))
    assert [o.done for o in outcomes] == [["c"], ["c"]]
    assert figures(runs[0]) == figures(runs[1])


def test_no_scheduler(jobs, monkeypatch):
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "300ms"}),
        pytest.raises(UserError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers"),
    ):
        run_jobs(jobs, Workers(scheduler="tcp://127.0.0.1:9"))
