# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reads what a demo recorded and scores it: accounting, latency, accuracy, contact sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.contact_sheet import Row
from lrn_ros.data.datasets import read_label
from lrn_ros.data.sources import Source
from lrn_ros.metrics.confusion import Scores, confusion_matrix, scores
from lrn_ros.metrics.latency import Accounting, AnsweredFrame, SentFrame, overhead
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.records import read_lines


@dataclass(frozen=True)
class Recording:
    """What one run left behind.

    Attributes:
        sent: frames in the order they were sent.
        answered: the node's latency records in order.
        positions: stamp -> position in the overlay video.
        masks: stamp -> file of the recorded mask.
        backend: what the node ran on.
        counts: the node's last word on its camera: received, idle, dropped_CAUSE, ...
    """

    sent: tuple[SentFrame, ...]
    answered: tuple[AnsweredFrame, ...]
    positions: Mapping[int, int]
    masks: Mapping[int, Path]
    backend: str
    counts: Mapping[str, int]

    def accounting(self) -> Accounting:
        """Where every sent frame went."""
        stamps = {f.stamp_ns for f in self.sent}
        answered = sum(f.stamp_ns in stamps for f in self.answered)
        dropped = {
            name.removeprefix("dropped_"): n
            for name, n in self.counts.items()
            # What was lost on the way never arrived, so it counts as lost and not as dropped.
            if name.startswith("dropped_") and name != "dropped_transport" and n
        }
        received = self.counts.get("received", answered)
        return Accounting(
            sent=len(self.sent),
            answered=answered,
            dropped=dropped,
            idle=self.counts.get("idle", 0),
            lost=len(self.sent) - received,
            recorded=len(self.masks),
        )


def read_recording(sent: Path, received: Path, masks: Path) -> Recording:
    """Read the JSON lines of player and recorder, and find the masks."""
    answered, positions, backend = [], {}, ""
    counts: dict[str, int] = {}
    for line in read_lines(received):
        stamp, values = line["stamp_ns"], line.get("values", {})
        if line["kind"] == "latency":
            stages = {k: float(v) for k, v in values.items() if k.endswith("_ms")}
            answered.append(AnsweredFrame(stamp, stages | {"overhead_ms": overhead(stages)}))
            backend = values["backend"]
        elif line["kind"] == "overlay":
            positions[stamp] = line["position"]
        elif "received" in values:
            counts = {k: int(v) for k, v in values.items() if v.isdigit()}
    frames = tuple(SentFrame(f["index"], f["name"], f["stamp_ns"]) for f in read_lines(sent))
    found = {int(p.stem): p for p in masks.glob("*.png")}
    files = {f.stamp_ns: found[f.stamp_ns] for f in frames if f.stamp_ns in found}
    return Recording(frames, tuple(answered), positions, files, backend, counts)


def score(recording: Recording, folder: Path, labels: LabelSet) -> tuple[Scores | None, int]:
    """Compare recorded masks with the labels INDEX.png in `folder`.

    Returns:
        the scores and the number of frames compared; None where no answered frame has a label.
    """
    matrix = np.zeros((len(labels), len(labels) + 1), np.int64)
    compared = 0
    written = replace(labels, ids=(), void=())  # the recorder writes class ids, not the set's own
    for frame in recording.sent:
        label_file = folder / f"{frame.index:06d}.png"
        mask_file = recording.masks.get(frame.stamp_ns)
        if mask_file is None or not label_file.is_file():
            continue
        prediction = cv2.imread(str(mask_file), cv2.IMREAD_UNCHANGED)
        truth = read_label(label_file, written)
        if prediction is None or prediction.shape != truth.shape:
            continue
        matrix += confusion_matrix(truth, prediction.astype(np.uint8), len(labels))
        compared += 1
    return (scores(matrix) if compared else None), compared


def sample_rows(recording: Recording, source: Source, video: Path, count: int = 4) -> list[Row]:
    """Rows for a contact sheet: frames spread over the run that have mask and overlay."""
    complete = [
        f for f in recording.sent
        if f.stamp_ns in recording.masks and f.stamp_ns in recording.positions
    ]  # fmt: skip
    if not complete:
        return []
    spread = np.linspace(0, len(complete) - 1, min(count, len(complete))).round().astype(int)
    chosen = {complete[i].index: complete[i] for i in spread}
    overlays = _video_frames(video, [recording.positions[f.stamp_ns] for f in chosen.values()])
    rows = []
    for frame in source.frames(set(chosen)):
        stamp = chosen[frame.index].stamp_ns
        overlay = overlays.get(recording.positions[stamp])
        mask = cv2.imread(str(recording.masks[stamp]), cv2.IMREAD_UNCHANGED)
        if overlay is not None and mask is not None:
            name = f"frame {frame.index}"
            rows.append(Row(name, frame.rgb, overlay, mask.astype(np.uint8)))
    return rows


def _video_frames(path: Path, positions: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Frames of a video by position, RGB."""
    found: dict[int, NDArray[np.uint8]] = {}
    capture = cv2.VideoCapture(str(path))
    position = 0
    while position <= max(positions) and capture.grab():
        if position in positions:
            ok, bgr = capture.retrieve()
            if ok:
                found[position] = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        position += 1
    capture.release()
    return found
