# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page of a comparison: figures of both runs, differences, pictures of the worst changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.inference.overlay import colorize
from lrn_ros.inference.palette import shown
from lrn_ros.metrics.text import percent
from lrn_ros.replay.accuracy import Part
from lrn_ros.replay.comparison import ReplayRun, RunComparison, pairs
from lrn_ros.replay.gallery import KeptFrame, SmallFrame, read_frame, read_pictures
from lrn_ros.replay.gate import Judgement
from lrn_ros.report.charts import interval_chart
from lrn_ros.report.html import PagePictures, facts, seconds_and_stamp, write_page

LOST, WON = (230, 40, 40), (40, 170, 90)  # colours: only A was right; only B is right
_ALL, _CLASS = 6, 2  # frames shown of all classes together, and of a class


@dataclass(frozen=True)
class FrameChange:
    """A frame with pictures in both runs.

    Attributes:
        part_a, part_b: of either run.
        kept: which frame it is.
        right: share of its labelled pixels that are right, in A and in B.
        iou: (2, K) of A and of B; NaN where a class does not occur.
        wrong: (K,) by how many pixels of each class's union more are wrong in B.
    """

    part_a: Part
    part_b: Part
    kept: KeptFrame
    right: tuple[float, float]
    iou: NDArray[np.float64]
    wrong: NDArray[np.int64]


def write_comparison(
    path: Path,
    a: ReplayRun,
    b: ReplayRun,
    found: RunComparison,
    judgements: Sequence[Judgement],
    verdict: str,
    rows: Sequence[Sequence[str]],
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        a: the run that there was.
        b: the run that is judged.
        found: their comparison.
        judgements: what the figures say.
        verdict: the verdict as a text for people.
        rows: the figures as text: name, A, B, B - A, interval, samples.
    """
    changes, pictures = _changes(a, b), PagePictures()
    labels = shown(next(iter(a.parts.values())).record.labels)
    sections = []
    worst = sorted(changes, key=lambda c: c.right[1] - c.right[0])[:_ALL]
    if panels := [_panels(c, None, pictures) for c in worst if c.right[1] < c.right[0]]:
        sections.append({"name": "all classes", "frames": [p for p in panels if p]})
    for k, name in enumerate(labels.names):
        worst = sorted((c for c in changes if c.wrong[k] > 0), key=lambda c: -c.wrong[k])[:_CLASS]
        if panels := [p for c in worst if (p := _panels(c, k, pictures))]:
            sections.append({"name": name, "frames": panels})
    states = {j.name: j.state.value for j in judgements}
    write_page(
        path,
        "comparison.html",
        pictures,
        title=f"{b.results.model.name} (B, {b.folder}) against {a.results.model.name}"
        f" (A, {a.folder})",
        verdict=verdict,
        judgements=judgements,
        found=found,
        facts=[
            (name, one, two) for (name, one), (_, two) in zip(facts(a.results), facts(b.results))
        ],
        rows=[{"cells": row, "state": states.get(_gate(row[0]), "")} for row in rows],
        intervals=interval_chart(
            [(n, 100 * (d.b - d.a), 100 * d.low, 100 * d.high) for n, d in found.classes.items()],
            "percentage points",
        ),
        changes=sections,
        kept=len(changes),
        lost=LOST,
        won=WON,
        colours=dict(zip(labels.names, labels.colors)),
    )


def _gate(row: str) -> str:
    """The name that a judgement has, of a row of the table."""
    name = row.strip().removesuffix(", %")
    names = {
        "consistency": "temporal consistency",
        "real time, unanswered": "share of unanswered images",
        "real time, end to end p50, ms": "latency's p50",
        "real time, end to end p95, ms": "latency's p95",
    }
    return names.get(name, name)


def _changes(a: ReplayRun, b: ReplayRun) -> list[FrameChange]:
    """The labelled frames with pictures in both runs."""
    found = []
    for name, part in a.parts.items():
        other = b.parts[name]
        kept = _kept(part)
        common = kept.keys() & _kept(other).keys()
        for one, two in pairs(part, other):
            if one.index in common and one.pixels is not None and two.pixels is not None:
                counts = np.array([one.pixels, two.pixels], np.float64)  # run, hits etc., class
                hits, truth, answers = np.moveaxis(counts, 1, 0)
                union = truth + answers - hits
                with np.errstate(invalid="ignore"):
                    iou, right = hits / union, hits.sum(1) / truth.sum(1)
                wrong = (union - hits).astype(np.int64)
                found.append(
                    FrameChange(
                        part, other, kept[one.index], (float(right[0]), float(right[1])), iou,
                        wrong[1] - wrong[0],
                    )
                )  # fmt: skip
    return found


def _kept(part: Part) -> dict[int, KeptFrame]:
    """The frames with pictures, by their index."""
    found = read_pictures(part.files.pictures)
    worst = [frame for frames in found.worst.values() for frame in frames]
    kept = [KeptFrame(f.index, f.stamp_ns, f.seconds) for f in worst]
    return {frame.index: frame for frame in (*kept, *found.spread)}


def _panels(change: FrameChange, class_id: int | None, pictures: PagePictures) -> dict[str, Any]:
    """The pictures of a frame with its caption; empty where somebody has removed them."""
    kept, labels = change.kept, shown(change.part_a.record.labels)
    one = read_frame(change.part_a.files.pictures, kept.index)
    two = read_frame(change.part_b.files.pictures, kept.index)
    if one is None or two is None or one.truth is None:
        return {}
    key, lookup = f"{change.part_a.name}/{kept.index}", labels.lookup()
    drawn = _difference(one, two, class_id)
    panels = [
        ("image", pictures.photo(f"{key}/image", one.image)),
        ("truth", pictures.drawing(f"{key}/truth", colorize(one.truth, lookup))),
        ("A, before", pictures.drawing(f"{key}/a", colorize(one.mask, lookup))),
        ("B, after", pictures.drawing(f"{key}/b", colorize(two.mask, lookup))),
        ("difference", pictures.photo(f"{key}/{class_id}", drawn)),
    ]
    before, after = change.right if class_id is None else change.iou[:, class_id]
    what = "right pixels" if class_id is None else f"IoU of {labels.names[class_id]}"
    where = seconds_and_stamp(kept.index, kept.seconds, kept.stamp_ns)
    caption = (
        f"{change.part_a.name}, {where}: {what} {percent(before)} before, {percent(after)} now"
    )
    return {"caption": caption, "panels": panels}


def _difference(one: SmallFrame, two: SmallFrame, class_id: int | None) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB: pixels that became wrong, and right, over a dark image."""
    assert one.truth is not None
    truth = one.truth
    labelled = truth != 255
    if class_id is None:
        before, after = one.mask == truth, two.mask == truth
    else:  # right is what agrees with the truth about this class
        is_class = truth == class_id
        before = (one.mask == class_id) == is_class
        after = (two.mask == class_id) == is_class
    grey = np.asarray(cv2.cvtColor(one.image, cv2.COLOR_RGB2GRAY), np.uint8) // 2
    drawn = np.where(labelled, grey, 0)[..., None].repeat(3, 2).astype(np.uint8)
    drawn[labelled & before & ~after] = LOST
    drawn[labelled & ~before & after] = WON
    return drawn
