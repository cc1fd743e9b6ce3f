# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The running node imports a bounded number of modules, and no tool."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = {"ros", "inference", "images", "model"}
MOST = 55  # modules; a robot's software is read by those who answer for it

SCRIPT = """
import sys
import lrn_ros.ros.segmentation_node, lrn_ros.inference.backends.openvino
print("\\n".join(name for name in sys.modules if name.split(".")[0] == "lrn_ros"))
print("torch" in sys.modules)
"""


def test_the_node_imports_no_tool_and_no_torch() -> None:
    pytest.importorskip("rclpy")
    pytest.importorskip("openvino")
    made = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *modules, torch = made.stdout.split()
    rooms = {name.split(".")[1] for name in modules if name.count(".")}
    assert rooms - {"errors", "memory", "paths"} == RUNTIME
    assert len(modules) <= MOST
    assert torch == "False"


def test_every_room_has_its_place_in_the_order_and_in_the_documentation() -> None:
    """import-linter's contract, which `make lint` checks, names every folder of the package."""
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("\nlayers = ")[1]
    layers = ast.literal_eval(contract[: contract.index("]") + 1])
    named = {room for layer in layers for room in layer.split(" | ")}
    folders = {p.parent.name for p in (ROOT / "lrn_ros").glob("*/__init__.py")}
    assert named == folders
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [room for room in sorted(folders) if f"| `{room}/` |" not in text] == []
