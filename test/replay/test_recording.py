# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Accounting and percentiles of a recorded run, on hand-made records."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from lrn_ros.data.contact_sheet import Row, contact_sheet
from lrn_ros.metrics.latency import by_stage, percentiles, rate
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.recording import read_recording, score


@pytest.fixture
def run(tmp_path):
    """Ten frames sent, two superseded, one invalid, one lost on the way: six answered."""
    fates = "aassiaaala"  # answered, superseded, invalid, lost
    sent = [{"index": i, "name": f"{i}", "stamp_ns": 1000 + i} for i in range(10)]
    received = []
    (tmp_path / "masks").mkdir()
    for i, fate in enumerate(fates):
        if fate != "a":
            continue
        values = {"inference_ms": f"{i}.000", "frames": "1", "backend": "torch fp32"}
        values |= {"transport_ms": "nan", "processing_ms": f"{i + 2}.000"}
        received.append({"kind": "latency", "stamp_ns": 1000 + i, "values": values})
        received.append({"kind": "overlay", "stamp_ns": 1000 + i, "position": i})
        mask = np.full((4, 6), i % 2, np.uint8)
        cv2.imwrite(str(tmp_path / "masks" / f"{1000 + i}.png"), mask)
    for n in (4, 9):  # /diagnostics counts up; the last word counts
        values = {"received": f"{n}", "idle": "0", "dropped_superseded": "2"}
        values |= {"dropped_invalid": "1", "dropped_transport": "1", "dropped_stale": "0"}
        received.append({"kind": "diagnostics", "stamp_ns": n, "values": values})
    received.append({"kind": "diagnostics", "stamp_ns": 9, "values": {"state": "active"}})
    for name, lines in (("sent", sent), ("received", received)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name).write_text(text + '{"cut', encoding="utf-8")
    return tmp_path


def test_every_frame_is_accounted_for(run):
    recording = read_recording(run / "sent", run / "received", run / "masks")
    accounting = recording.accounting()
    assert (accounting.sent, accounting.answered, accounting.lost) == (10, 6, 1)
    assert accounting.dropped == {"superseded": 2, "invalid": 1}
    assert accounting.recorded == 6 and accounting.balanced
    assert recording.backend == "torch fp32"
    stages = by_stage([f.stages for f in recording.answered])
    assert list(stages) == ["inference_ms", "processing_ms", "overhead_ms"]  # no transport: NaN
    assert stages["inference_ms"].p50 == np.median([0, 1, 5, 6, 7, 9])
    assert stages["overhead_ms"].p50 == 2


def test_score_takes_answered_and_labelled_frames_only(run):
    labels = LabelSet("two", ("a", "b"), ((0, 0, 0), (9, 9, 9)))
    (run / "labels").mkdir()
    for i in (0, 1, 2, 5):  # frame 2 was superseded
        label = np.zeros((4, 6), np.uint8)
        label[0] = 255
        cv2.imwrite(str(run / "labels" / f"{i:06d}.png"), label)
    recording = read_recording(run / "sent", run / "received", run / "masks")
    found, compared = score(recording, run / "labels", labels)
    # 18 labelled pixels a frame, all of class a; frame 0 says a, frames 1 and 5 say b.
    assert compared == 3 and found is not None
    assert found.iou == (pytest.approx(1 / 3), 0.0)
    assert found.pixel_accuracy == pytest.approx(1 / 3)
    assert score(recording, run / "nowhere", labels) == (None, 0)


def test_nothing_recorded(tmp_path):
    recording = read_recording(tmp_path / "sent", tmp_path / "received", tmp_path / "masks")
    assert recording.accounting().sent == 0 and recording.accounting().balanced
    assert by_stage([]) == {} and percentiles([float("nan")]) is None
    assert rate([]) == rate([5]) == 0.0


def test_percentiles_against_numpy():
    values = np.random.default_rng(1).gamma(2, 30, 500)
    found = percentiles(values.tolist())
    assert found is not None
    expected = np.percentile(values, (50, 95, 99))
    assert (found.p50, found.p95, found.p99) == pytest.approx(tuple(expected), abs=1e-3)
    assert rate(list(range(0, 1_000_000_000, 40_000_000))) == pytest.approx(25.0)


def test_contact_sheet_shows_the_images():
    labels = LabelSet.load("camvid11")
    mask = np.full((90, 160), 8, np.uint8)
    rows = [Row(f"frame {i}", np.full((90, 160, 3), 50 * i, np.uint8),
                np.full((90, 160, 3), 200, np.uint8), mask) for i in (1, 2)]  # fmt: skip
    sheet = contact_sheet("title", rows, labels)
    for column, values in ((0, (50, 50, 50)), (1, (200, 200, 200)), (2, labels.colors[8])):
        x = 6 + column * 486 + 240
        np.testing.assert_array_equal(sheet[56 + 100, x], values)
    for color in labels.colors:  # every class is in the legend
        assert (sheet[-60:] == color).all(2).any()
