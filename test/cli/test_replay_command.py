# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn replay in accuracy mode: what lrn evaluate finds, and one clear line about bad input."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tqdm

pytest.importorskip("rosbags")
pytest.importorskip("torch")

from lrn_ros.cli import main
from lrn_ros.data.bags.reader import BagReader
from lrn_ros.replay import job as replay_job

OPTIONS = ["--backend", "torch", "--threads", "1", "--network-size", "64", "96"]
CAMVID = Path(os.environ.get("LRN_CAMVID", "data/camvid"))


def lrn(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def replay(*arguments: object) -> int:
    return lrn("replay", "--mode", "accuracy", *arguments)


@pytest.fixture(scope="module")
def bag(dataset, tmp_path_factory):
    """The data set's val split as `lrn bag create` writes it."""
    path = tmp_path_factory.mktemp("bags") / "val"
    assert lrn("bag", "create", dataset / "val", "--output", path) == 0
    return path


def assert_same(dataset, bag, options, limit, tmp_path, capsys):
    capsys.readouterr()
    model, *rest = options
    assert lrn("evaluate", model, dataset, *rest, "--limit", limit, "--json") == 0
    expected = json.loads(capsys.readouterr().out)
    for mode in ([], ["--thorough"]):
        output = tmp_path / f"out{len(mode)}"
        assert replay(bag, "--model", model, *rest, "--output", output, "--json", *mode) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["accuracy"]["confusion"] == expected["confusion"]
        assert np.sum(expected["confusion"]) > 0
        assert found["accuracy"]["miou"] == expected["miou"]
        assert found["accuracy"]["pixel_accuracy"] == expected["pixel_accuracy"]
        for name, figures in expected["classes"].items():
            assert figures.pop("iiou", None) is None  # of Cityscapes, which has instances
            assert figures.items() <= found["accuracy"]["classes"][name].items()
        assert found["bags"][0]["accuracy"] == found["accuracy"]
        assert found == json.loads((output / "results.json").read_text())


def test_replay_finds_what_evaluate_finds(dataset, bag, random_model, tmp_path, capsys):
    assert_same(dataset, bag, [random_model, *OPTIONS], 3, tmp_path, capsys)


@pytest.mark.skipif(not (CAMVID / "val").is_dir(), reason="needs CamVid, see LRN_CAMVID")
def test_on_camvid(tmp_path, capsys):
    pytest.importorskip("openvino")
    limit, bag = 12, tmp_path / "camvid"
    assert lrn("bag", "create", CAMVID / "val", "--output", bag, "--frames", limit) == 0
    options = ["lrnnet_c_camvid", "--backend", "openvino", "--threads", "1"]
    assert_same(CAMVID, bag, options, limit, tmp_path, capsys)


def test_text_and_pictures(bag, random_model, tmp_path, capsys):
    assert replay(bag, "--model", random_model, *OPTIONS, "--output", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "frames    3, " in out and "per second, one worker" in out
    assert "mIoU" in out and "(3 labelled frames)" in out and "inference" in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/") >= 4 * 3 and "Confusion matrix" in page
    for said in (
        "0.1.0",
        str(bag),
        "/camera/image_raw",
        "64x96",
        "none: random weights",
        "SHA-256",
    ):
        assert said in page, said


def test_old_results_stand_until_others_are_made(bag, random_model, tmp_path, capsys):
    out, labels = tmp_path / "out", tmp_path / "labels"
    labels.mkdir()
    cv2.imwrite(str(labels / "000001.png"), np.zeros((32, 48), np.uint8))  # of another size
    files = [out / "results.json", out / "report.html"]
    arguments = [bag, "--model", random_model, *OPTIONS, "--output", out]
    assert replay(*arguments) == 0
    assert replay(*arguments, "--ground-truth", "/no") == 2
    assert all(f.is_file() for f in files)
    assert replay(*arguments) == 0
    assert "val: taken from an earlier run" in capsys.readouterr().err
    assert replay(*arguments, "--ground-truth", labels) == 2
    assert not any(f.exists() for f in files)


def test_several_bags_one_of_them_bad(bag, random_model, tmp_path, capsys):
    bad, other = tmp_path / "bad", tmp_path / "other"
    bad.mkdir()
    shutil.copytree(bag, other)
    arguments = [bag, bad, other, "--model", random_model, *OPTIONS, "--output", tmp_path / "out"]
    assert replay(*arguments) == 1
    error = capsys.readouterr().err
    assert "lrn replay: bad failed: " in error and "Traceback" not in error
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [b["name"] for b in results["bags"]] == ["val", "other"] and results["frames"] == 6
    assert [f["bag"] for f in results["failed"]] == ["bad"]
    assert replay(*arguments) == 1
    assert "val, other: taken from an earlier run" in capsys.readouterr().err
    assert replay(bad, tmp_path / "none", "--output", tmp_path / "out2") == 1
    assert "no bag could be replayed" in capsys.readouterr().err


def test_a_bag_that_there_is_no_room_for_stops_no_other(
    bag, random_model, tmp_path, monkeypatch, capsys
):
    def open_bag(path: Path) -> BagReader:
        if path.name == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        return BagReader(path)

    monkeypatch.setattr(replay_job, "open_bag", open_bag)
    shutil.copytree(bag, tmp_path / "full")
    options = ["--model", random_model, *OPTIONS, "--output", tmp_path / "out"]
    assert replay(tmp_path / "full", bag, *options) == 1
    assert "full failed: [Errno 28] No space left" in capsys.readouterr().err
    assert (tmp_path / "out" / "report.html").is_file()


def test_colour_coded_labels_and_a_mapping(dataset, bag, random_model, tmp_path, capsys):
    """Labels of the same frames as colours of Cityscapes, mapped back to CamVid's."""
    from lrn_ros.model.labels import LabelSet

    city, camvid = LabelSet.load("cityscapes19"), LabelSet.load("camvid11")
    names = {"road": "road", "building": "building", "sky": "sky", "car": "car"}
    table = np.zeros((256, 3), np.uint8)
    kept = np.full(256, 255, np.uint8)
    for ours, theirs in names.items():
        table[camvid.names.index(ours)] = city.colors[city.names.index(theirs)]
        kept[camvid.names.index(ours)] = camvid.names.index(ours)
    folder = tmp_path / "labels"
    folder.mkdir()
    pixels = 0
    for i, label in enumerate(BagReader(bag).labels("/camera/labels")):
        cv2.imwrite(str(folder / f"{i:06d}.png"), table[label.label][..., ::-1])
        pixels += int((kept[label.label] < 255).sum())
    options = ["--model", random_model, *OPTIONS, "--ground-truth", folder, "--json"]
    mapping = ["--labels", "cityscapes19", "--mapping", "cityscapes19_to_camvid11"]
    assert replay(bag, *options, *mapping, "--output", tmp_path / "out") == 0
    found = json.loads(capsys.readouterr().out)["accuracy"]
    assert np.sum(found["confusion"]) == pixels and len(found["classes"]) == 11
    assert replay(bag, *options, *mapping[:2], "--output", tmp_path / "out") == 2
    assert "--mapping NAME or FILE.yaml translates one to the other" in capsys.readouterr().err


@pytest.fixture
def odd_bags(tmp_path, bag):
    """Bags that cannot be replayed, by what is wrong with them."""
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    text = store.types["std_msgs/msg/String"]("hello")
    with rosbag2.Writer(tmp_path / "no_image", version=9) as writer:
        topic = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=store)
        writer.write(topic, 1, store.serialize_cdr(text, "std_msgs/msg/String"))
    kind = "sensor_msgs/msg/Image"
    with (
        rosbag2.Reader(bag) as reader,
        rosbag2.Writer(tmp_path / "two_images", version=9) as writer,
    ):
        topics = [writer.add_connection(n, kind, typestore=store) for n in ("/left", "/right")]
        for connection, stamp, data in reader.messages():
            if connection.topic == "/camera/image_raw":
                for topic in topics:
                    writer.write(topic, stamp, data)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("hello")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("none", [], "none"),
        ("folder", [], "folder"),
        ("file.txt", [], "file.txt"),
        ("no_image", [], "no topic of type sensor_msgs/msg/Image"),
        (
            "two_images",
            ["--ground-truth", "/no"],
            "/no: it belongs to one camera, and there are /left, /right",
        ),
        ("two_images", ["--topic", "/up"], "no image topic '/up'; there are /left, /right"),
        ("two_images", ["--topic", "/left", "--start", "99"], "--start 99"),
        (
            "two_images",
            ["--topic", "/left", "--ground-truth", "/no"],
            "neither a folder nor a topi",
        ),
        (
            "two_images",
            ["--topic", "/left", "--mapping", "no"],
            "unknown label mapping 'no'; known",
        ),
    ],
)
def test_bad_input_is_one_line(odd_bags, random_model, capsys, name, more, said):
    arguments = ["--model", random_model, *OPTIONS, "--output", odd_bags / "out", *more]
    assert replay(odd_bags / name, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("lrn replay: ") and error.count("\n") == 1 and said in error


def test_several_cameras_merged_and_apart(odd_bags, random_model, tmp_path, capsys):
    options = ["--model", random_model, *OPTIONS]
    out = tmp_path / "both"
    assert replay(odd_bags / "two_images", *options, "--output", out) == 0
    results = json.loads((out / "results.json").read_text())
    assert [bag["topic"] for bag in results["bags"]] == ["/left", "/right"]
    assert [bag["frames"] for bag in results["bags"]] == [3, 3] and results["frames"] == 6
    one = ["--topic", "/left", "--output", tmp_path / "one"]
    assert replay(odd_bags / "two_images", *options, *one) == 0
    results = json.loads((tmp_path / "one" / "results.json").read_text())
    assert [bag["name"] for bag in results["bags"]] == ["two_images"] and results["frames"] == 3


def test_the_progress_of_a_part_has_no_false_total(bag, random_model, tmp_path, monkeypatch):
    totals = []

    class Bar(tqdm.tqdm):
        def __init__(self, **options: Any) -> None:
            totals.append(options["total"])
            super().__init__(**options)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    arguments = [bag, "--model", random_model, *OPTIONS, "--output", tmp_path / "out"]
    assert replay(*arguments) == 0 and replay(*arguments, "--duration", "0.15") == 0
    assert totals == [3, None]


def test_a_duration_of_nothing(bag, capsys):
    assert replay(bag, "--duration", "0") == 2
    assert "--duration: '0' is not a number of seconds above 0" in capsys.readouterr().err


def test_labels_of_another_size_and_of_no_image(bag, random_model, tmp_path, capsys):
    folder = tmp_path / "labels"
    folder.mkdir()
    arguments = ["--model", random_model, *OPTIONS, "--output", tmp_path / "out"]
    small = str(folder / "000001.png")
    cv2.imwrite(small, np.zeros((32, 48), np.uint8))
    assert replay(bag, *arguments, "--ground-truth", folder) == 2
    error = capsys.readouterr().err
    assert "a label of 48x32 pixels for an image of 96x64; labels must have the" in error
    os.rename(small, folder / "000077.png")
    assert replay(bag, *arguments, "--ground-truth", folder) == 2
    error = capsys.readouterr().err
    assert "(numbers 77 to 77): no label has the stamp or the number of an image" in error
