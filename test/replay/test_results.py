# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parts that were replayed elsewhere, or by an earlier run, in one result; hand-made ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from part_records import MODEL, frame_line, write_part

from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.accuracy import Part, read_frames, read_part
from lrn_ros.replay.figures import ModelUse, PartRecord, Point, Throughput
from lrn_ros.replay.records import from_data, to_data
from lrn_ros.replay.results import merge
from lrn_ros.replay.tally import Tally
from lrn_ros.report.page import write_report

CAMVID = LabelSet.load("camvid11")


def part(folder: Path, frames: int, seconds: float, model: ModelUse = MODEL) -> Part:
    """As `replay` leaves it."""
    tally = Tally.empty(11)
    tally.frames = frames
    lines = [frame_line(i, 0, recorded_ns=i) for i in range(frames)]
    return write_part(folder, lines, seconds=seconds, tally=tally, labels=CAMVID, model=model)


def test_all_models_are_named(tmp_path):
    """Workers are other machines, perhaps."""
    cpu = replace(MODEL, backend="openvino", device="a CPU")
    gpu = replace(MODEL, backend="cuda", device="a GPU", files={"net.safetensors": "1"})
    parts = [part(tmp_path / f"{i}", 2, 1.0, m) for i, m in enumerate((cpu, gpu, cpu))]
    assert merge(parts[::2]).model == cpu
    results = merge(parts)
    files = {"net.onnx": "0", "net.safetensors": "1"}
    both = {"backend": "openvino, cuda", "device": "a CPU, a GPU"}
    assert results.model == replace(cpu, files=files, **both)
    with pytest.raises(UserError, match="nothing to report"):
        merge([])
    write_report(tmp_path / "report.html", results, parts)
    assert "openvino, cuda, fp32, a CPU, a GPU" in (tmp_path / "report.html").read_text()


def test_throughput_is_that_of_a_worker(tmp_path):
    """Two that have needed ten seconds each, which may have been the same ten."""
    parts = [part(tmp_path / "a", 30, 10.0), part(tmp_path / "b", 50, 10.0)]
    results = merge(parts)
    assert results.throughput == Throughput(20.0, 4.0)
    write_report(tmp_path / "report.html", results, parts)
    tile = "<b>4.0</b><span>frames per second, one worker</span>"
    assert tile in (tmp_path / "report.html").read_text()


def test_a_part_that_was_cut_or_edited_is_refused(tmp_path):
    found = part(tmp_path / "a", 3, 1.0)
    assert [frame.index for frame in read_frames(found)] == [0, 1, 2]
    files = found.files
    for path, change, said in (
        (files.frames, lambda text: text[:-30], "frames.jsonl: was cut or edited"),
        (files.frames, lambda text: text.replace('"index": 1', '"index": 2'), "was cut or edited"),
        (files.summary, lambda text: text[:-30], "part.json: damaged"),
        (files.summary, lambda text: text.replace('"frames": 3', '"frames": 4'), "cut or edited"),
        (files.summary, lambda text: text.replace('"format": 1', '"format": 9'), "has format 9"),
        (
            files.summary,
            lambda text: text.replace('"format": 1,', ""),
            "a format without a version",
        ),
        (files.summary, lambda text: "[]", "a format without a version"),
    ):
        before = path.read_text()
        path.write_text(change(before))
        with pytest.raises(UserError, match=said):
            read_part("a", tmp_path / "a")
        path.write_text(before)
    assert read_part("a", tmp_path / "a").record.tally.frames == 3
    files.frames.unlink()
    with pytest.raises(UserError, match=r"frames.jsonl: is missing"):
        read_part("a", tmp_path / "a")


def test_a_record_of_other_types_is_refused(tmp_path):
    for changes, where in (
        ({"seconds": "one"}, "part.json.seconds"),
        ({"image_size": (1, 2, 3)}, "part.json.image_size"),
        ({"findings": (1,)}, r"part.json.findings\[0\]"),
        ({"ground_truth": {"source": "x"}}, "part.json.ground_truth"),
        ({"labels": MODEL}, "part.json.labels"),
    ):
        with pytest.raises(UserError, match=where):
            write_part(tmp_path / "a", [], **changes)


def test_a_record_comes_back_as_it_was(tmp_path):
    found = part(tmp_path / "a", 3, 1.0).record
    assert to_data(from_data(PartRecord, to_data(found), "")) == to_data(found)
    accuracy = Tally.empty(11).temporal()
    assert accuracy is None
    point = Point(1.0, 2)
    assert np.isnan(from_data(Point, to_data(point), "").miou)
