# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report's section on real time: accounts, rates, curves, latency."""

from __future__ import annotations

from html import escape
from typing import Any

from lrn_ros.report.charts import (
    TIMES,
    Line,
    histogram_chart,
    joined,
    length_s,
    line_chart,
)

_STAMPS = (
    "Images were published with the time of publishing as their stamp: transport and end_to_end"
    " are those of this machine."
)
_CLOCK = (
    "Images kept their recorded stamps and the node followed /clock, which ticks every 10 ms:"
    " transport and end_to_end are in the bag's time and hold what the recording took."
)
_DELIVERED = (
    "delivered: from publishing the image to the arrival of its mask at a subscriber. overhead:"
    " what the node adds to the model's own time. gap: between one mask and the next. late:"
    " published after it was due."
)


def realtime_section(realtime: dict[str, Any], stages: str) -> str:
    """The section.

    Args:
        realtime: see lrn_ros.replay.realtime.figures; without NaN, as in JSON.
        stages: its latency as an HTML table.
    """
    bags, bars, jitter = realtime["bags"], realtime["histogram"], realtime["jitter_ms"]
    notes = [_CLOCK if bags[0]["clock"] else _STAMPS, _DELIVERED]
    if jitter is not None:
        notes.append(f"Jitter {jitter:.2f} ms: mean change of delivered between frames.")
    chart = histogram_chart(bars["edges"], bars["counts"], "ms from image to mask") if bars else ""
    text = "Frames by the time from image to mask; the slowest percent is in the last bar."
    figure = f"<figure><figcaption>{text}</figcaption>{chart}</figure>" if chart else ""
    unfinished = "" if realtime["complete"] else '<p class="bad">Not all was played.</p>'
    return (
        f"<h2>Real time</h2>{unfinished}{_accounts(realtime)}{_rates(bags)}"
        f'<div class="charts">{figure}{_curves(realtime["curve"])}<div>{stages}</div></div>'
        f'<p class="soft">{" ".join(notes)}</p>'
    )


def realtime_tiles(realtime: dict[str, Any]) -> list[tuple[str, str]]:
    """Values and names of what is shown at the head of the report."""
    frames, found = realtime["frames"], realtime["latency_ms"].get("delivered_ms", {})
    share = 100 * frames["answered"] / frames["published"] if frames["published"] else None
    tiles = (
        (share, "of the frames answered in real time, %"),
        (found.get("p50"), "ms from image to mask, median"),
        (found.get("p95"), "ms from image to mask, slowest 5 %"),
    )
    return [(f"{value:.1f}", name) for value, name in tiles if value is not None]


def _accounts(realtime: dict[str, Any]) -> str:
    """A row a bag: where its frames went; causes that never occurred are left out."""
    bags, total = realtime["bags"], realtime["frames"]
    causes = [cause for cause, count in total["dropped"].items() if count]
    rest = [key for key in ("idle", "unaccounted") if total[key]]
    heads = ["bag", "published", "answered", *causes, *rest]
    rows = [(b["name"], b["frames"]) for b in bags]
    rows += [("all", total)] if len(bags) > 1 else []
    lines = []
    for name, frames in rows:
        values = [frames["published"], frames["answered"]]
        values += [frames["dropped"].get(cause, 0) for cause in causes]
        cells = "".join(f"<td>{v}</td>" for v in values)
        for key in rest:
            bad = ' class="bad"' if key == "unaccounted" else ""
            cells += f"<td{bad}>{frames[key]}</td>"
        lines.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    verdict = (
        f'<p class="bad">{total["unaccounted"]} frames are unaccounted for: nobody has told what'
        " became of them.</p>"
        if total["unaccounted"]
        else '<p class="soft">Every published frame is accounted for.</p>'
    )
    return _table(heads, lines) + verdict


def _rates(bags: list[dict[str, Any]]) -> str:
    heads = [
        "bag", "backend", "speed", "loops", "fps asked", "fps in", "fps out", "ms late p95",
        "ms gap p50", "ms gap p95", "ms gap longest",
    ]  # fmt: skip
    lines = []
    for bag in bags:
        late, between = bag["late_ms"] or {}, bag["between_masks_ms"] or {}
        values = [bag["asked_fps"], bag["fps"]["in"], bag["fps"]["out"], late.get("p95")]
        values += [between.get(k) for k in ("p50", "p95", "max")]
        cells = f"<td>{escape(bag['backend'] or '-')}</td><td>{bag['rate']:g}</td>"
        cells += f"<td>{bag['loops']}</td>"
        cells += "".join(f"<td>{'-' if v is None else f'{v:.1f}'}</td>" for v in values)
        lines.append(f"<tr><td>{escape(bag['name'])}</td>{cells}</tr>")
    return _table(heads, lines)


def _table(heads: list[str], rows: list[str]) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div>"
    )


def _curves(curve: list[dict[str, Any]]) -> str:
    found = ""
    for name, lines, top in (
        ("image to mask, ms", TIMES, None),
        ("frames answered, %", (("answered", "a", "answered_share", 100.0),), 100.0),
    ):
        curves = [Line(n, style, list(joined(curve, key, f))) for n, style, key, f in lines]
        if svg := line_chart(curves, length_s(curve), name, top):
            found += f"<figure><figcaption>{name}</figcaption>{svg}</figure>"
    return found
