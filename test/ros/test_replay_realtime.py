# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn replay in real time: a real bag into the real node over DDS, every frame accounted for."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")
pytest.importorskip("torch")

from harness import new_domain, wait

from lrn_ros.cli import main
from lrn_ros.data.bags.reader import BagReader
from lrn_ros.data.bags.times import Extent
from lrn_ros.data.bags.writer import BagWriter
from lrn_ros.errors import RunError
from lrn_ros.images.cdr import read_stamp
from lrn_ros.play import session as replay_module
from lrn_ros.play.session import PlayOptions, play_bag
from lrn_ros.play.timeline import PlayClock, bag_timeline
from lrn_ros.replay.job import ModelOptions
from lrn_ros.scene import StreetScene

IMAGES = "/camera/image_raw"
START_NS = 1_700_000_000 * 10**9


def make_bag(path: Path, count: int, hz: int, size: tuple[int, int], compressed: bool) -> Path:
    scene = StreetScene(seed=5, height=size[0], width=size[1])
    pictures = [scene.frame(i)[0] for i in range(3)]
    with BagWriter(path, "sqlite3" if compressed else "mcap", compressed=compressed) as writer:
        for i in range(count):
            writer.write(START_NS + i * 10**9 // hz, pictures[i % 3])
    return path


@pytest.fixture(scope="module")
def slow_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen images of 96x160 at 10 Hz."""
    return make_bag(tmp_path_factory.mktemp("bags") / "slow", 15, 10, (96, 160), False)


@pytest.fixture(scope="module")
def fast_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty JPEG images of 192x320 at 50 Hz."""
    return make_bag(tmp_path_factory.mktemp("bags") / "fast", 30, 50, (192, 320), True)


def command(model: Path, bag: Path, output: Path, *more: str, accuracy: bool = False) -> list[str]:
    domain = [] if accuracy else ["--domain-id", str(new_domain())]
    return [
        sys.executable, "-m", "lrn_ros", "replay", str(bag), "--model", str(model), "--backend",
        "torch", "--threads", "1", *domain, "--output", str(output), *more,
    ]  # fmt: skip


def replay(*arguments: Any, accuracy: bool = False) -> dict[str, Any]:
    done = subprocess.run(
        command(*arguments, accuracy=accuracy), capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads((arguments[2] / "results.json").read_text())
    return results


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(frames: dict[str, Any]) -> int:
    """Frames whose fate is known."""
    known = frames["answered"] + sum(frames["dropped"].values()) + frames["idle"]
    return int(known)


def running(output: Path) -> list[str]:
    """Processes that have this output folder in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found += [text] if str(output) in text else []
    return found


def test_as_recorded_with_fresh_stamps_after_the_accuracy_mode(random_model, slow_bag, tmp_path):
    out, before = tmp_path / "out", time.time_ns()
    results = replay(random_model, slow_bag, out)
    assert results["complete"] and results["frames"] == 15 and results["failed"] == []
    realtime = results["realtime"]
    frames = realtime["frames"]
    assert frames["published"] == 15 == told(frames) and frames["unaccounted"] == 0
    assert 5 <= frames["answered"] <= 15 and frames["delivered"] <= frames["answered"]
    (bag,) = realtime["bags"]
    assert (bag["played"]["name"], bag["played"]["topic"], bag["backend"]) == (
        "slow",
        IMAGES,
        "torch fp32",
    )
    assert bag["played"]["asked_fps"] == 10 and bag["fps_in"] == pytest.approx(10, rel=0.2)

    sent = lines(out / "realtime" / "slow" / "sent.jsonl")
    assert [s["index"] for s in sent] == list(range(15))
    stamps = [s["stamp_ns"] for s in sent]
    assert before < stamps[0] and stamps == sorted(set(stamps)) and stamps[-1] < time.time_ns()
    received = lines(out / "realtime" / "slow" / "received.jsonl")
    latency = {n["stamp_ns"]: n["values"] for n in received if n["kind"] == "latency"}
    (grey,) = latency.keys() - set(stamps)  # told the player that the node is ready
    assert grey < stamps[0] - 10**9
    del latency[grey]
    assert len(latency) == frames["answered"]
    ends = [float(v["end_to_end_ms"]) for v in latency.values()]
    assert realtime["latency_ms"]["end_to_end_ms"]["p50"] == pytest.approx(
        float(np.median(ends)), abs=1e-3
    )
    # The node's figure ends when the mask is published, a subscriber has it a little later.
    delivered = realtime["latency_ms"]["delivered_ms"]
    assert delivered["p50"] > realtime["latency_ms"]["processing_ms"]["p50"]
    report = (out / "report.html").read_text()
    assert "Real time" in report and "Every published frame is accounted for." in report
    assert not running(out)


def test_faster_than_the_node_in_loops_with_the_recorded_stamps(random_model, fast_bag, tmp_path):
    out = tmp_path / "out"
    more = ("--mode", "realtime", "--clock", "--rate", "10", "--loop", "2", "--temporal-smoothing")
    part = ("--start", "0.1", "--duration", "0.4", "--network-size", "192", "320")
    results = replay(random_model, fast_bag, out, *more, *part)
    realtime = results["realtime"]
    frames = realtime["frames"]
    assert results["frames"] == 0 and results["accuracy"] is None and results["complete"]
    assert frames["published"] == 40 == told(frames) and frames["unaccounted"] == 0
    assert frames["dropped"]["superseded"] >= 10 and frames["answered"] >= 2
    assert set(frames["dropped"]) >= {"superseded", "transport", "stale", "invalid", "compiling"}
    sent = lines(out / "realtime" / "fast" / "sent.jsonl")
    assert [s["index"] for s in sent] == [*range(5, 25)] * 2
    # As recorded, and in the second loop later by the length of the part: twenty frames.
    expected = [START_NS + (i + 5) * 20_000_000 for i in range(40)]
    assert [s["stamp_ns"] for s in sent] == expected
    assert realtime["bags"][0]["played"]["asked_fps"] == 500
    # In simulated time, in which the images were recorded at their stamps.
    stages = realtime["latency_ms"]
    assert stages["end_to_end_ms"]["count"] == frames["answered"]
    assert 0 <= stages["transport_ms"]["p50"] < stages["end_to_end_ms"]["p50"]
    assert "played into the node over DDS" in (out / "report.html").read_text()


@pytest.fixture
def two_cameras(slow_bag: Path, tmp_path: Path) -> Path:
    """The slow bag's images as those of two cameras, the second one 30 ms later."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    with Writer(tmp_path / "two", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        store, kind = get_typestore(Stores.ROS2_JAZZY), "sensor_msgs/msg/Image"
        names = ("/left/image_raw", "/right/image_raw")
        topics = [writer.add_connection(name, kind, typestore=store) for name in names]
        for message in BagReader(slow_bag).messages(IMAGES):
            for i, topic in enumerate(topics):
                writer.write(topic, message.recorded_ns + i * 30_000_000, message.data)
    return tmp_path / "two"


def test_two_cameras_at_once_through_one_node(random_model, two_cameras, tmp_path):
    out = tmp_path / "out"
    results = replay(random_model, two_cameras, out)
    names = ["two_left_image_raw", "two_right_image_raw"]
    assert [bag["name"] for bag in results["bags"]] == names and results["frames"] == 30
    bags, realtime = results["realtime"]["bags"], results["realtime"]
    assert [bag["played"]["name"] for bag in bags] == names
    assert {bag["played"]["folder"] for bag in bags} == {"realtime/two"}
    for bag in bags:
        frames = bag["frames"]
        assert frames["published"] == 15 == told(frames) and frames["unaccounted"] == 0
        assert frames["answered"] >= 1 and bag["fps_in"] == pytest.approx(10, rel=0.2)
    assert realtime["frames"]["published"] == 30 and realtime["frames"]["unaccounted"] == 0
    sent = lines(out / "realtime" / "two" / "sent.jsonl")
    assert [s["camera"] for s in sent] == ["camera0", "camera1"] * 15
    assert main(["compare", str(out), str(out), "--drop-margin", "1"]) == 0


def test_compare_plays_both_models_in_turns(random_model, slow_bag, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    replay(random_model, slow_bag, out, "--mode", "accuracy", accuracy=True)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(new_domain()))
    page, gate = tmp_path / "gate.html", ["--drop-margin", "100", "--latency-margin", "100"]
    status = main(["compare", str(out), str(out), "--rerun", *gate, "--html", str(page), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["interleaved"] and found["drift"] >= 0
    assert found["realtime"]["unanswered"]["samples"] == 2 * 15  # images, in two turns
    judged = {j["name"]: j["state"] for j in found["judgements"]}
    assert judged["share of unanswered images"] == "passes"
    assert judged["latency's p50"] in ("passes", "worse", "too few", "machine changed")
    assert status in (0, 1, 2)  # a busy machine gives no verdict
    assert "real time, end to end p50, ms" in page.read_text() and not running(out)
    model = tmp_path / "other.safetensors"
    model.write_bytes(random_model.read_bytes())
    replay(model, slow_bag, tmp_path / "other", "--mode", "accuracy", accuracy=True)
    model.write_bytes(model.read_bytes()[:-1] + b"0")
    assert main(["compare", str(out), str(tmp_path / "other"), "--rerun"]) == 2
    assert "other.safetensors are not those of the run" in capsys.readouterr().err


@pytest.fixture
def bad_bag(slow_bag: Path, tmp_path: Path) -> Path:
    """The slow bag with a fifth message that is cut off."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    with Writer(tmp_path / "bad", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        store = get_typestore(Stores.ROS2_JAZZY)
        topic = writer.add_connection(IMAGES, "sensor_msgs/msg/Image", typestore=store)
        for i, message in enumerate(BagReader(slow_bag).messages(IMAGES)):
            data = message.data[:5000] if i == 4 else message.data
            writer.write(topic, message.recorded_ns, data)
    return tmp_path / "bad"


def test_ctrl_c_keeps_what_was_played_and_what_is_no_image_is_counted(
    random_model, bad_bag, tmp_path
):
    out = tmp_path / "out"
    more = ("--mode", "realtime", "--loop", "100")
    process = subprocess.Popen(
        command(random_model, bad_bag, out, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    sent = out / "realtime" / "bad" / "sent.jsonl"
    wait(lambda: sent.is_file() and len(lines(sent)) >= 6, 60, "frames are played")
    process.send_signal(signal.SIGINT)
    text, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "interrupted" in error and "published" in text
    results = json.loads((out / "results.json").read_text())
    frames = results["realtime"]["frames"]
    assert not results["complete"] and 6 <= frames["published"] < 100
    assert frames["published"] == len(lines(sent)) == told(frames)
    assert frames["dropped"]["invalid"] == sum(s["index"] == 4 for s in lines(sent)) >= 1
    assert (out / "report.html").is_file() and not running(out)


@pytest.mark.parametrize("waits", ["play", "drain", "stop"])
def test_ctrl_c_at_any_time_ends_the_processes_and_keeps_what_was_recorded(
    waits, slow_bag, tmp_path, monkeypatch
):
    done = []

    def step(name):
        done.append(name)
        if name == waits and done.count(name) == 1:
            raise KeyboardInterrupt
        if name == "drain" and waits in done[:-1]:
            raise RunError("the node ended")  # also then

    class Calls:
        sent = 15

        def __init__(self, *_):
            pass

        def __getattr__(self, name):
            return lambda *_: step(name)

    monkeypatch.setattr(replay_module, "ProcessGroup", Calls)
    monkeypatch.setattr(replay_module, "Watch", Calls)
    options = PlayOptions(ModelOptions("m"))
    assert not play_bag(slow_bag, [IMAGES], options, tmp_path / "out", print)
    assert done[:4] == ["start"] * 3 + ["play"] and done[-1] == "stop"
    assert done.count("drain") == {"play": 1, "drain": 2, "stop": 1}[waits]


def test_bags_that_were_played_are_kept(slow_bag, fast_bag, tmp_path, monkeypatch, capsys):
    """A bag that there is no room for stops no other, Ctrl-C before one is played only those."""
    (tmp_path / "last").symlink_to(slow_bag)

    def play(bag, topics, options, folder, report):
        if bag.name == "slow":
            raise OSError(errno.ENOSPC, "No space left on device")
        if bag.name == "last":
            raise KeyboardInterrupt
        folder.mkdir(parents=True)
        return True

    monkeypatch.setattr(replay_module, "play_bag", play)
    out, bags = tmp_path / "out", [slow_bag, fast_bag, tmp_path / "last"]
    arguments = ["--mode", "realtime", "--output", str(out)]
    assert main(["replay", *map(str, bags), *arguments]) == 130
    results = json.loads((out / "results.json").read_text())
    assert [b["played"]["name"] for b in results["realtime"]["bags"]] == ["1_fast"]
    assert [f["bag"] for f in results["failed"]] == ["0_slow"] and not results["complete"]
    assert "slow failed: [Errno 28] No space left" in capsys.readouterr().err
    assert (out / "report.html").is_file()
    assert main(["replay", str(bags[2]), "--mode", "realtime", "--output", str(out)]) == 130
    assert not (out / "report.html").exists()


def test_cameras_of_other_types_are_played_one_after_the_other(
    slow_bag, fast_bag, tmp_path, monkeypatch
):
    """One node takes messages of one type."""
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    with rosbag2.Writer(tmp_path / "mixed", version=9) as writer:
        for i, path in enumerate((slow_bag, fast_bag, slow_bag)):
            recorded = BagReader(path)
            source = recorded.image_topic()
            kind = recorded.topics[source].type
            topic = writer.add_connection(f"/camera_{i}/image", kind, typestore=store)
            for message in recorded.messages(source):
                writer.write(topic, message.recorded_ns, message.data)
    calls = []

    def play(bag, topics, options, folder, report):
        calls.append((list(topics), folder.name))
        folder.mkdir(parents=True)
        return True

    monkeypatch.setattr(replay_module, "play_bag", play)
    arguments = ["--mode", "realtime", "--output", str(tmp_path / "out")]
    assert main(["replay", str(tmp_path / "mixed"), *arguments]) == 0
    assert calls == [
        (["/camera_0/image", "/camera_2/image"], "mixed"),
        (["/camera_1/image"], "mixed_1"),
    ]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--mode", "fast"), "invalid choice: 'fast'"),
        (("--rate", "0.05"), "'0.05' is not a number from 0.1 to 10"),
        (("--rate", "11"), "'11' is not a number from 0.1 to 10"),
        (("--loop", "0"), "'0' is not a whole number from 1 up"),
        (("--mode", "accuracy", "--rate", "2"), "--rate is for --mode realtime or both"),
        (("--mode", "accuracy", "--clock"), "--clock is for --mode realtime or both"),
        (("--mode", "accuracy", "--domain-id", "0"), "--domain-id is for --mode realtime or both"),
        (("--mode", "realtime", "--thorough"), "--thorough is for --mode accuracy or both"),
        (("--mode", "realtime", "--tolerance", "0"), "--tolerance is for --mode accuracy or both"),
        (("--mode", "realtime", "--workers", "2"), "--workers is for --mode accuracy or both"),
        (("--mode", "realtime", "--scheduler", "tcp://h:1"), "--scheduler is for --mode accuracy"),
        (("--mode", "realtime", "--backend", "best"), "'best' is not allowed; one of auto,"),
        (("--mode", "realtime", "--network-size", "100", "90"), "multiples of 8 from 64 up"),
        (("--mode", "realtime", "--start", "9"), "--start 9: "),
        (("--domain-id", "233"), "--domain-id 233: 0 to 232 work"),
    ],
)
def test_wrong_use_is_one_line(arguments, said, slow_bag, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["replay", str(slow_bag), "--output", str(out), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lrn replay: ") and said in line
    assert not out.exists()


def test_a_loop_begins_one_interval_after_the_last_message(slow_bag):
    bag = BagReader(slow_bag)
    dues = list(bag_timeline(bag, {"": IMAGES}, Extent(0.3, 0.5), 3))
    assert [d.index for d in dues] == [3, 4, 5, 6, 7] * 3
    assert {b.bag_ns - a.bag_ns for a, b in pairwise(dues)} == {100_000_000}
    assert [read_stamp(d.image.data) + d.shift_ns for d in dues] == [d.bag_ns for d in dues]


def test_the_bags_clock_stands_still_and_then_runs_at_its_rate():
    clock = PlayClock(START_NS, 4.0)
    assert clock.now_ns() == START_NS
    clock.start()
    assert clock.due_ns(START_NS + 4 * 10**9) - clock.due_ns(START_NS) == 10**9
    time.sleep(0.05)
    passed = clock.now_ns() - START_NS
    assert passed >= 4 * 50_000_000
    assert abs(time.monotonic_ns() - clock.due_ns(START_NS + passed)) < 50_000_000
