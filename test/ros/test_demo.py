# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn demo for real: three processes over DDS, every frame accounted for, none left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from lrn_ros.metrics.confusion import confusion_matrix, scores
from lrn_ros.play.processes import environment
from lrn_ros.scene import StreetScene

pytest.importorskip("rclpy")
pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[2]


def _command(model: Path, output: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "lrn_ros", "demo", "--model", str(model), "--backend", "torch",
        "--output", str(output), *more,
    ]  # fmt: skip


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def _orphans(output: Path, model: Path) -> list[str]:
    """Processes of this demo that still run, by what is in their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(output) in text or (str(model) in text and "/camera/image_raw" in text):
            found.append(text)
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _pictures(video: Path) -> list[np.ndarray]:
    capture, found = cv2.VideoCapture(str(video)), []
    while (read := capture.read())[0]:
        found.append(read[1])
    return found


def _frames(video: Path) -> tuple[int, tuple[int, ...]]:
    found = _pictures(video)
    return len(found), found[0].shape


def test_scene(random_model, tmp_path):
    out = tmp_path / "demo"
    size = ("--frames", "12", "--rate", "5", "--size", "96", "160", "--seed", "3")
    done = _run(_command(random_model, out, *size))
    assert done.returncode == 0, done.stderr
    assert "mIoU" in done.stdout and "published 12: " in done.stdout and "end_to_end" in done.stdout
    assert not _orphans(out, random_model)
    results = json.loads((out / "results.json").read_text())
    frames, stages = results["realtime"]["frames"], results["realtime"]["latency_ms"]
    assert results["complete"] and frames["published"] == 12 and frames["unaccounted"] == 0
    assert not frames["dropped"]["transport"] and frames["answered"] >= 8
    assert frames["delivered"] == frames["answered"] == len(list((out / "masks").iterdir()))
    (bag,) = results["realtime"]["bags"]
    assert bag["fps_in"] == pytest.approx(5, rel=0.2) and bag["backend"] == "torch fp32"
    assert results["provenance"]["machine"]["versions"]["lrn_ros"]
    assert "Every published frame is accounted for." in (out / "report.html").read_text()

    sent = _lines(out / "realtime" / "demo" / "sent.jsonl")
    index = {line["stamp_ns"]: line["index"] for line in sent}
    answers = [
        line
        for line in _lines(out / "realtime" / "demo" / "received.jsonl")
        if line["kind"] == "latency" and line["stamp_ns"] in index
    ]
    ends = [float(line["values"]["end_to_end_ms"]) for line in answers]
    assert stages["end_to_end_ms"]["p50"] == pytest.approx(np.median(ends), abs=1e-3)

    count, shape = _frames(out / "overlay.mp4")
    assert shape == (96, 160, 3) and frames["answered"] <= count < 2 * frames["answered"]
    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet is not None and sheet.shape[1] == 4 * 486 + 6  # the truth is beside it

    # demo.mcap has every topic of the viewers' layout, and the masks that were recorded.
    layout = json.loads((ROOT / "config" / "foxglove.json").read_text())["configById"]
    images = {p["imageMode"]["imageTopic"] for p in layout.values() if "imageMode" in p}
    with AnyReader([out / "demo.mcap"]) as recording:
        topics = {c.topic: c for c in recording.connections}
        assert {*images, "/segmentation/latency", "/diagnostics"} <= set(topics)
        store, found = get_typestore(Stores.ROS2_JAZZY), {}
        for connection, _, data in recording.messages():
            found.setdefault(connection.topic, []).append(
                store.deserialize_cdr(data, connection.msgtype)
            )
    counts = {topic: len(found[topic]) for topic in images}
    assert counts == dict.fromkeys(images, frames["answered"]) | {"/segmentation/legend": 1}
    for message in found["/segmentation/mask"]:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        mask = cv2.imread(str(out / "masks" / f"{stamp}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(message.data.reshape(mask.shape), mask)
    shown = [m.status[0] for m in found["/segmentation/latency"]]
    values = [float({v.key: v.value for v in s.values}["end_to_end_ms"]) for s in shown]
    assert values == pytest.approx(ends)
    told = r"ROS_DOMAIN_ID=\d+ lrn view /segmentation; images are on /camera/image_raw"
    assert re.search(told, done.stderr)

    # The masks are those of a Segmenter on the same frames, and the score follows from them.
    from lrn_ros import Segmenter

    segmenter = Segmenter.load(random_model, backend="torch")
    scene = StreetScene(seed=3, height=96, width=160, fps=5.0)
    matrix = np.zeros((11, 12), np.int64)
    for answer in answers:
        rgb, truth = scene.frame(index[answer["stamp_ns"]])
        path = out / "masks" / f"{answer['stamp_ns']}.png"
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, segmenter(rgb).mask)
        matrix += confusion_matrix(truth, mask, 11)
    assert results["accuracy"]["frames"] == frames["answered"]
    assert results["accuracy"]["miou"] == pytest.approx(scores(matrix).miou, abs=1e-9)


def test_camera_faster_than_the_node(random_model, tmp_path):
    folder, labels = tmp_path / "val", tmp_path / "valannot"
    folder.mkdir()
    labels.mkdir()
    for i in range(25):
        rgb, label = StreetScene(seed=1, height=360, width=480).frame(i % 4)
        cv2.imwrite(str(folder / f"{i:03d}.jpg"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(labels / f"{i:03d}.png"), label)
    out = tmp_path / "demo"
    done = _run(_command(random_model, out, "--input", str(folder), "--rate", "200", "--json"))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    frames = report["realtime"]["frames"]
    assert frames["published"] == 25 and frames["answered"] < 25 and not frames["unaccounted"]
    assert {cause for cause, count in frames["dropped"].items() if count} == {"superseded"}
    assert report["accuracy"]["frames"] == frames["delivered"] == frames["answered"]
    sent = [line["stamp_ns"] for line in _lines(out / "realtime" / "demo" / "sent.jsonl")]
    shown = [line for line in _lines(out / "realtime" / "demo" / "received.jsonl")
             if line["kind"] == "overlay"]  # fmt: skip
    assert [line["stamp_ns"] for line in shown] == sorted(line["stamp_ns"] for line in shown)
    pictures = _pictures(out / "overlay.mp4")
    expected = 0
    for before, line in zip([None, *shown], shown):
        # Where frames got no mask, the overlay before them is shown once more.
        skipped = before and any(before["stamp_ns"] < s < line["stamp_ns"] for s in sent)
        expected += bool(skipped)
        assert line["position"] == expected
        note = pictures[expected][-14:, :120]
        assert np.median(note) < 60 and (note > 160).any(), "time, frame and latency"
        if skipped:
            again, previous = pictures[expected - 1], pictures[before["position"]]
            assert np.abs(again[:-14].astype(int) - previous[:-14]).mean() < 4
            assert np.abs(again[-14:, :300].astype(int) - previous[-14:, :300]).mean() > 8
        expected += 1
    assert len(pictures) == expected > len(shown)
    last = _lines(out / "realtime" / "demo" / "sent.jsonl")[-1]
    assert last["index"] == 24  # the newest frame is always answered
    assert (out / "masks" / f"{last['stamp_ns']}.png").is_file()


def _wait_for_overlays(process, out, count):
    """Wait until so many are recorded, or the demo ends."""
    received = out / "realtime" / "demo" / "received.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if received.is_file() and received.read_text().count('"overlay"') >= count:
            break
        time.sleep(0.2)


def test_ctrl_c_keeps_what_was_recorded(random_model, tmp_path):
    out = tmp_path / "demo"
    command = _command(random_model, out, "--frames", "400", "--rate", "10", "--size", "64", "96")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for_overlays(process, out, 5)
    process.send_signal(signal.SIGINT)
    text, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert not _orphans(out, random_model)
    results = json.loads((out / "results.json").read_text())
    assert not results["complete"] and 5 <= results["realtime"]["frames"]["published"] < 400
    assert _frames(out / "overlay.mp4")[0] >= 5
    assert "published" in text and "interrupted" in error


def test_a_process_that_fails_is_named(random_model, tmp_path):
    out = tmp_path / "demo"
    done = _run(_command(random_model, out, "--frames", "3", "--precision", "int8"))
    assert done.returncode == 1
    assert "stays unconfigured" in done.stderr and "has no int8" in done.stderr
    assert "Traceback" not in done.stderr
    assert not _orphans(out, random_model)


def test_a_node_that_is_killed_ends_the_demo(random_model, tmp_path):
    out = tmp_path / "demo"
    command = _command(random_model, out, "--frames", "400", "--rate", "10", "--size", "64", "96")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for_overlays(process, out, 2)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0") if path.exists() else []
        if b"lrn_ros.ros.node" in words and any(str(random_model).encode() in w for w in words):
            os.kill(int(path.parent.name), signal.SIGKILL)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "node ended with status -9" in error
    assert not _orphans(out, random_model)


def test_environment_respects_the_user():
    env = environment(None, {"ROS_DOMAIN_ID": "7", "FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"})
    assert env["ROS_DOMAIN_ID"] == "7" and env["FASTRTPS_DEFAULT_PROFILES_FILE"] == "mine.xml"
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in env
    assert environment(42, {"ROS_DOMAIN_ID": "7"})["ROS_DOMAIN_ID"] == "42"
    assert 1 <= int(environment(None, {})["ROS_DOMAIN_ID"]) <= 101
    assert environment(None, {})["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        assert os.path.isfile(environment(None, {})[name])
