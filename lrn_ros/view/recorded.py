# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The frames that a demo recorded, with what the node said of each, as a viewer shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from lrn_ros.data.sources import Source
from lrn_ros.inference.result import STAGES
from lrn_ros.replay.realtime import PlayFiles
from lrn_ros.replay.recording import RecordedFrame
from lrn_ros.replay.records import read_lines
from lrn_ros.view.feed import Figures, View


def recorded_views(
    frames: Sequence[RecordedFrame], source: Source, files: PlayFiles, backend: str
) -> Iterator[View]:
    """Every frame with a mask, in the order of the source.

    Args:
        frames: see lrn_ros.replay.recording.read_recorded.
        source: that was played.
        files: with what the node said.
        backend: that the node used.
    """
    by_index = {frame.index: frame for frame in frames}
    latency: dict[int, dict[str, str]] = {}
    rates: dict[int, dict[str, str]] = {}
    for line in read_lines(files.received):
        if line["kind"] == "latency":
            latency[line["stamp_ns"]] = line["values"]
        elif line["kind"] == "diagnostics" and "input_hz" in line["values"]:
            rates[line["stamp_ns"]] = line["values"]
    reports = sorted(rates)
    for number, frame in enumerate(source.frames(set(by_index)) if by_index else (), 1):
        recorded = by_index[frame.index]
        mask = cv2.imread(str(recorded.mask), cv2.IMREAD_UNCHANGED)
        if mask is None or mask.shape[:2] != frame.rgb.shape[:2]:
            continue  # cut off when the recorder was ended
        stamp = int(recorded.mask.stem)
        values = latency.get(stamp, {})
        before = [at for at in reports if at <= stamp]
        report = rates[before[-1]] if before else {}
        figures = Figures(
            tuple((k, float(values[k])) for k in STAGES if k in values),
            float(report.get("input_hz", 0)),
            float(report.get("output_hz", 0)),
            int(values.get("dropped", 0)),
            values.get("backend", backend),
        )
        yield View(number, frame.rgb, np.asarray(mask, np.uint8), None, stamp, 0.0, figures)
