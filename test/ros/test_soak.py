# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The soak and overload commands, in short: every frame has a fate, and nothing piles up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openvino")
COMMAND = Path(__file__).parents[2] / "benchmark" / "soak.py"


def soak(*arguments: str) -> dict[str, Any]:
    """Run the command on 640x360; its figures."""
    done = subprocess.run(
        [sys.executable, str(COMMAND), "--json", "--size", "360", "640", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        env={k: v for k, v in os.environ.items() if k != "ROS_DOMAIN_ID"},
    )
    assert done.stdout.startswith("{"), done.stderr
    figures: dict[str, Any]
    figures, _ = json.JSONDecoder().raw_decode(done.stdout)  # missed bars follow
    return figures


def test_steady() -> None:
    found = soak("--minutes", "0.15", "--rate", "5")
    assert found["sent"] == found["received"] >= 40
    assert found["unexplained"] == 0
    assert found["published"] + sum(found["dropped"].values()) == found["sent"]
    assert found["published"] > 0.5 * found["sent"]
    assert found["heartbeat_gap_s"] < 2.5
    assert found["growth"] < 10  # percent, in a run so short; 2 over half an hour


def test_overload() -> None:
    found = soak("--minutes", "0.15", "--overload", "3")
    assert found["unexplained"] == 0
    assert found["dropped"]["superseded"] > 0
    assert found["heartbeat_gap_s"] < 2.5
    # A frame waits for at most one other.
    assert found["processing_p50"] < 2.5 * found["inference_p50"]
    assert found["second_half"] < 1.5, "no queue builds up"


def test_overload_by_several_cameras() -> None:
    found = soak("--minutes", "0.1", "--overload", "3", "--cameras", "3")
    assert found["unexplained"] == 0
    assert found["dropped"]["superseded"] > 0
    assert len(found["by_camera"]) == 3 and sum(found["by_camera"]) == found["published"]
    assert min(found["by_camera"]) > 0.8 * max(found["by_camera"]), "none starves"
