# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node managed by a lifecycle manager of Nav2's interface, over real DDS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness import NodeProcess, new_domain

MANAGER = Path(__file__).with_name("lifecycle_manager.py")


def test_a_manager_walks_the_node_through_its_life(random_model: Path, tmp_path: Path) -> None:
    domain = new_domain()
    arguments = ["-p", f"model:={random_model}", "-p", "backend:=torch", "-r", "__ns:=/car"]
    node = NodeProcess(tmp_path / "node.log", domain, *arguments)
    try:
        managed = ["-p", "node_names:=[segmentation]", "-p", "autostart:=true"]
        managed += ["-p", "bond_timeout:=0.0", "-r", "__ns:=/car"]
        done = subprocess.run(
            [sys.executable, str(MANAGER), "--ros-args", *managed],
            env=os.environ | {"ROS_DOMAIN_ID": str(domain)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr + node.text()
        assert done.stdout.count("FAILED") == 0 and "now finalized" in done.stdout
    finally:
        node.stop()
    assert node.process.returncode == 0
