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
from lrn_ros.replay.realtime import PlayFiles
from lrn_ros.replay.recording import read_recorded, score


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
        if i != 9:
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
        (tmp_path / f"{name}.jsonl").write_text(text + '{"cut', encoding="utf-8")
    return tmp_path


def recorded(run):
    return read_recorded(PlayFiles(run), run / "masks")


def test_frames_with_a_mask_are_found(run):
    found = recorded(run)
    assert [frame.index for frame in found] == [0, 1, 5, 6, 7, 9]
    assert [frame.position for frame in found] == [0, 1, 5, 6, 7, None]
    assert found[1].mask == run / "masks" / "1001.png"


def test_score_takes_answered_and_labelled_frames_only(run):
    labels = LabelSet("two", ("a", "b"), ((0, 0, 0), (9, 9, 9)))
    (run / "labels").mkdir()
    for i in (0, 1, 2, 5):  # frame 2 was superseded
        label = np.zeros((4, 6), np.uint8)
        label[0] = 255
        cv2.imwrite(str(run / "labels" / f"{i:06d}.png"), label)
    tally = score(recorded(run), run / "labels", labels)
    # 18 labelled pixels a frame, all of class a; frame 0 says a, frames 1 and 5 say b.
    found = tally.accuracy(labels.names)
    assert tally.labelled == 3 and found is not None
    assert [c.iou for c in found.classes.values()] == [pytest.approx(1 / 3), 0.0]
    assert found.pixel_accuracy == pytest.approx(1 / 3)
    assert score(recorded(run), run / "nowhere", labels).labelled == 0


def test_nothing_recorded(tmp_path):
    assert recorded(tmp_path) == [] and score([], tmp_path, LabelSet.load("camvid11")).frames == 0
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
