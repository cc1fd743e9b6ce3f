# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""docs/own-data.md: every command of the page, one after the other, ending with the node."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning")
pytest.importorskip("onnxscript")

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
STEPS = 150  # instead of twelve minutes


def commands() -> list[str]:
    """All shell commands but the installation."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    return [line for b in blocks for line in b.splitlines() if not line.startswith("pip ")]


@pytest.mark.slow
def test_every_command(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    script = re.search(r"```python\n(.*?)```", TEXT, re.S)
    assert script
    (tmp_path / "draw.py").write_text(script[1])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    said = {}
    for line in commands():
        words = line.split()
        assert words[0] in ("python3", "lrn")
        head = [sys.executable] if words[0] == "python3" else [sys.executable, "-m", "lrn_ros"]
        if line == "lrn train farm_v1.yaml":
            words += ["--steps", str(STEPS), "--set", "max_minutes=0", "--set", "eval_every=150"]
        done = subprocess.run(
            [*head, *words[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        said[line] = done.stdout
    converted = said["lrn data convert farm_raw --output farm"]
    assert "train 30, val 10 images (split by drive)" in converted
    assert "nothing suspicious" in said["lrn data check farm --sheet sheet.png"]
    evaluated = said["lrn evaluate runs/farm_v1 farm"]
    mean = re.search(r"mIoU +([\d.]+) %", evaluated)
    assert mean and float(mean[1]) >= 90
    for name in ("sky", "field", "barn", "path"):
        assert name in evaluated
    assert (tmp_path / "runs" / "farm_v1" / "farm_v1.onnx").is_file()
    assert len(list((tmp_path / "segmented").glob("*_mask.png"))) == 10
    assert (tmp_path / "runs" / "farm_v1" / "val.jpg").is_file()
    summary = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert "farm_v1" in json.dumps(summary)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
