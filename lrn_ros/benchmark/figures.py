# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of a benchmark's samples: percentiles, ratios, shares of the machine's limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lrn_ros.benchmark.measure import STEADY, Combination, Measurement, Plan, Samples
from lrn_ros.benchmark.models import Model
from lrn_ros.benchmark.worker import BASELINE
from lrn_ros.metrics.latency import Percentiles, percentiles


@dataclass(frozen=True)
class MachineLimits:
    """Best of all rounds: multiply-adds per second of a matrix product, bytes copied per second."""

    software: str
    fp32: float
    bf16: float
    copy: float


@dataclass(frozen=True)
class Figures:
    """One row; None: the figure is unknown, or not defined for this row.

    Attributes:
        combination: what ran.
        random: whether the weights are random.
        other: somebody else's network, of which only the network is run: `total` is `bare`.
        device: the backend's words for it.
        total: frame in, mask out, by the caller's clock, ms.
        preprocess: as the Segmenter reports it, ms, like the next two.
        network: within `total`.
        postprocess: within `total`.
        bare: the network alone, in a loop: an image of its size to coarse scores, ms.
        eager: the baseline's network as it was trained, eagerly in PyTorch: a prepared image to
            coarse scores, ms.
        frames_per_second: of one frame after the other: frames by the sum of `total`.
        spread: of the rounds' medians of `total`: largest less smallest, divided by the median.
        round_medians: smallest and largest of them, ms.
        speedup: the baseline's median of `bare` or `eager`, whichever is less, by that of `total`.
        share_of_bare: median of `bare` by that of `total`: the speed of the whole relative to the
            network's alone.
        start_s: import, load, compile and first mask, s.
        memory_peak: resident memory of the process, MB of 10^6 bytes.
        memory_growth: from the end of the warm-up to the end of the last round, MB.
        parameters: parameters of the network.
        multiply_adds: multiply adds of its convolutions, for one frame.
        multiply_adds_per_second: in `bare`.
        share_of_peak: share of peak of the matrix product in the same precision on the CPU, 0-1.
        same_label: share of the pixels with the baseline's label, 0-1.
        miou: on the data set, 0-1.
        images: scored ones.
        not_scored: why the last three are None.
        file_miou: on the validation split that the model file names, 0-1; not measured here.
        samples_ms: "total", "bare" and, of the baseline, "eager" of every round, every frame, also
            of the rounds that do not count.
        used_rounds: first round that counts and first one after them.
    """

    combination: Combination
    random: bool
    other: bool
    device: str
    total: Percentiles
    preprocess: Percentiles
    network: Percentiles
    postprocess: Percentiles
    bare: Percentiles
    eager: Percentiles | None
    frames_per_second: float
    spread: float
    round_medians: tuple[float, float]
    speedup: float | None
    share_of_bare: float
    start_s: float
    memory_peak: float
    memory_growth: float
    parameters: int | None
    multiply_adds: int | None
    multiply_adds_per_second: float | None
    share_of_peak: float | None
    same_label: float | None
    miou: float | None
    images: int | None
    not_scored: str | None
    file_miou: float | None
    samples_ms: dict[str, list[list[float]]]
    used_rounds: tuple[int, int]

    @property
    def is_steady(self) -> bool:
        """Whether the rounds agree well enough for the figures to be taken as they are."""
        return self.spread <= STEADY


def limits(run: Measurement) -> MachineLimits | None:
    """The machine's limits; None where torch is missing."""
    if not run.limits:
        return None
    best = {n: max(r[n] for r in run.limits) for n in ("fp32", "bf16", "copy")}
    return MachineLimits(run.limits[0]["software"], **best)


def figures(plan: Plan, run: Measurement) -> list[Figures]:
    """A row for everything that was measured, in order."""
    models = {m.name: m for m in plan.models}
    counted = [replace(s, rounds_ms=s.rounds_ms[run.used] or s.rounds_ms) for s in run.samples]
    by_combination = {s.combination: s for s in counted}
    rows = []
    for samples, whole in zip(counted, run.samples):
        model, size = samples.combination.model, samples.combination.size
        baseline = by_combination.get(Combination(model, *BASELINE, size))
        row = _row(models[model], samples, baseline, limits(run))
        start, stop, _ = run.used.indices(len(whole.rounds_ms))
        rows.append(replace(row, samples_ms=_rounded(whole), used_rounds=(start, stop)))
    return rows


def _row(
    model: Model, samples: Samples, baseline: Samples | None, limits: MachineLimits | None
) -> Figures:
    total, bare = _all(samples, "total"), _all(samples, "bare")
    medians = [float(np.median(r["total"])) for r in samples.rounds_ms]
    middle = float(np.median(total))
    parameters, multiply_adds = _cost(model, samples.combination.size)
    rate = multiply_adds / (float(np.median(bare)) * 1e-3) if multiply_adds else None
    peak = _peak(samples.combination, limits)
    score = samples.score
    return Figures(
        combination=samples.combination,
        random=model.random,
        other=model.info is None,
        device=samples.device,
        total=_percentiles(total),
        preprocess=_percentiles(_all(samples, "pre")),
        network=_percentiles(_all(samples, "network")),
        postprocess=_percentiles(_all(samples, "post")),
        bare=_percentiles(bare),
        eager=percentiles(_all(samples, "eager")),
        frames_per_second=len(total) * 1e3 / sum(total),
        spread=samples.spread(),
        round_medians=(min(medians), max(medians)),
        speedup=_fastest(baseline) / middle if baseline else None,
        share_of_bare=float(np.median(bare)) / middle,
        start_s=samples.start_s,
        memory_peak=samples.peak,
        memory_growth=samples.memory - samples.warm_memory,
        parameters=parameters,
        multiply_adds=multiply_adds,
        multiply_adds_per_second=rate,
        share_of_peak=rate / peak if rate and peak else None,
        same_label=score.get("same_label"),
        miou=score.get("miou"),
        images=score.get("images"),
        not_scored=_not_scored(model, score, baseline),
        file_miou=model.val_miou,
        samples_ms={},
        used_rounds=(0, len(samples.rounds_ms)),
    )


def _rounded(samples: Samples) -> dict[str, list[list[float]]]:
    return {
        name: [[round(v, 4) for v in r[name]] for r in samples.rounds_ms]
        for name in ("total", "bare", "eager")
        if _all(samples, name)
    }


def _all(samples: Samples, name: str) -> list[float]:
    return [value for one in samples.rounds_ms for value in one.get(name, [])]


def _fastest(baseline: Samples) -> float:
    return min(float(np.median(_all(baseline, name))) for name in ("bare", "eager"))


def _percentiles(values: list[float]) -> Percentiles:
    found = percentiles(values)
    if found is None:
        raise ValueError("a round without frames")
    return found


def _cost(model: Model, size: tuple[int, int]) -> tuple[int | None, int | None]:
    """Parameters and multiply-adds; None without torch, or with options that may change them."""
    try:
        from lrn_ros.networks.counting import count
    except ImportError as error:
        if error.name != "torch":
            raise
        return None, None
    if model.info is None or model.info.options:
        return None, None
    counts = count(model.info.architecture, num_classes=len(model.info.labels), size=size)
    return counts.parameters, counts.mac


def _peak(combination: Combination, limits: MachineLimits | None) -> float | None:
    on_cpu = combination.backend in ("openvino", "onnxruntime", "torch")
    found = {"fp32": limits.fp32, "bf16": limits.bf16} if limits and on_cpu else {}
    return found.get(combination.precision)


def _not_scored(model: Model, score: dict[str, Any], baseline: Samples | None) -> str | None:
    if "images" in score:
        return None
    if model.info is None:
        return "somebody else's network: nothing is known of its labels"
    if model.random:
        return "random weights: their labels say nothing"
    if "refused" in score:
        return str(score["refused"])
    if baseline is None:
        return f"its baseline, {' '.join(BASELINE)}, was not measured"
    if "refused" in baseline.score:
        return str(baseline.score["refused"])
    return "interrupted"
