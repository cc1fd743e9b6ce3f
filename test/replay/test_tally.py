# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Vectors of frames add up to the figures that the whole set has."""

from __future__ import annotations

import numpy as np
import pytest
from part_records import frame_line

from lrn_ros.metrics.calibration import grouped
from lrn_ros.replay.figures import FrameLine
from lrn_ros.replay.tally import Tally, figures, marginals, vector


def frame(seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, (40, 50)).astype(np.uint8)
    truth[truth == 3] = 255  # class 3 never occurs
    mask = np.where(rng.random(truth.shape) < 0.7, truth, 1).astype(np.uint8)
    confidence = rng.integers(50, 256, truth.shape).astype(np.uint8)
    return truth, mask, confidence, rng.integers(0, 255, (40, 50, 3)).astype(np.uint8)


def test_sums_have_the_figures_of_the_tally() -> None:
    tally, lines, previous = Tally.empty(5), [], None
    for seed in range(4):
        truth, mask, confidence, rgb = frame(seed)
        line = {"pixels": marginals(tally.compare(truth, mask))}
        if seed % 2:  # figures that are taken of some frames only
            line["boundary"], levels = tally.sample(truth, mask, confidence)
            line["calibration"] = grouped(levels)
        if previous is not None:
            steady = tally.follow(previous, (rgb, mask))
            line |= {"before": marginals(steady.matrix)}
            line |= {"still": steady.still, "flickered": steady.flickered}
        previous = rgb, mask
        lines.append(vector(FrameLine(**frame_line(seed, seed, **line)), 5))
    found = figures(np.sum(lines, axis=0), 5)
    accuracy, temporal = tally.accuracy(tuple("abcde")), tally.temporal()
    assert accuracy is not None and temporal is not None
    expected = {
        "miou": accuracy.miou,
        "pixel_accuracy": accuracy.pixel_accuracy,
        "boundary_f": accuracy.boundary.f_score,
        "ece": accuracy.calibration.ece,
        "consistency": temporal.consistency,
        "flicker": temporal.flicker,
    }
    assert {k: float(v) for k, v in found.items() if k != "iou"} == pytest.approx(
        expected, nan_ok=True
    )
    iou = [c.iou for c in accuracy.classes.values()]
    np.testing.assert_allclose(found["iou"], iou)
    assert np.isnan(iou[3]) and not np.isnan(accuracy.miou)


def test_many_sums_at_once_and_none() -> None:
    truth, mask, _, _ = frame(0)
    pixels = marginals(Tally.empty(5).compare(truth, mask))
    one = vector(FrameLine(**frame_line(0, 0, pixels=pixels)), 5)
    several = figures(np.stack([[one, 2 * one], [3 * one, one]]), 5)
    assert several["miou"].shape == (2, 2) and several["iou"].shape == (2, 2, 5)
    np.testing.assert_allclose(several["miou"], several["miou"][0, 0])
    assert all(
        np.isnan(v).all() for v in figures(vector(FrameLine(**frame_line(0, 0)), 5), 5).values()
    )
