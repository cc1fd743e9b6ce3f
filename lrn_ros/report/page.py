# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a replay: one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from lrn_ros.inference.overlay import colorize
from lrn_ros.inference.palette import shown
from lrn_ros.metrics.text import hundredths, number, percent
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.accuracy import Part
from lrn_ros.replay.figures import Curve, Histogram, Realtime, RecordingFinding, Results
from lrn_ros.replay.gallery import (
    FALSE,
    MISSED,
    WorstFrame,
    difference,
    overlay,
    read_frame,
    read_pictures,
)
from lrn_ros.report.charts import (
    TIMES,
    Line,
    heat_chart,
    histogram_chart,
    joined,
    length_s,
    line_chart,
    reliability_chart,
)
from lrn_ros.report.html import PagePictures, facts, seconds_and_stamp, write_page

_STRIP = 60  # overlays in the report
_WORST = 3  # frames per class

_Lines = tuple[tuple[str, str, str, float], ...]  # name, style, field of Point, factor
_CHARTS: tuple[tuple[str, _Lines, float | None], ...] = (
    (
        "mIoU and boundary F-score, %",
        (("mIoU", "a", "miou", 100.0), ("boundary F", "b", "boundary_f", 100.0)),
        100.0,
    ),
    ("calibration error, %", (("ECE", "a", "ece", 100.0),), None),
    ("temporal consistency, %", (("consistency", "a", "consistency", 100.0),), 100.0),
    ("flicker of still pixels, %", (("flicker", "a", "flicker", 100.0),), None),
    ("latency of the model, ms", TIMES, None),
)
_REALTIME_CHARTS: tuple[tuple[str, _Lines, float | None], ...] = (
    ("image to mask, ms", TIMES, None),
    ("frames answered, %", (("answered", "a", "answered_share", 100.0),), 100.0),
)


def write_report(path: Path, results: Results, parts: Sequence[Part]) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        results: see merge.
        parts: where the pictures are.
    """
    played = results.realtime.bags if results.realtime else ()
    names = [b.name for b in results.bags] or [b.played.name for b in played]
    on = ", ".join(names) if len(names) <= 3 else f"{len(names)} bags"
    labels, pictures = shown(results.labels) if results.labels else None, PagePictures()
    failed = [RecordingFinding(f.bag, f"failed: {f.error}") for f in results.failed]
    classes = list(labels.names) if labels else []
    charts = _charts(results.curve, _CHARTS)
    heat = "IoU by class: the fuller, the better; a line: the class does not occur"
    charts.append({"name": heat, "svg": heat_chart(results.curve, classes)})
    curve = results.accuracy.calibration if results.accuracy else None
    write_page(
        path,
        "report.html",
        pictures,
        title=f"{results.model.name} on {on}",
        results=results,
        facts=facts(results),
        findings=[*failed, *results.findings],
        charts=charts,
        colours=dict(zip(labels.names, labels.colors)) if labels else {},
        matrix=_matrix(results),
        calibration=reliability_chart(curve.confidence, curve.accuracy) if curve else "",
        histogram=_histogram(results.histogram, "ms per frame"),
        worst=_worst(parts, pictures),
        strip=_strip(parts, pictures),
        colour_missed=MISSED,
        colour_false=FALSE,
        bags=_bags(results),
        **_realtime(results.realtime),
    )


def _charts(
    curve: Sequence[Curve], wanted: tuple[tuple[str, _Lines, float | None], ...]
) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "svg": line_chart(
                [Line(n, style, list(joined(curve, key, f))) for n, style, key, f in lines],
                length_s(curve), name, top,
            ),
        }
        for name, lines, top in wanted
    ]  # fmt: skip


def _histogram(bars: Histogram | None, name: str) -> Markup:
    return histogram_chart(bars.edges, bars.counts, name) if bars else Markup()


def _matrix(results: Results) -> dict[str, Any]:
    """The confusion matrix as shares of its rows; the row of an absent class is empty."""
    if results.accuracy is None:
        return {}
    matrix, names = np.array(results.accuracy.confusion, float), list(results.accuracy.classes)
    columns = [*names, "no answer"] if matrix[:, -1].any() else names
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    rows = [row[: len(columns)].tolist() if row.any() else [] for row in shares]
    return {"columns": columns, "rows": list(zip(names, rows))}


def _realtime(realtime: Realtime | None) -> dict[str, Any]:
    """The values of the template that are about real time."""
    names = ("answered_share", "load", "accounts", "rates", "realtime_charts")
    if realtime is None:
        return dict.fromkeys(names)
    total, bags = realtime.frames, realtime.bags
    share = total.answered / total.published if total.published else float("nan")
    loads = [p.load for b in bags for p in (b.played.before, b.played.after) if p.load == p.load]
    text = "Frames by the time from image to mask; the slowest percent is in the last bar."
    bars = {"name": text, "svg": _histogram(realtime.histogram, "ms from image to mask")}
    values = (
        share,
        number(max(loads), 2) if loads else "-",
        _accounts(realtime),
        _rates(realtime),
        [bars, *_charts(realtime.curve, _REALTIME_CHARTS)],
    )
    return dict(zip(names, values))


def _accounts(realtime: Realtime) -> dict[str, Any]:
    """One row per bag with the fate of its frames; causes that never occurred are left out."""
    total = realtime.frames
    causes = [cause for cause, count in total.dropped.items() if count]
    rest = [key for key in ("idle", "unaccounted") if getattr(total, key)]
    rows = [(b.played.name, b.frames) for b in realtime.bags]
    rows += [("all", total)] if len(rows) > 1 else []
    return {
        "heads": ["bag", "published", "answered", *causes, *rest],
        "rows": [
            [
                name, account.published, account.answered,
                *(account.dropped.get(cause, 0) for cause in causes),
                *(getattr(account, key) for key in rest),
            ]
            for name, account in rows
        ],
    }  # fmt: skip


def _rates(realtime: Realtime) -> dict[str, Any]:
    heads = [
        "bag", "backend", "speed", "loops", "fps asked", "fps in", "fps out", "ms late p95",
        "ms gap p50", "ms gap p95", "ms gap longest",
    ]  # fmt: skip
    rows = []
    for bag in realtime.bags:
        late, gap = bag.late_ms, bag.between_masks_ms
        values = [bag.played.asked_fps, bag.fps_in, bag.fps_out, late.p95 if late else None]
        values += [gap.p50, gap.p95, gap.max] if gap else [None] * 3
        rows.append(
            [bag.played.name, bag.backend or "-", f"{bag.played.rate:g}", bag.played.loops]
            + [number(value) for value in values]
        )
    return {"heads": heads, "rows": rows}


def _worst(parts: Sequence[Part], pictures: PagePictures) -> list[dict[str, Any]]:
    """Frames of every class with the most wrong pixels, of all bags; the worst class first."""
    found: dict[str, list[tuple[WorstFrame, Part]]] = {}
    for part in parts:
        for name, frames in read_pictures(part.files.pictures).worst.items():
            found.setdefault(name, []).extend((frame, part) for frame in frames)
    sections = []
    for name in sorted(found, key=lambda name: min(frame.iou for frame, _ in found[name])):
        worst = sorted(found[name], key=lambda pair: -pair[0].wrong)[:_WORST]
        shown = [_panels(frame, part, name, len(parts) > 1, pictures) for frame, part in worst]
        if any(shown):
            sections.append({"name": name, "frames": [s for s in shown if s]})
    return sections


def _panels(
    worst: WorstFrame, part: Part, name: str, several: bool, pictures: PagePictures
) -> dict[str, Any]:
    """The pictures of a frame with its caption; empty where somebody has removed them."""
    labels, index = shown(part.record.labels), worst.index
    frame = read_frame(part.files.pictures, index)
    if frame is None or frame.truth is None:
        return {}
    class_id, key = labels.names.index(name), f"{part.name}/{index}"
    drawn = difference(frame.image, frame.truth, frame.mask, class_id)
    panels = [
        ("image", pictures.photo(f"{key}/image", frame.image)),
        ("truth", _coloured(f"{key}/truth", frame.truth, labels, pictures)),
        ("prediction", _coloured(f"{key}/mask", frame.mask, labels, pictures)),
        (f"{name}: missed and false", pictures.photo(f"{key}/{name}", drawn)),
    ]
    where = f"{part.name}, " if several else ""
    caption = (
        f"{where}{seconds_and_stamp(index, worst.seconds, worst.stamp_ns)}: IoU"
        f" {percent(worst.iou)}, {worst.missed} pixels missed, {worst.false} false"
    )
    return {"caption": caption, "panels": panels}


def _coloured(key: str, mask: Any, labels: LabelSet, pictures: PagePictures) -> str:
    return pictures.drawing(key, colorize(mask, labels.lookup()))


def _strip(parts: Sequence[Part], pictures: PagePictures) -> list[dict[str, str]]:
    shown = []
    for part in parts:
        spread = read_pictures(part.files.pictures).spread
        step = max(1, -(-len(spread) * len(parts) // _STRIP))
        for kept in spread[::step]:
            frame = read_frame(part.files.pictures, kept.index)
            if frame is not None:
                key = pictures.photo(
                    f"{part.name}/{kept.index}/overlay", overlay(frame, part.record.labels)
                )
                where = seconds_and_stamp(kept.index, kept.seconds, kept.stamp_ns)
                shown.append({"picture": key, "caption": f"{part.name}, {where}"})
    return shown


def _bags(results: Results) -> dict[str, Any]:
    heads = ["bag", "frames", "labelled", "unlabelled, %", "seconds", "mIoU, %", "pixels, %",
             "consistent, %", "flicker, %", "pairs"]  # fmt: skip
    rows = []
    for bag in results.bags:
        accuracy, temporal = bag.accuracy, bag.temporal
        shares: list[float | None] = []
        shares += [accuracy.miou, accuracy.pixel_accuracy] if accuracy else [None, None]
        shares += [temporal.consistency, temporal.flicker] if temporal else [None, None]
        rows.append(
            [bag.name, bag.frames, bag.labelled,
             hundredths(accuracy.unlabelled if accuracy else None, 2), number(bag.seconds),
             *(hundredths(s, 2) for s in shares), temporal.pairs if temporal else 0]
        )  # fmt: skip
    return {"heads": heads, "rows": rows}
