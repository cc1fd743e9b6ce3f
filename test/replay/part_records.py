# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the files of a replay from counts and times that a test gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.accuracy import Part, PartFiles, read_part
from lrn_ros.replay.figures import STAGES, ModelUse, PartRecord, Realtime
from lrn_ros.replay.records import digest_folder, write_record
from lrn_ros.replay.results import RESULTS, merge
from lrn_ros.replay.tally import Tally

MODEL = ModelUse("net", "lrnnet_c", "none", {"net.onnx": "0"}, "torch", "fp32", "cpu")
RECORD = PartRecord(
    version="0.1.0", date="2026-01-01T00:00:00+00:00", bag="drive", topic="/image", complete=True,
    damage=None, seconds=1.0, image_size=(100, 300), network_size=(96, 288),
    tally=Tally.empty(1), labels=LabelSet("one", ("road",), ((1, 2, 3),)), mapping="",
    ground_truth=None, findings=(), model=MODEL, settings={}, files={},
)  # fmt: skip


def frame_line(index: int, stamp_ns: int, **more: Any) -> dict[str, Any]:
    """A line of frames.jsonl."""
    line = {"index": index, "stamp_ns": stamp_ns, "recorded_ns": stamp_ns, "truth": ""}
    return line | dict.fromkeys(STAGES, 1.0) | {"content": f"{index:016x}"} | more


def write_part(folder: Path, lines: Sequence[Mapping[str, Any]], **changes: Any) -> Part:
    """Write a part as `replay` does; the record is RECORD with some fields changed."""
    folder.mkdir(parents=True, exist_ok=True)
    files = PartFiles(folder)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    files.frames.write_text(text, encoding="utf-8")
    record = replace(RECORD, bag=folder.name, files=digest_folder(folder, ["frames.jsonl"]))
    write_record(files.summary, replace(record, **changes))
    return read_part(folder.name, folder)


def write_results(
    folder: Path, parts: Sequence[Part], realtime: Realtime | None = None, **changes: Any
) -> None:
    """Write results.json as `lrn replay` does, with some fields changed."""
    results = merge(parts, MODEL, realtime, folder=folder)
    write_record(folder / RESULTS, replace(results, **changes))
