# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the viewers' configurations show exists: topics, types, keys of the latency."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lrn_ros.inference.result import STAGES

ROOT = Path(__file__).resolve().parents[1]
CAMERA = "/camera/image_raw"  # what segment.launch.py is started with in the README


@pytest.fixture(scope="module")
def topics() -> dict[str, str]:
    """Topics of the README's table by their name under the default node, with their types."""
    rows = re.findall(r"^\| out \| `([^`]+)` \| (\S+)", (ROOT / "README.md").read_text(), re.M)
    found = {name.replace("~", "/segmentation"): kind for name, kind in rows}
    assert len(found) >= 9
    return {**found, CAMERA: "sensor_msgs/Image"}


@pytest.fixture(scope="module")
def foxglove() -> dict[str, Any]:
    return json.loads((ROOT / "config" / "foxglove.json").read_text())


def panels(layout: Any) -> Iterator[str]:
    """Names in a tree of rows and columns."""
    if isinstance(layout, str):
        yield layout
        return
    assert layout["direction"] in ("row", "column") and 0 < layout["splitPercentage"] < 100
    yield from panels(layout["first"])
    yield from panels(layout["second"])


def test_foxglove_places_every_panel_once(foxglove) -> None:
    names = list(panels(foxglove["layout"]))
    assert sorted(names) == sorted(foxglove["configById"])
    known = {"Image", "Plot", "DiagnosticSummary", "DiagnosticStatusPanel", "RawMessages"}
    assert {name.partition("!")[0] for name in names} == known
    assert foxglove.keys() == {
        "configById", "globalVariables", "layout", "playbackConfig", "userNodes"
    }  # fmt: skip


def test_foxglove_shows_topics_that_exist(foxglove, topics) -> None:
    shown = {}
    for name, panel in foxglove["configById"].items():
        kind = name.partition("!")[0]
        if kind == "Image":
            shown[panel["imageMode"]["imageTopic"]] = "Image"
            assert topics[panel["imageMode"]["imageTopic"]].startswith("sensor_msgs/")
        elif kind.startswith("Diagnostic"):
            assert topics[panel["topicToRender"]] == "diagnostic_msgs/DiagnosticArray"
        elif kind == "RawMessages":
            assert topics[panel["topicPath"].removesuffix(".data")] == "std_msgs/String"
    assert shown.keys() == {"/segmentation/overlay/compressed", "/segmentation/color", CAMERA}


def test_foxglove_plots_keys_of_the_latency(foxglove, topics) -> None:
    pattern = re.compile(r'(/[\w/]+)\.status\[0\]\.values\[:\]\{key=="(\w+)"\}\.value')
    keys = []
    for name, panel in foxglove["configById"].items():
        if name.startswith("Plot!"):
            for path in panel["paths"]:
                topic, key = pattern.fullmatch(path["value"]).groups()
                assert topics[topic] == "diagnostic_msgs/DiagnosticArray"
                keys.append(key)
    assert sorted(keys) == sorted((*STAGES, "frames", "dropped"))


def test_rviz_shows_camera_overlay_and_colours(topics) -> None:
    config = yaml.safe_load((ROOT / "config" / "segment.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    shown = [d["Topic"]["Value"] for d in displays if d["Enabled"] and d["Value"]]
    assert sorted(shown) == [CAMERA, "/segmentation/color", "/segmentation/overlay"]
    for display in displays:
        assert topics[display["Topic"]["Value"]] == "sensor_msgs/Image"
        assert display["Class"] == "rviz_default_plugins/Image"
