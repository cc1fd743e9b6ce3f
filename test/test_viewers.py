# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The topics, types, panels and docks in the viewers' configurations exist.

test/ros/test_viewers_live.py holds every path of the layouts against messages of a running node.
"""

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
CAMERAS = ("front", "left")
FILES = {"foxglove.json": ("",), "foxglove_cameras.json": CAMERAS}
PATH = re.compile(r'(/[\w/]+)\.status\[:\]\{name=="([^"]+)"\}\.values\[:\]\{key=="(\w+)"\}\.value')
WHOLES = ("processing_ms", "end_to_end_ms")


@pytest.fixture(scope="module")
def topics() -> dict[str, str]:
    """Outputs of the documented table by their name under the default node, with their types."""
    text = "".join((ROOT / name).read_text() for name in ("README.md", "docs/node.md"))
    rows = re.findall(r"^\| out \| `([^`]+)`(?:, `([^`]+)`)* \| (\S+)", text, re.M)
    found = {name.replace("~", "/segmentation"): kind for name, _, kind in rows}
    assert len(found) >= 9
    return found


@pytest.fixture(params=FILES)
def layout(request) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A layout, and the camera prefixes that it is for."""
    return json.loads((ROOT / "config" / request.param).read_text()), FILES[request.param]


def panels(tree: Any) -> Iterator[str]:
    """Names in a tree of rows and columns."""
    if isinstance(tree, str):
        yield tree
        return
    assert tree["direction"] in ("row", "column") and 0 < tree["splitPercentage"] < 100
    yield from panels(tree["first"])
    yield from panels(tree["second"])


def general(topic: str, prefixes: tuple[str, ...]) -> str:
    """A camera's topic as the one of a single camera."""
    for prefix in prefixes:
        topic = topic.replace(f"/{prefix}/", "/") if prefix else topic
    return topic


def test_every_panel_has_one_place_and_a_title(layout) -> None:
    config, _ = layout
    assert sorted(panels(config["layout"])) == sorted(config["configById"])
    assert config.keys() == {
        "configById", "globalVariables", "layout", "playbackConfig", "userNodes"
    }  # fmt: skip
    for name, panel in config["configById"].items():
        kind = name.partition("!")[0]
        assert kind in ("Image", "Plot", "DiagnosticSummary", "DiagnosticStatusPanel")
        # Foxglove reads the first key, Lichtblick the second; "title" is ignored.
        titles = {panel.get("foxglovePanelTitle"), panel.get("lichtblickPanelTitle")}
        assert len(titles) == 1 and (all(titles) or kind == "DiagnosticStatusPanel")


def test_pictures_are_of_topics_that_exist(layout, topics) -> None:
    config, prefixes = layout
    images = [p["imageMode"]["imageTopic"] for p in config["configById"].values() if "scene" in p]
    cameras = ["/camera/image_raw"] if prefixes == ("",) else [f"/{p}/image_raw" for p in prefixes]
    assert set(cameras) <= set(images)
    for topic in set(images) - set(cameras):
        assert topics[general(topic, prefixes)].startswith("sensor_msgs/")
    overlays = [t for t in images if t.endswith("/overlay/compressed")]
    assert len(overlays) == len(prefixes) and any(t.endswith("/legend") for t in images)


def test_plots_name_the_camera_and_show_on_recorded_files(layout, topics) -> None:
    config, prefixes = layout
    keys, names = set(), set()
    for name, panel in config["configById"].items():
        if not name.startswith("Plot!"):
            continue
        assert "followingViewWidth" not in panel, "a recorded file's plot stays empty with it"
        assert panel["legendDisplay"] == "left", "a floating legend covers the curves"
        assert len({p["color"] for p in panel["paths"]}) == len(panel["paths"])
        for path in panel["paths"]:
            topic, status, key = PATH.fullmatch(path["value"]).groups()
            assert topics[topic] == "diagnostic_msgs/DiagnosticArray"
            keys.add(key)
            names.add(status)
    cameras = {"segmentation: camera"} if prefixes == ("",) else set()
    assert names == cameras | {f"segmentation: {p}" for p in prefixes if p}
    stages = set(STAGES) if prefixes == ("",) else set(WHOLES)
    assert keys == stages | {"input_hz", "output_hz"}


def test_rviz_shows_camera_overlay_and_colours(topics) -> None:
    config = yaml.safe_load((ROOT / "config" / "segment.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    shown = [d["Topic"]["Value"] for d in displays if d["Enabled"] and d["Value"]]
    camera = "/camera/image_raw"
    assert sorted(shown) == [camera, "/segmentation/color", "/segmentation/overlay"]
    for display in displays:
        assert {**topics, camera: "sensor_msgs/Image"}[display["Topic"]["Value"]] == (
            "sensor_msgs/Image"
        )
        assert display["Class"] == "rviz_default_plugins/Image"


def test_rviz_says_where_its_docks_are() -> None:
    config = yaml.safe_load((ROOT / "config" / "segment.rviz").read_text())
    window = config["Window Geometry"]
    # rviz2 leaves both flags to chance where the file does not have them.
    assert window["Hide Left Dock"] is False and window["Hide Right Dock"] is False
    state = bytes.fromhex(str(window["QMainWindow State"]))
    for display in config["Visualization Manager"]["Displays"]:
        assert display["Name"].encode("utf-16-be") in state, "without its state a dock is tiny"
        assert window[display["Name"]] == {"collapsed": False}
