# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parts that were replayed elsewhere, or by an earlier run, in one result; hand-made ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.accuracy import PartFiles
from lrn_ros.replay.part import STAGES, Part, read_frames, read_part
from lrn_ros.replay.results import merge
from lrn_ros.replay.tally import Tally
from lrn_ros.report.page import write_report

CAMVID = LabelSet.load("camvid11")


def part(folder: Path, frames: int, seconds: float, model: dict[str, str] | None) -> Part:
    """As `replay` leaves it; the last line is one that a killed process left unfinished."""
    folder.mkdir()
    files, tally = PartFiles(folder), Tally.empty(11)
    tally.frames = frames
    line = dict.fromkeys(STAGES, 1.0) | {"stamp_ns": 0, "recorded_ns": 0}
    lines = [json.dumps(line | {"index": i, "recorded_ns": i}) for i in range(frames)]
    files.frames.write_text("\n".join([*lines, '{"cut": {}']), encoding="utf-8")
    summary = {
        "bag": folder.name, "topic": "/image", "complete": True, "damage": None,
        "seconds": seconds, "tally": tally.to_dict(), "labels": CAMVID.to_dict(),
        "ground_truth": None, "findings": [],
    }  # fmt: skip
    summary |= {} if model is None else {"model": model}
    files.summary.write_text(json.dumps(summary), encoding="utf-8")
    return read_part(folder.name, folder)


def test_all_models_are_named(tmp_path):
    """Workers are other machines, perhaps."""
    cpu = {"name": "net", "backend": "openvino", "precision": "fp32", "device": "a CPU"}
    gpu = cpu | {"backend": "cuda", "device": "a GPU"}
    parts = [part(tmp_path / f"{i}", 2, 1.0, m) for i, m in enumerate((cpu, gpu, cpu, None))]
    assert merge(parts[::2])["model"] == cpu
    results = merge(parts)
    both = {"backend": "openvino, cuda", "device": "a CPU, a GPU"}
    assert results["model"] == cpu | both
    assert merge(parts[3:])["model"] is None
    write_report(tmp_path / "report.html", results, parts)
    assert "openvino, cuda, fp32, a CPU, a GPU" in (tmp_path / "report.html").read_text()


def test_throughput_is_that_of_a_worker(tmp_path):
    """Two that have needed ten seconds each, which may have been the same ten."""
    parts = [part(tmp_path / "a", 30, 10.0, None), part(tmp_path / "b", 50, 10.0, None)]
    results = merge(parts)
    assert results["throughput"] == {"seconds": 20.0, "fps": 4.0}
    write_report(tmp_path / "report.html", results, parts)
    tile = "<b>4.0</b><span>frames a second, one worker</span>"
    assert tile in (tmp_path / "report.html").read_text()


def test_a_part_is_read_as_far_as_it_was_written(tmp_path):
    found = part(tmp_path / "a", 3, 1.0, None)
    assert [frame["index"] for frame in read_frames(found)] == [0, 1, 2]
    found.files.frames.unlink()
    with pytest.raises(UserError, match=r"a: holds no replayed bag .*no frames.jsonl"):
        read_part("a", tmp_path / "a")
