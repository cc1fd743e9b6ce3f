# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark as Markdown that is readable as plain text too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lrn_ros.benchmark.figures import Figures, MachineLimits
from lrn_ros.benchmark.measure import STEADY, Measurement, Plan
from lrn_ros.benchmark.worker import BASELINE
from lrn_ros.metrics.machine import Machine
from lrn_ros.metrics.text import table

_Column = tuple[str, Callable[[Figures], str]]


def _number(value: float | None, digits: int, factor: float = 1.0) -> str:
    return "-" if value is None else f"{value * factor:,.{digits}f}"


def _model(row: Figures) -> str:
    mark = " (random)" if row.random else " (onnx)" if row.other else ""
    return row.combination.model + mark


def _spread(row: Figures) -> str:
    return _number(row.spread, 1, 100) + ("" if row.is_steady else " !")


_NAMES: tuple[_Column, ...] = (
    ("model", _model),
    ("backend", lambda r: r.combination.backend),
    ("precision", lambda r: r.combination.precision),
    ("size", lambda r: "{}x{}".format(*r.combination.size)),
)
_LATENCY: tuple[_Column, ...] = (
    *_NAMES,
    ("p50 ms", lambda r: _number(r.total.p50, 2)),
    ("p99 ms", lambda r: _number(r.total.p99, 2)),
    ("pre", lambda r: _number(r.preprocess.p50, 2)),
    ("network", lambda r: _number(r.network.p50, 2)),
    ("post", lambda r: _number(r.postprocess.p50, 2)),
    ("bare", lambda r: _number(r.bare.p50, 2)),
    ("eager", lambda r: _number(r.eager.p50 if r.eager else None, 2)),
    ("frames/s", lambda r: _number(r.frames_per_second, 1)),
    ("x baseline", lambda r: _number(r.speedup, 2)),
    ("% of bare", lambda r: _number(r.share_of_bare, 1, 100)),
    ("spread %", _spread),
)
_COST: tuple[_Column, ...] = (
    *_NAMES,
    ("same label %", lambda r: _number(r.same_label, 3, 100)),
    ("mIoU %", lambda r: _number(r.miou, 2, 100)),
    ("peak MB", lambda r: _number(r.memory_peak, 0)),
    ("growth MB", lambda r: _number(r.memory_growth, 1)),
    ("start s", lambda r: _number(r.start_s, 2)),
    ("parameters", lambda r: _number(r.parameters, 0)),
    ("GMAC", lambda r: _number(r.multiply_adds, 2, 1e-9)),
    ("GMAC/s", lambda r: _number(r.multiply_adds_per_second, 1, 1e-9)),
    ("% of peak", lambda r: _number(r.share_of_peak, 1, 100)),
)


def report(
    plan: Plan,
    run: Measurement,
    rows: Sequence[Figures],
    limits: MachineLimits | None,
    machine: Machine,
) -> str:
    """The tables, what they were measured with, and what is missing and why."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    lines = [
        f"{machine.cpu}, {machine.cores} cores; {machine.system}; {versions}",
        "",
        f"{plan.threads} threads a process, {plan.rounds} rounds of {plan.frames} frames, all"
        f" processes in turns. Baseline: {' '.join(BASELINE)}: bare or eager, whichever is less.",
    ]
    measured = max((len(one.rounds_ms) for one in run.samples), default=0)
    if measured > plan.rounds and rows:
        first, last = rows[0].used_rounds
        lines.append(
            f"Rounds were repeated until they were steady or the budget was spent: {measured} were"
            f" measured, the figures are of rounds {first + 1} to {last}."
        )
    if not all(row.is_steady for row in rows):
        lines.append(
            f"!: the rounds differ by more than {100 * STEADY:g} %. Something else ran on this"
            " machine: differences below the spread mean nothing."
        )
    if run.interrupted:
        lines.append("Interrupted: rounds are missing.")
    if rows:
        lines += ["", *_table(_LATENCY, rows), "", *_table(_COST, rows), "", _limits(run, limits)]
    if plan.data is not None:
        lines.append(f"Scored on the val split of {plan.data}.")
    else:
        lines.append("Same label: on rendered street scenes.")
    if any(r.other for r in rows):
        lines.append(
            "(onnx): somebody else's file, its network alone from a random input: compare its p50"
            " with bare."
        )
    if any(r.random for r in rows):
        lines.append("(random): an architecture with random weights; it has a cost, no accuracy.")
    unscored = {f"Not scored: {r.combination}: {r.not_scored}." for r in rows if r.not_scored}
    return "\n".join([*lines, *sorted(unscored), *_skipped(run)])


def _limits(run: Measurement, limits: MachineLimits | None) -> str:
    if limits is None:
        return f"Limits of the machine: not measured, {run.no_limits or 'interrupted'}."
    return (
        f"Limits of the machine with {limits.software}: matrix product fp32"
        f" {_number(limits.fp32, 1, 1e-9)} GMAC/s, bf16 {_number(limits.bf16, 1, 1e-9)} GMAC/s;"
        f" copying {_number(limits.copy, 1, 1e-9)} GB/s."
    )


def _skipped(run: Measurement) -> list[str]:
    """The combinations without figures, by reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in run.skipped:
        reasons.setdefault((one.status, one.reason), []).append(str(one.combination))
    lines = [
        f"- {', '.join(names)}: {status}: {reason}" for (status, reason), names in reasons.items()
    ]
    return ["", "Not measured:", "", *lines] if lines else []


def _table(columns: Sequence[_Column], rows: Sequence[Figures]) -> list[str]:
    cells = [[cell(row) for _, cell in columns] for row in rows]
    return table([name for name, _ in columns], cells, left=len(_NAMES), markdown=True)
