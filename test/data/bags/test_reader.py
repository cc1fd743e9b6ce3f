# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames and labels of bags that rosbags wrote: storages, compression, cameras, split bags."""

from __future__ import annotations

import gc
import itertools
import json
import tracemalloc

import cv2
import numpy as np
import pytest
import yaml
from bag_files import STAMP_DELAY_NS, STEP_NS, STORE, image, rosbag2, storage_file, text, write_bag

from lrn_ros.data.bags import is_bag
from lrn_ros.data.bags import storage as storage_module
from lrn_ros.data.bags.reader import BagReader, BagTopic
from lrn_ros.data.bags.times import Extent, within
from lrn_ros.data.datasets import read_label
from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelSet

RNG = np.random.default_rng(0)
FRAMES = [RNG.integers(0, 256, (16, 24, 3), np.uint8) for _ in range(6)]
LABELS = [RNG.integers(0, 3, (16, 24), np.uint8) for _ in range(6)]
SET = LabelSet("three", ("a", "b", "c"), ((9, 9, 9), (200, 0, 1), (0, 70, 255)), ignore=3)
CLASSES = [{"id": i, "name": n, "rgb": c} for i, (n, c) in enumerate(zip(SET.names, SET.colors))]
STORAGES = ("SQLITE3", "MCAP")


def _png(rgb):
    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].ravel()


def _jpeg(rgb):
    return cv2.imencode(".jpg", rgb)[1].ravel()


def _images(frames=FRAMES, first=0):
    return [image(first + i, rgb, "rgb8") for i, rgb in enumerate(frames)]


def _check(frames, expected, first=0):
    assert len(frames) == len(expected)
    for i, (frame, rgb) in enumerate(zip(frames, expected, strict=True), first):
        np.testing.assert_array_equal(frame.rgb, rgb)
        assert frame.stamp_ns == (i + 1) * STEP_NS and frame.frame_id == f"camera {i}"
        assert frame.recorded_ns == frame.stamp_ns + STAMP_DELAY_NS


@pytest.mark.parametrize(
    ("storage", "compression"),
    [*itertools.product(STORAGES, ("NONE", "FILE", "MESSAGE")), ("MCAP", "STORAGE")],
)
def test_storages_and_compression(tmp_path, storage, compression):
    path = write_bag(tmp_path / "bag", storage, {"/image": _images()}, compression)
    bag = BagReader(path)
    assert is_bag(path) and bag.topics == {"/image": BagTopic("sensor_msgs/msg/Image", 6)}
    assert bag.image_topics() == ["/image"] and bag.rate("/image") == pytest.approx(10.0)
    _check(list(bag.frames()), FRAMES)
    (path / "metadata.yaml").unlink()
    without = BagReader(path)
    assert without.topics == bag.topics and without.rate("/image") == pytest.approx(10.0)
    _check(list(without.frames()), FRAMES)
    assert bag.damage is None and without.damage == "metadata.yaml is missing"
    alone = BagReader(storage_file(path))
    _check(list(alone.frames()), FRAMES)
    assert alone.damage is None


@pytest.mark.parametrize("storage", STORAGES)
def test_several_cameras_side_by_side(tmp_path, storage):
    left, right = FRAMES[:4], FRAMES[2:]
    topics = {
        "/right/compressed": [image(i, _png(rgb), "png") for i, rgb in enumerate(right)],
        "/left": [image(i, np.ascontiguousarray(f[..., ::-1]), "bgr8") for i, f in enumerate(left)],
        "/words": [text("a"), text("b")],
    }
    bag = BagReader(write_bag(tmp_path / "bag", storage, topics))
    assert bag.image_topics() == ["/left", "/right/compressed"]
    assert list(bag.topics) == ["/left", "/right/compressed", "/words"]
    pairs = list(zip(bag.frames("/left"), bag.frames("/right/compressed"), strict=True))
    _check([a for a, _ in pairs], left)
    _check([b for _, b in pairs], right)
    some = list(bag.frames("/left", {1, 3}))
    assert [f.frame_id for f in some] == ["camera 1", "camera 3"]
    with pytest.raises(UserError, match="name one of /left, /right/compressed"):
        bag.frames()
    with pytest.raises(UserError, match="no image topic '/up'; there are /left, /right/compressed"):
        bag.frames("/up")
    with pytest.raises(UserError, match="/words is std_msgs/msg/String, not sensor_msgs/msg/Image"):
        bag.frames("/words")
    with pytest.raises(UserError, match="no topic '/up'; there are /left, /right/compressed, /wor"):
        bag.messages("/up")
    assert [m.data[8:-1] for m in bag.messages("/words")] == [b"a", b"b"]


def _split_bag(tmp_path, storage):
    """One bag of twelve files with a frame each, as a recorder splits them."""
    frames = FRAMES * 2
    whole = tmp_path / "drive"
    whole.mkdir()
    for i in range(12):
        topics = {"/image": _images(frames[i : i + 1], i)}
        one = write_bag(tmp_path / f"drive_{i}", storage, topics, first=i)
        storage_file(one).rename(whole / storage_file(one).name)
    data = yaml.safe_load((one / "metadata.yaml").read_text())
    info = data["rosbag2_bagfile_information"]
    info["relative_file_paths"] = [f"drive_{i}.{part_suffix(storage)}" for i in range(12)]
    info["topics_with_message_count"][0]["message_count"] = info["message_count"] = 12
    info["duration"]["nanoseconds"] = 11 * STEP_NS
    (whole / "metadata.yaml").write_text(yaml.safe_dump(data))
    return whole, frames


def part_suffix(storage):
    return {"SQLITE3": "db3", "MCAP": "mcap"}[storage]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_split_bag(tmp_path, storage):
    path, frames = _split_bag(tmp_path, storage)
    bag = BagReader(path)
    assert bag.topics["/image"].count == 12 and bag.rate("/image") == pytest.approx(10.0)
    _check(list(bag.frames()), frames)
    name = f"drive_3.{part_suffix(storage)}"
    _check(list(BagReader(path / name).frames()), frames)  # stands for the bag
    metadata = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").unlink()
    without = BagReader(path)  # 10 comes behind 9
    assert without.topics == bag.topics and without.rate("/image") == pytest.approx(10.0)
    _check(list(without.frames()), frames)
    _check(list(BagReader(path / name).frames()), frames[3:4], 3)  # alone
    (path / "metadata.yaml").write_text(metadata)
    (path / name).unlink()
    left = list(bag.frames())
    _check(left[:3], frames[:3])
    for frame, rgb in zip(left[3:], frames[4:], strict=True):  # the files behind it are read
        np.testing.assert_array_equal(frame.rgb, rgb)
    assert bag.damage is not None and f"{name}: the file is missing" in bag.damage


@pytest.mark.parametrize(
    ("storage", "compression"),
    [("SQLITE3", "NONE"), ("SQLITE3", "FILE"), ("MCAP", "NONE"), ("MCAP", "STORAGE")],
)
def test_a_part_is_read_alone(tmp_path, monkeypatch, storage, compression):
    """Also of files of which the later one was recorded earlier."""
    whole, read = tmp_path / "drive", []
    whole.mkdir()
    for i, first in enumerate((20, 0, 40)):
        topics = {"/image": _images(FRAMES * 2, first), "/words": [text("a")] * 20}
        one = write_bag(tmp_path / f"drive_{i}", storage, topics, compression, first)
        storage_file(one).rename(whole / storage_file(one).name)
    bag = BagReader(whole)
    unpack = storage_module._decompressed
    monkeypatch.setattr(storage_module, "_decompressed", lambda d: read.append(0) or unpack(d))
    for start, duration in itertools.product((0, 0.05, 0.1, 0.7, 2.1, 3.1, 9), (None, 0.3)):
        extent = Extent(start, duration)
        expected = list(within(enumerate(bag.messages("/image")), extent))
        read.clear()
        assert list(bag.part("/image", extent)) == expected
        if start:  # beside the first one, and one behind the end
            assert len(read) <= len(expected) + 2 and bag.damage == "metadata.yaml is missing"
    found = [frame.index for frame in bag.frames("/image", {26, 28, 30}, Extent(2.3))]
    assert found == [28, 30]
    with pytest.raises(UserError, match="no topic '/up'"):
        bag.part("/up", Extent(1))


def test_a_part_of_a_file_without_an_index(tmp_path):
    path = write_bag(tmp_path / "bag", "MCAP", {"/image": _images(), "/words": [text("")] * 20})
    file = storage_file(path)
    file.write_bytes(file.read_bytes()[:-40])
    for bag in (BagReader(path), BagReader(file)):
        assert [i for i, _ in bag.part("/image", Extent(0.3))] == [3, 4, 5]
        assert bag.damage is not None and bag.rate("/image") == 2.632


@pytest.mark.parametrize("storage", STORAGES)
def test_the_rate_is_that_of_the_topic(tmp_path, storage):
    topics = {"/image": _images(), "/words": [text("a")] * 60, "/once": [text("b")]}
    bag = BagReader(write_bag(tmp_path / "bag", storage, topics))
    assert [bag.rate(topic) for topic in topics] == [10.0, 10.0, 0.0]


def test_labels_by_id_and_by_colour(tmp_path):
    ids = [label.copy() for label in LABELS]
    ids[0][0, :2] = 255, SET.ignore
    colours = [SET.lookup()[i] for i in ids]  # 255 and 3 are black there
    bgr = [np.ascontiguousarray(c[..., ::-1]) for c in colours]
    topics = {
        "/image": _images(),
        "/truth": [image(i, p, "mono8") for i, p in enumerate(ids)],
        "/truth/classes": [text(json.dumps(CLASSES))],
        "/rgb": [image(i, p, "rgb8") for i, p in enumerate(colours)],
        "/bgr": [image(i, p, "bgr8") for i, p in enumerate(bgr)],
    }
    bag = BagReader(write_bag(tmp_path / "bag", "MCAP", topics))
    assert bag.label_topics() == ["/truth"] and bag.image_topics() == ["/bgr", "/image", "/rgb"]
    own = bag.label_set("/truth")
    assert own is not None and (own.names, own.colors) == (SET.names, SET.colors)
    for topic in ("/truth", "/rgb", "/bgr"):
        found = list(bag.labels(topic, SET))
        assert len(found) == 6 and found[0].label[0, :2].tolist() == [255, 255]
        for i, (frame, label) in enumerate(zip(found, LABELS, strict=True)):
            known = ids[i] == label
            np.testing.assert_array_equal(frame.label[known], label[known])
            assert frame.label.dtype == np.uint8 and frame.stamp_ns == (i + 1) * STEP_NS
    with pytest.raises(UserError, match="id 3 is not in /truth/classes \\(classes 0, 1, 2; unlab"):
        list(bag.labels("/truth"))
    with pytest.raises(UserError, match="/rgb has no /rgb/classes; name a label set"):
        bag.labels("/rgb")
    other = LabelSet("other", ("a", "b"), ((9, 9, 9), (200, 0, 1)))
    with pytest.raises(UserError, match=r"no class of other has the colour \(0, 70, 255\)"):
        list(bag.labels("/rgb", other))
    same = LabelSet("same", ("a", "b"), ((9, 9, 9), (9, 9, 9)))
    with pytest.raises(UserError, match="share a colour; use mono8"):
        list(bag.labels("/rgb", same))


def _ids(names, first):
    """A message of classes with ids from `first` on."""
    return text(json.dumps([{"id": first + i, "name": n, "rgb": [i] * 3} for i, n in names]))


def test_the_ids_of_a_label_topic(tmp_path):
    """Those of its classes; without these, those that the set gives to a PNG."""
    city = LabelSet.load("cityscapes19")
    names = list(enumerate(city.names))
    classes = RNG.integers(0, 19, (16, 24), np.uint8)
    classes[0, 0] = 255
    unlabelled = classes == 255
    from_one = np.where(unlabelled, 255, classes + 1).astype(np.uint8)
    files = np.where(unlabelled, 4, np.array(city.ids)[classes % 19]).astype(np.uint8)
    topics = {
        "/positions": classes, "/from_one": from_one, "/files": files, "/node/mask": classes,
        "/odd": files,
    }  # fmt: skip
    said = {
        "/positions/classes": _ids(names, 0),
        "/from_one/classes": _ids(names[::-1], 1),
        "/node/classes": _ids(names, 0),
        "/odd/classes": text("road, sidewalk"),
    }
    messages = {n: [image(0, pixels, "mono8")] for n, pixels in topics.items()}
    said = {n: [m] for n, m in said.items()}
    bag = BagReader(write_bag(tmp_path / "bag", "MCAP", messages | said))
    for topic in topics:
        (found,) = bag.labels(topic, city)
        np.testing.assert_array_equal(found.label, classes, topic)
    for topic in ("/positions", "/node/mask"):
        (found,) = bag.labels(topic)
        np.testing.assert_array_equal(found.label, classes, topic)
    own = bag.label_set("/from_one")
    (found,) = bag.labels("/from_one")
    assert own.names == city.names[::-1] and own.ids == tuple(range(19, 0, -1))
    np.testing.assert_array_equal(found.label[~unlabelled], 18 - classes[~unlabelled])
    cv2.imwrite(str(tmp_path / "label.png"), files)
    (found,) = bag.labels("/files", city)
    np.testing.assert_array_equal(found.label, read_label(tmp_path / "label.png", city))
    # Of a set with other names nothing is known but what it says itself.
    other = LabelSet(
        "other", ("a", "b"), ((0,) * 3, (1,) * 3), ids=(3, 1), void=tuple(range(4, 20))
    )
    with pytest.raises(UserError, match="id 2 is not in other .classes 3, 1; unlabelled 4, 5"):
        list(bag.labels("/from_one", other))


@pytest.mark.parametrize("encoding", ["mono16", "16UC1", "16SC1", "32SC1", "png"])
def test_ids_of_more_than_8_bits(tmp_path, encoding):
    """As simulators publish them."""
    kind = {"16SC1": np.int16, "32SC1": np.int32}.get(encoding, np.uint16)

    def message(ids):
        pixels = cv2.imencode(".png", ids)[1].ravel() if encoding == "png" else ids
        return [image(0, pixels, encoding)]

    topics = {"/ids": message(LABELS[0].astype(kind))}
    topics["/too_high"] = message(LABELS[0].astype(kind) + 256)
    bag = BagReader(write_bag(tmp_path / "bag", "MCAP", topics))
    (found,) = bag.labels("/ids", SET)
    np.testing.assert_array_equal(found.label, LABELS[0])
    with pytest.raises(UserError, match=r"/too_high, message 0: id 25\d is no class; ids from 0"):
        list(bag.labels("/too_high", SET))


def test_labels_without_exact_values_are_refused(tmp_path):
    topics = {
        "/float": [image(0, np.zeros((4, 6), np.float32), "32FC1")],
        "/jpeg": [image(0, _jpeg(FRAMES[0]), "jpeg")],
        "/odd/classes": [text("[1]")],
        "/odd": [image(0, LABELS[0], "mono8")],
    }
    bag = BagReader(write_bag(tmp_path / "bag", "MCAP", topics))
    with pytest.raises(UserError, match="labels cannot be in 32FC1; mono8, "):
        list(bag.labels("/float", SET))
    with pytest.raises(UserError, match="/jpeg, message 0: JPEG changes the values of labels"):
        list(bag.labels("/jpeg", SET))
    with pytest.raises(UserError, match="/odd/classes is not a list of classes"):
        bag.labels("/odd")


@pytest.mark.parametrize("storage", STORAGES)
def test_memory_does_not_grow_with_the_length(tmp_path, storage):
    apsw = pytest.importorskip("apsw")

    def peak(count):
        messages = [image(i, np.full((200, 300, 3), i, np.uint8), "rgb8") for i in range(count)]
        path = write_bag(tmp_path / f"bag{count}", storage, {"/image": messages})
        bag = BagReader(path)
        gc.collect()
        apsw.memory_high_water(True)
        before = apsw.memory_used()
        tracemalloc.start()
        assert sum(1 for _ in bag.frames()) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # SQLite's own memory is not traced; to sort rows it would take 3 MB of these and more.
        assert apsw.memory_high_water() - before < 4 * 200 * 300 * 3
        return most

    assert peak(60) < 1.3 * peak(15)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "no such file or folder"),
        ("empty", "not a rosbag2; a folder with storage files"),
        (
            "x.txt",
            r"not a rosbag2; .*\.db3, \.mcap, \.db3\.zstd, \.mcap\.zstd\) or one such file works",
        ),
        ("x.mcap", r"nothing in this bag can be read \(x.mcap: File magic is invalid"),
        ("x.db3", r"nothing in this bag can be read \(x.db3: .*file is not a database"),
        ("void.mcap", r"nothing in this bag can be read \(void.mcap: "),
        ("void.db3", r"nothing in this bag can be read \(void.db3: "),
    ],
)
def test_not_a_bag(tmp_path, name, says):
    (tmp_path / "empty").mkdir()
    for file in ("x.txt", "x.mcap", "x.db3"):
        (tmp_path / file).write_text("no messages", encoding="utf-8")
        (tmp_path / file.replace("x", "void", 1)).touch()
    with pytest.raises(UserError, match=says):
        BagReader(tmp_path / name)


def test_no_image_topic(tmp_path):
    bag = BagReader(write_bag(tmp_path / "bag", "MCAP", {"/words": [text("a")]}))
    with pytest.raises(UserError, match="no topic of type sensor_msgs/msg/Image"):
        bag.frames()


def test_labels_as_png(tmp_path):
    """Lossless, and named as image_transport names a compressed topic."""
    topics = {
        "/image": _images(),
        "/truth/compressed": [image(i, _png_of(p), "png") for i, p in enumerate(LABELS)],
        "/truth/classes": [text(json.dumps(CLASSES))],
        "/colours": [image(i, _png(SET.lookup()[p]), "png") for i, p in enumerate(LABELS)],
    }
    bag = BagReader(write_bag(tmp_path / "bag", "MCAP", topics))
    assert bag.label_topics() == ["/truth/compressed"]
    assert bag.image_topics() == ["/colours", "/image"]
    for topic, labels in (("/truth/compressed", None), ("/colours", SET)):
        found = list(bag.labels(topic, labels))
        assert len(found) == len(LABELS)
        for label, wanted in zip(found, LABELS):
            np.testing.assert_array_equal(label.label, np.where(wanted < len(SET), wanted, 255))


def _png_of(values):
    return cv2.imencode(".png", values)[1].ravel()


@pytest.mark.parametrize("storage", STORAGES)
def test_equal_receive_times_are_replaced_by_stamps(tmp_path, storage):
    """As in recordings that were converted; the first stamp is that of a simulation's beginning."""
    path = tmp_path / "bag"
    plugin = rosbag2.StoragePlugin[storage]
    with rosbag2.Writer(path, version=9, storage_plugin=plugin) as writer:
        kind = "sensor_msgs/msg/Image"
        connection = writer.add_connection("/image", kind, typestore=STORE)
        for i, rgb in enumerate(FRAMES):
            message = image(i - 1, rgb, "rgb8")  # the first stamp is 0
            writer.write(connection, 10**18, STORE.serialize_cdr(message, kind))
    bag = BagReader(path)
    assert bag.rate("/image") == pytest.approx(10)
    frames = list(bag.frames(extent=Extent(0.15, 0.2)))
    assert [f.index for f in frames] == [2, 3]
    for frame in bag.frames():
        assert frame.recorded_ns == frame.stamp_ns == frame.time_ns == frame.index * STEP_NS
        np.testing.assert_array_equal(frame.rgb, FRAMES[frame.index])
    assert bag.notes == ["/image: receive times are equal, so the stamps are taken for them"]
    assert bag.damage is None


def test_one_topic_of_every_camera_is_taken(tmp_path):
    """As in what `ros2 bag record -a` leaves of a camera and of a depth camera."""
    rgb, depth = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint16)
    jpeg = cv2.imencode(".jpg", rgb)[1].ravel()
    topics = {
        "/front/image/zstd": [image(0, jpeg, "png")],
        "/front/image/compressed": [image(0, jpeg, "jpeg")],
        "/front/image": [image(0, rgb, "rgb8")],
        "/back/compressed": [image(0, jpeg, "jpeg")],
        "/depth": [image(0, depth, "16UC1")],
    }
    bag = BagReader(write_bag(tmp_path / "bag", "MCAP", topics))
    assert bag.image_topics() == ["/back/compressed", "/front/image"]
    assert bag.left_out["/depth"] == "16UC1 is depth"
    assert bag.left_out["/front/image/zstd"] == "it shows the same as /front/image"
    assert bag.image_topic("/front/image/compressed") == "/front/image/compressed"
    only = BagReader(write_bag(tmp_path / "only", "MCAP", {"/depth": topics["/depth"]}))
    with pytest.raises(UserError, match="encoding '16UC1' is not supported"):
        list(only.frames())
