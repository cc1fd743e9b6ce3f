# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Accounts, latency and rates of bags that were played, on hand-made records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from part_records import MODEL

from lrn_ros.replay.figures import PlayedAs, Realtime
from lrn_ros.replay.realtime import PlayFiles, figures, read_played
from lrn_ros.replay.results import merge
from lrn_ros.report.page import write_report

MS = 1_000_000
ABOUT = PlayedAs("drive", "drive", "/image", 1.0, 1, False, 0.0, None, 10.0, True)
DELIVERED = {0: 30.0, 1: 34.0, 4: 31.0, 5: 40.0, 6: 33.0, 8: 32.0}  # image to mask, ms


def write(folder, invalid, stamp_ns=None):
    """Ten frames: six answered, two superseded, one lost, and one told to be invalid, or untold.

    With `stamp_ns` all images have that stamp, also the one before the first frame.
    """
    files = PlayFiles(folder)
    folder.mkdir()
    sent, received = [], []
    for i in range(10):
        at = 5_000 * MS + i * 100 * MS
        sent.append({"index": i, "loop": 0, "due_ns": at - i * MS, "stamp_ns": i, "at_ns": at})
        if i not in DELIVERED:
            continue
        values = {"processing_ms": f"{20 + i}.000", "inference_ms": "15.000"}
        values |= {"queue_ms": "1.000", "transport_ms": "nan", "backend": "torch fp32"}
        arrival = at + int(DELIVERED[i] * MS)
        received.append({"kind": "latency", "stamp_ns": i, "at_ns": arrival, "values": values})
        if i != 8:  # the subscriber has missed a mask
            received.append({"kind": "mask", "stamp_ns": i, "at_ns": arrival})
    # An image before the first frame was answered, and three were dropped; /diagnostics counts up.
    values = {"processing_ms": "900.000", "inference_ms": "900.000", "backend": "torch fp32"}
    for kind in ("latency", "mask"):
        line = {"kind": kind, "stamp_ns": -7, "at_ns": 4_000 * MS, "values": values}
        received.insert(0, line)
    for at, superseded in ((4_990, 3), (5_400, 4), (6_200, 5)):
        values = {"received": "1", "idle": "0", "dropped_superseded": f"{superseded}"}
        values |= {"dropped_transport": "1", "dropped_invalid": f"{int(invalid)}"}
        if at == 4_990:
            values |= {"dropped_transport": "0", "dropped_invalid": "0"}
        received.append({"kind": "diagnostics", "at_ns": at * MS, "stamp_ns": 0, "values": values})
    received.append({"kind": "diagnostics", "stamp_ns": 9, "values": {"state": "active"}})
    for file, lines in ((files.sent, sent), (files.received, received)):
        lines = [ln if stamp_ns is None else ln | {"stamp_ns": stamp_ns} for ln in lines]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        file.write_text(text + '{"cut', encoding="utf-8")
    return folder


def test_what_nobody_has_told_is_unaccounted(tmp_path):
    frames = read_played(write(tmp_path / "a", invalid=False), ABOUT).account()
    assert (frames.published, frames.answered, frames.delivered) == (10, 6, 5)
    assert frames.dropped == {"superseded": 2, "transport": 1, "invalid": 0}
    assert frames.unaccounted == 1
    assert read_played(write(tmp_path / "b", invalid=True), ABOUT).account().unaccounted == 0


def test_images_of_one_stamp_are_told_apart_by_time(tmp_path):
    """Stamps that are not set: the image before the first frame is none of them either."""
    run = read_played(write(tmp_path / "unset", invalid=True, stamp_ns=0), ABOUT)
    other = read_played(write(tmp_path / "set", invalid=True), ABOUT)
    assert run.account() == other.account() and run.account().unaccounted == 0
    assert list(run.answered) == list(other.answered) == list(DELIVERED)
    found, usual = figures([run]), figures([other])
    assert "delivered_ms" not in found.latency_ms  # nobody knows whose mask it was
    assert found.latency_ms["processing_ms"] == usual.latency_ms["processing_ms"]
    assert found.bags[0].fps_in == usual.bags[0].fps_in
    assert found.bags[0].fps_out == usual.bags[0].fps_out


def test_figures_of_one_bag(tmp_path):
    found = figures([read_played(write(tmp_path / "a", invalid=True), ABOUT)])
    stages = found.latency_ms
    assert stages["processing_ms"].p50 == np.median([20, 21, 24, 25, 26, 28])
    assert stages["overhead_ms"].p50 == np.median([4, 5, 8, 9, 10, 12])
    assert stages["delivered_ms"].count == 5 and stages["delivered_ms"].p50 == 33
    assert "transport_ms" not in stages  # unknown
    assert found.jitter_ms == np.mean([4, 3, 9, 7])
    assert sum(found.histogram.counts) == 5
    (bag,) = found.bags
    assert bag.fps_in == 10 and bag.backend == "torch fp32"
    # Masks arrived at 30, 134, 431, 540 and 633 ms.
    assert bag.fps_out == pytest.approx(4 / 0.603)
    between = bag.between_masks_ms
    assert (between.p50, between.max) == (np.median([104, 297, 109, 93]), 297)
    assert bag.late_ms.max == 9 and bag.late_ms.p50 == 4.5
    points = found.curve[0].points
    shares = [np.mean([i in DELIVERED for i in half]) for half in (range(5), range(5, 10))]
    assert [p.answered_share for p in points] == shares
    assert [p.p50_ms for p in points] == [np.median([30, 34, 31]), np.median([40, 33])]


def test_bags_add_up(tmp_path):
    runs = [read_played(write(tmp_path / "a", invalid=True), ABOUT)]
    about = replace(ABOUT, name="other", complete=False)
    runs.append(read_played(write(tmp_path / "b", invalid=False), about))
    found = figures(runs)
    assert found.frames.published == 20 and found.frames.answered == 12
    assert found.frames.dropped == {"superseded": 4, "transport": 2, "invalid": 1}
    assert found.frames.unaccounted == 1 and not found.complete
    assert found.latency_ms["processing_ms"].count == 12
    assert [b.played.name for b in found.bags] == ["drive", "other"]


def page(folder: Path, realtime: Realtime) -> str:
    """The report of real time alone."""
    write_report(folder / "report.html", merge([], MODEL, realtime), [])
    return (folder / "report.html").read_text()


def test_nothing_was_played_before_the_interruption(tmp_path):
    found = figures([read_played(tmp_path / "nothing", replace(ABOUT, complete=False))])
    assert found.frames.published == 0 == found.frames.unaccounted
    assert found.latency_ms == {} and found.histogram is None
    assert "Not all was played" in page(tmp_path, found)


def test_the_report_tells_what_is_unaccounted(tmp_path):
    texts = []
    for invalid in (False, True):
        run = read_played(write(tmp_path / f"{invalid}", invalid=invalid), ABOUT)
        found = figures([run])
        texts.append(page(tmp_path, found))
    assert "1 frames are unaccounted for" in texts[0] and "<th>unaccounted</th>" in texts[0]
    assert "Every published frame is accounted for." in texts[1]
    assert "<th>unaccounted</th>" not in texts[1] and "<th>invalid</th>" in texts[1]
    for text in texts:
        assert "<td>drive</td><td>10</td><td>6</td><td>2</td><td>1</td>" in text
        assert text.count("<svg") == 3  # a histogram and two curves
