# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a replay: one HTML file that needs no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from lrn_ros.inference.palette import shown
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.gallery import PANELS, picture_file, read_pictures
from lrn_ros.replay.part import Part
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
from lrn_ros.report.realtime import realtime_section, realtime_tiles
from lrn_ros.report.template import PAGE, SCRIPT, STYLE

_STRIP = 60  # overlays in the report
_WORST = 3  # frames a class


def write_report(path: Path, results: dict[str, Any], parts: Sequence[Part]) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        results: see merge, and the real-time figures; without NaN, as in JSON.
        parts: where the pictures are.
    """
    model = results["model"] or {}
    names = [b["name"] for b in (results["bags"] or results["realtime"]["bags"])]
    on = ", ".join(names) if len(names) <= 3 else f"{len(names)} bags"
    title = f"{model.get('name', 'replay')} on {on}"
    body = [
        _head(title, results, model),
        _findings(results),
        _curves(results),
        _accuracy(results["accuracy"], results["labels"]),
        _latency(results) if parts else "",
        _realtime(results.get("realtime")),
        _worst(results, parts),
        _strip(parts),
        _bags(results) if parts else "",
    ]
    page = PAGE.format(title=escape(title), style=STYLE, script=SCRIPT, body="\n".join(body))
    path.write_text(page, encoding="utf-8")


def _head(title: str, results: dict[str, Any], model: dict[str, Any]) -> str:
    accuracy, temporal = results["accuracy"] or {}, results["temporal"] or {}
    tiles = [
        (_percent(accuracy.get("miou"), 2), "mIoU, %"),
        (_percent(accuracy.get("pixel_accuracy"), 2), "pixels right, %"),
        (_percent(accuracy.get("boundary", {}).get("f_score")), "boundary F-score, %"),
        (_percent(accuracy.get("calibration", {}).get("ece"), 2), "calibration error, %"),
        (_percent(temporal.get("consistency")), "temporal consistency, %"),
        (_percent(temporal.get("flicker"), 2), "flicker of still pixels, %"),
        (_number(results["throughput"]["fps"]), "frames a second, one worker"),
        (_number(results["latency_ms"].get("total_ms", {}).get("p50")), "ms a frame, median"),
    ]
    realtime = results.get("realtime")
    tiles += realtime_tiles(realtime) if realtime else []
    shown = "".join(f'<div class="tile"><b>{v}</b><span>{n}</span></div>' for v, n in tiles if v)
    of = f"{accuracy['frames']} with ground truth" if accuracy else "no ground truth"
    parts = [f"{results['frames']} frames", of] if results["frames"] else []
    if realtime:
        parts.append(f"{realtime['frames']['published']} frames played in real time")
    parts += [
        str(model[k]) for k in ("architecture", "backend", "precision", "device") if k in model
    ]
    unfinished = (
        "" if results["complete"] else '<p class="bad">Interrupted: not all was replayed.</p>'
    )
    about = f'<p class="soft">{escape(", ".join(parts))}</p>'
    return f'<h1>{escape(title)}</h1>{about}{unfinished}<div class="tiles">{shown}</div>'


def _findings(results: dict[str, Any]) -> str:
    failed = [{"bag": f["bag"], "text": f"failed: {f['error']}"} for f in results.get("failed", [])]
    found = failed + results["findings"]
    if not found:
        return ""
    items = "".join(f"<li><b>{escape(f['bag'])}</b>: {escape(f['text'])}</li>" for f in found)
    return f'<h2>Found in the recordings</h2><ul class="bad">{items}</ul>'


def _curves(results: dict[str, Any]) -> str:
    charts: list[tuple[str, tuple[tuple[str, str, str, float], ...], float | None]] = [
        (
            "mIoU and boundary F-score, %",
            (("mIoU", "a", "miou", 100.0), ("boundary F", "b", "boundary_f", 100.0)),
            100.0,
        ),
        ("calibration error, %", (("ECE", "a", "ece", 100.0),), None),
        ("temporal consistency, %", (("consistency", "a", "consistency", 100.0),), 100.0),
        ("flicker of still pixels, %", (("flicker", "a", "flicker", 100.0),), None),
        ("latency, ms", TIMES, None),
    ]
    found = ""
    for name, lines, top in charts:
        curves = [Line(n, style, list(joined(results["curve"], k, f))) for n, style, k, f in lines]
        if svg := line_chart(curves, length_s(results["curve"]), name, top):
            found += f"<figure><figcaption>{name}</figcaption>{svg}</figure>"
    classes = [c["name"] for c in results["labels"]["classes"]] if results["labels"] else []
    if svg := heat_chart(results["curve"], classes, "iou"):
        text = "IoU by class: the fuller, the better; a line: the class does not occur"
        found += f"<figure><figcaption>{text}</figcaption>{svg}</figure>"
    return f'<h2>Over time</h2><div class="charts">{found}</div>' if found else ""


def _accuracy(accuracy: dict[str, Any] | None, labels: dict[str, Any]) -> str:
    if accuracy is None:
        return ""
    display = shown(LabelSet.from_dict(labels, "results"))
    colors = dict(zip(display.names, display.colors))
    rows = "".join(_class_row(n, c, colors[n]) for n, c in accuracy["classes"].items())
    heads = "".join(f"<th>{h}</th>" for h in ("IoU", "boundary F", "precision", "recall", "share"))
    keys = '<p class="keys"><span class="key">IoU</span><span class="key b">boundary F</span></p>'
    classes = (
        f'<div class="scroll"><table class="classes"><thead><tr><th>class, %</th><th></th>{heads}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>{keys}"
    )
    curve = accuracy["calibration"]
    chart = reliability_chart(curve["confidence"], curve["accuracy"])
    calibration = (
        f'<h2>Calibration of the confidence</h2><div class="charts"><figure>{chart}</figure></div>'
        f'<p class="soft">Error (ECE) {_percent(curve["ece"], 2)} %, over {curve["frames"]}'
        " frames. Below the line the model is too sure.</p>"
    )
    matrix = _matrix(accuracy["confusion"], list(accuracy["classes"]))
    return f"<h2>Classes</h2>{classes}{matrix}{calibration if chart else ''}"


def _class_row(name: str, figures: dict[str, Any], color: tuple[int, int, int]) -> str:
    iou, edge = figures["iou"] or 0.0, figures["boundary_f"] or 0.0
    rods = (
        f'<div class="rod" style="width:{100 * iou:.1f}%"></div>'
        f'<div class="rod thin" style="width:{100 * edge:.1f}%"></div>'
    )
    keys = ("iou", "boundary_f", "precision", "recall", "share")
    cells = "".join(f"<td>{_percent(figures[k]) or '-'}</td>" for k in keys)
    return f'<tr><td>{_swatch(color)}{escape(name)}</td><td class="wide">{rods}</td>{cells}</tr>'


def _matrix(confusion: list[list[int]], names: list[str]) -> str:
    matrix = np.array(confusion, np.float64)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    columns = [*names, "no answer"] if matrix[:, -1].any() else names
    heads = "".join(f"<th>{escape(n)}</th>" for n in columns)
    rows = ""
    for name, row, total in zip(names, shares, matrix.sum(1)):
        cells = "".join(_cell(v) for v in row[: len(columns)]) if total else ""
        rows += f"<tr><th>{escape(name)}</th>{cells}</tr>"
    return (
        '<h2>Confusion matrix</h2><p class="soft">Row: truth, column: prediction; % of the row.</p>'
        f'<div class="scroll"><table class="matrix"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(share: float) -> str:
    text = f"{100 * share:.0f}" if share >= 0.005 else ""
    ink = ";color:#fff" if share > 0.55 else ""
    return f'<td style="background:rgba(31,111,235,{share:.3f}){ink}">{text}</td>'


def _latency(results: dict[str, Any]) -> str:
    bars = results["histogram"]
    chart = histogram_chart(bars["edges"], bars["counts"], "ms a frame") if bars else ""
    table = stage_table(results["latency_ms"])
    jitter = results["jitter_ms"]
    text = "" if jitter is None else f"Jitter {_number(jitter, 2)} ms: mean change between frames."
    return (
        f'<h2>Latency of the model</h2><div class="charts"><figure>{chart}<figcaption>{text} The'
        f" slowest percent is in the last bar.</figcaption></figure><div>{table}</div></div>"
    )


def stage_table(stages: dict[str, Any]) -> str:
    """Percentiles by stage."""
    rows = "".join(
        f"<tr><td>{escape(n.removesuffix('_ms'))}</td>"
        + "".join(f"<td>{_number(p[k], 2)}</td>" for k in ("p50", "p95", "p99"))
        + "</tr>"
        for n, p in stages.items()
    )
    heads = "<th>stage, ms</th><th>p50</th><th>p95</th><th>p99</th>"
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _realtime(realtime: dict[str, Any] | None) -> str:
    if realtime is None:
        return ""
    return realtime_section(realtime, stage_table(realtime["latency_ms"]))


def _worst(results: dict[str, Any], parts: Sequence[Part]) -> str:
    """Frames of every class with the most wrong pixels, of all bags."""
    bads: dict[str, list[tuple[dict[str, Any], Part]]] = {}
    for part in parts:
        for name, found in read_pictures(part.files.pictures)["worst"].items():
            bads.setdefault(name, []).extend((bad, part) for bad in found)
    if not bads:
        return ""
    names = sorted(bads, key=lambda name: min(bad["iou"] for bad, _ in bads[name]))
    options = "".join(f"<option>{escape(n)}</option>" for n in names)
    sections, several = "", len(parts) > 1
    for name in names:
        worst = sorted(bads[name], key=lambda b: -b[0]["wrong"])[:_WORST]
        inner = "".join(_panels(bad, part, several) for bad, part in worst)
        sections += f'<div data-class="{escape(name)}">{inner}</div>'
    return (
        f'<h2>Worst frames</h2><p><label>of class <select id="worst-class">{options}</select>'
        "</label></p>" + sections
    )


def _panels(bad: dict[str, Any], part: Part, several: bool) -> str:
    folder, index = part.files.pictures, bad["index"]
    figures = "".join(
        f'<figure><img loading="lazy" alt="{n}" src="{_uri(picture_file(folder, index, n))}">'
        f"<figcaption>{n}{' of all classes' if n == 'difference' else ''}</figcaption></figure>"
        for n in PANELS
    )
    where = f"{part.name}, " if several else ""
    caption = f"{where}frame {index}: {bad['wrong']} wrong pixels, IoU {_percent(bad['iou'])} %"
    return f'<p class="soft">{escape(caption)}</p><div class="panels">{figures}</div>'


def _strip(parts: Sequence[Part]) -> str:
    frames = []
    for part in parts:
        strip = read_pictures(part.files.pictures)["strip"]
        step = max(1, -(-len(strip) * len(parts) // _STRIP))
        for entry in strip[::step]:
            file = picture_file(part.files.pictures, entry["index"], "overlay")
            caption = f"{part.name}, frame {entry['index']}"
            frames.append({"image": _uri(file), "caption": caption})
    if not frames:
        return ""
    data = json.dumps(frames).replace("<", "\\u003c")
    return (
        '<h2>Overlays</h2><div class="strip"><img id="strip-image" alt="overlay">'
        f'<input id="strip" type="range" min="0" max="{len(frames) - 1}" value="0"'
        ' aria-label="frame"><p class="soft" id="strip-caption"></p></div>'
        f'<script type="application/json" id="strip-data">{data}</script>'
    )


def _bags(results: dict[str, Any]) -> str:
    keys = (("accuracy", "miou"), ("accuracy", "pixel_accuracy"), ("temporal", "consistency"),
            ("temporal", "flicker"))  # fmt: skip
    rows = "".join(
        f"<tr><td>{escape(b['name'])}</td><td>{b['frames']}</td><td>{b['labelled']}</td>"
        f"<td>{_number(b['seconds'])}</td>"
        + "".join(f"<td>{_percent((b[group] or {}).get(k), 2) or '-'}</td>" for group, k in keys)
        + "</tr>"
        for b in results["bags"]
    )
    heads = ("bag", "frames", "labelled", "seconds", "mIoU, %", "pixels, %", "consistent, %",
             "flicker, %")  # fmt: skip
    head = "".join(f"<th>{h}</th>" for h in heads)
    return (
        f'<h2>Bags</h2><div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}'
        "</tbody></table></div>"
    )


def _swatch(color: tuple[int, int, int]) -> str:
    return f'<span class="swatch" style="background:rgb({",".join(map(str, color))})"></span>'


def _percent(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}"


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _uri(path: Path) -> str:
    """The picture; one that somebody has removed is seen to be missing."""
    kind = "png" if path.suffix == ".png" else "jpeg"
    data = path.read_bytes() if path.is_file() else b""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
