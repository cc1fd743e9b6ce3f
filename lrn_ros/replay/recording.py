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
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.realtime import PlayFiles
from lrn_ros.replay.records import read_lines
from lrn_ros.replay.tally import Tally


@dataclass(frozen=True)
class RecordedFrame:
    """A frame of which a mask was recorded.

    Attributes:
        index: its position in the source.
        mask: file of its mask.
        position: in the video of the overlays; None: it has no overlay.
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
    frames: Sequence[RecordedFrame], source: Source, video: Path, count: int = 4
) -> list[Row]:
    """Rows for a contact sheet: frames spread over the run that have mask and overlay."""
    whole = [frame for frame in frames if frame.position is not None]
    spread = np.linspace(0, len(whole) - 1, min(count, len(whole))).round().astype(int)
    chosen = {whole[i].index: whole[i] for i in spread}
    positions = [frame.position or 0 for frame in chosen.values()]
    shown = VideoReader(str(video)).frames(positions) if positions else ()
    overlays = {frame.index: frame.rgb for frame in shown}
    rows = []
    for frame in source.frames(set(chosen)) if chosen else ():
        recorded = chosen[frame.index]
        overlay, mask = overlays.get(recorded.position or 0), _read_mask(recorded)
        if overlay is not None and mask is not None:
            rows.append(Row(f"frame {frame.index}", frame.rgb, overlay, mask))
    return rows


def _read_mask(frame: RecordedFrame) -> NDArray[np.uint8] | None:
    """Class ids; None where the file was cut off when the recorder was ended."""
    mask = cv2.imread(str(frame.mask), cv2.IMREAD_UNCHANGED)
    return None if mask is None else np.asarray(mask, np.uint8)
