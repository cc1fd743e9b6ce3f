# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Against the LRNNet paper (section 4.3, table 2), NDNet's logs and the exact parameter counts."""

from __future__ import annotations

import json

import pytest

from lrn_ros.cli import main

pytest.importorskip("torch")

# Exact parameters with 19 classes; convolutions and total in billions at 512x1024.
EXPECTED = {
    "lrnnet_a": (672_930, 8.219, 8.477),
    "lrnnet_b": (681_122, 8.287, 8.578),
    "lrnnet_c": (681_122, 8.287, 8.588),
    "lrnnet_ssnbt": (943_874, 11.483, 11.715),
    "lednet": (922_821, 11.208, 11.547),
    "ndnet45": (399_947, 0.494, 0.523),  # a quarter of the logs' 2.09 at 1024x2048
}


def test_models_as_json(capsys):
    assert main(["models", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    found = {m["name"]: m for m in data["architectures"]}
    assert data["size"] == [512, 1024] and data["classes"] == 19
    for name, (parameters, conv, total) in EXPECTED.items():
        assert found[name]["parameters"] == parameters
        assert found[name]["conv_multiply_adds"] / 1e9 == pytest.approx(conv, abs=5e-4)
        assert found[name]["total_multiply_adds"] / 1e9 == pytest.approx(total, abs=5e-4)


def test_models_table(capsys, random_model, monkeypatch):
    monkeypatch.setattr("lrn_ros.artifact.weights_folder", lambda: random_model.parent)
    # 360x480 as CamVid: the paper's model C there, 2.731 / 2.830 billion.
    assert main(["models", "--size", "360", "480"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line.split() for line in lines if line.startswith("lrnnet_c "))
    assert row[1] == "681,122"
    assert [float(v) for v in row[2:]] == pytest.approx([2.731, 2.830], abs=5e-4)
    assert any(line.split()[:3] == ["random", "lrnnet_c", "11"] for line in lines)
