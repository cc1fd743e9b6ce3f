# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pictures that a demo recorded: their score, and frames for a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.contact_sheet import Row
from lrn_ros.data.datasets import read_label
from lrn_ros.data.sources import Source
from lrn_ros.images.video import VideoReader
from lrn_ros.metrics.confusion import confusion_matrix, scores
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.realtime import PlayFiles
from lrn_ros.replay.records import read_lines
from lrn_ros.replay.tally import Tally


@dataclass(frozen=True)
class RecordedFrame:
    """A frame of which a mask was recorded.

    Attributes:
        index: position in the source.
        mask: file of its mask.
        position: position in the video of the overlays; None: it has no overlay.
    """

    index: int
    mask: Path
    position: int | None


def read_recorded(files: PlayFiles, masks: Path) -> list[RecordedFrame]:
    """The frames with a recorded mask STAMP.png in `masks`, in the order they were sent."""
    overlays = {
        line["stamp_ns"]: line["position"]
        for line in read_lines(files.received)
        if line["kind"] == "overlay"
    }
    sent = [(line["index"], line["stamp_ns"]) for line in read_lines(files.sent)]
    return [
        RecordedFrame(index, path, overlays.get(stamp))
        for index, stamp in sent
        if (path := masks / f"{stamp}.png").is_file()
    ]


def score(frames: Sequence[RecordedFrame], folder: Path, labels: LabelSet) -> Tally:
    """Compare recorded masks with the labels INDEX.png in `folder`, where there are any."""
    tally = Tally.empty(len(labels))
    written = replace(labels, ids=(), void=())  # class ids are recorded, not the set's own
    for frame in frames:
        label = folder / f"{frame.index:06d}.png"
        mask = _read_mask(frame) if label.is_file() else None
        if mask is not None:
            truth = read_label(label, written)
            if mask.shape == truth.shape:
                tally.compare(truth, mask)
    return tally


def sample_rows(
    frames: Sequence[RecordedFrame],
    source: Source,
    output: Path,
    files: PlayFiles,
    labels: LabelSet,
    count: int = 4,
    worst: int = 2,
) -> list[Row]:
    """Rows for a contact sheet: frames spread over the run, and those with the lowest mean IoU.

    Args:
        frames: see read_recorded.
        source: the source that was played.
        output: folder with overlay.mp4, and labels/INDEX.png where the truth is known.
        files: the files with the node's messages.
        labels: labels of the masks.
        count: frames spread over the run that have mask and overlay.
        worst: frames with the lowest mean IoU.
    """
    whole = [frame for frame in frames if frame.position is not None]
    spread = np.linspace(0, len(whole) - 1, min(count, len(whole))).round().astype(int)
    truths = {f.index: t for f in whole if (t := _truth(f, output / "labels", labels)) is not None}
    ious = {
        f.index: scores(confusion_matrix(truths[f.index], mask, len(labels))).miou
        for f in whole
        if f.index in truths and (mask := _read_mask(f)) is not None
    }
    low = sorted(ious, key=lambda index: ious[index])[:worst]
    wanted = {whole[i].index for i in spread} | set(low)
    chosen = {f.index: f for f in whole if f.index in wanted}
    latency = {
        line["stamp_ns"]: float(line["values"]["end_to_end_ms"])
        for line in read_lines(files.received)
        if line["kind"] == "latency"
    }
    positions = [frame.position or 0 for frame in chosen.values()]
    shown = VideoReader(str(output / "overlay.mp4")).frames(positions) if positions else ()
    overlays = {frame.index: frame.rgb for frame in shown}
    rows = []
    for frame in source.frames(set(chosen)) if chosen else ():
        recorded = chosen[frame.index]
        overlay, mask = overlays.get(recorded.position or 0), _read_mask(recorded)
        if overlay is None or mask is None:
            continue
        caption = f"frame {frame.index}"
        if frame.index in ious:
            caption += f", mIoU {100 * ious[frame.index]:.0f} %"
        if (ms := latency.get(int(recorded.mask.stem), float("nan"))) == ms:
            caption += f", {ms:.0f} ms"
        caption += ", among the worst" if frame.index in low else ""
        rows.append(Row(caption, frame.rgb, overlay, mask, truths.get(frame.index)))
    return rows


def _truth(frame: RecordedFrame, folder: Path, labels: LabelSet) -> NDArray[np.uint8] | None:
    """Class ids of the frame's label, in the size of its mask; None where there are none."""
    path, mask = folder / f"{frame.index:06d}.png", _read_mask(frame)
    if mask is None or not path.is_file():
        return None
    truth = read_label(path, replace(labels, ids=(), void=()))
    return truth if truth.shape == mask.shape else None


def _read_mask(frame: RecordedFrame) -> NDArray[np.uint8] | None:
    """Class ids; None where the file was cut off when the recorder was ended."""
    mask = cv2.imread(str(frame.mask), cv2.IMREAD_UNCHANGED)
    return None if mask is None else np.asarray(mask, np.uint8)
