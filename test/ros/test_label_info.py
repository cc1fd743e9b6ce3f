# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""~/label_info for late subscribers, where vision_msgs is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Client, NodeProcess, latched, new_domain, wait

LabelInfo = pytest.importorskip("vision_msgs.msg").LabelInfo


def test_label_info(random_model: Path, tmp_path: Path) -> None:
    domain = new_domain()
    client = Client(domain)
    node = NodeProcess(
        tmp_path / "node.log", domain, "-p", "autostart:=true", "-p", f"model:={random_model}"
    )
    try:
        client.wait_active()
        got = client.collect(LabelInfo, "/segmentation/label_info", latched())
        wait(lambda: got, 10, "label_info arrives")
        names = {c.class_id: c.class_name for c in got[0].class_map}
        assert names[3] == "road" and sorted(names) == list(range(11))
        assert got[0].threshold == 0.0
    finally:
        node.stop()
        client.close()
