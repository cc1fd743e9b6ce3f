# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile messages by the hundred: the node lives, counts each, and answers the valid ones."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

pytest.importorskip("openvino")


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_the_node_survives(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmark")
    fuzz = importlib.import_module("fuzz")
    result = fuzz.fuzz(transport, count=400, seed=1)
    assert result.hostile == 400 and result.valid == 20
    assert result.answered == result.valid
    assert result.unexplained == 0, result
    assert set(result.dropped) <= {"invalid", "superseded"}, result.dropped
    assert result.dropped["invalid"] > 40 and len(result.causes) >= 2, result
