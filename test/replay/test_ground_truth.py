# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labels find their images by stamp or number, and their classes by id, colour or mapping."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags")

from lrn_ros.data.bags.reader import BagLabel
from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelMapping, LabelSet
from lrn_ros.paths import share_folder
from lrn_ros.replay.ground_truth import FolderTruth, TopicTruth, read_truth
from lrn_ros.replay.scoring import scoring

CAMVID, CITYSCAPES = LabelSet.load("camvid11"), LabelSet.load("cityscapes19")
MS = 1_000_000


def labels_at(*stamps: int) -> list[BagLabel]:
    return [
        BagLabel(np.full((2, 2), i % 256, np.uint8), s, s, "camera") for i, s in enumerate(stamps)
    ]


def test_topic_matches_by_stamp_whatever_lies_between():
    truth = TopicTruth(iter(labels_at(100 * MS, 300 * MS, 350 * MS)), "/labels", MS)
    found = [
        truth.find(i, stamp * MS, stamp * MS) for i, stamp in enumerate((0, 100, 200, 301, 400))
    ]
    assert [None if f is None else int(f[0, 0]) for f in found] == [None, 0, None, 1, None]
    truth.finish()
    matching = truth.matching
    assert (matching.labels, matching.matched, matching.nearest_ns) == (3, 2, -50 * MS)


def test_sparse_labels_and_memory(monkeypatch):
    alive = []

    def read():
        for label in labels_at(*range(0, 100_000 * MS, 1000 * MS)):
            alive.append(1)
            yield label

    truth = TopicTruth(read(), "/labels", MS)
    matched = sum(truth.find(i, i * 100 * MS, i * 100 * MS) is not None for i in range(500))
    assert matched == 50
    assert len(alive) <= 52  # no more is read than has been asked for


STEP, FAR = 33_333_333, 40_000 * MS


def unlabelled(
    images: dict[int, int], labels: dict[int, int], late: dict[int, int] | None = None
) -> list[int]:
    """Of 250 images at 30 Hz with a label each, those that get none or another one's.

    Args:
        images: from which image on stamps are so much later, nanoseconds.
        labels: likewise those of labels.
        late: from which label on it is recorded so much later.
    """

    def shift(at: int, of: dict[int, int]) -> int:
        return next((by for start, by in sorted(of.items(), reverse=True) if at >= start), 0)

    times = [10**18 + i * STEP for i in range(250)]
    recorded = (
        BagLabel(np.full((1, 1), i, np.uint8), t + shift(i, labels), t + shift(i, late or {}), "")
        for i, t in enumerate(times)
    )
    truth = TopicTruth(recorded, "/labels", MS)
    stamps = [t + shift(i, images) for i, t in enumerate(times)]
    found = [
        truth.find(i, stamp, time, after)
        for i, (time, stamp, after) in enumerate(zip(times, stamps, [*stamps[1:], None]))
    ]
    return [i for i, f in enumerate(found) if f is None or f[0, 0] != i]


@pytest.mark.parametrize("by", [FAR, -FAR])
@pytest.mark.parametrize("at", [0, 10, 249])
def test_a_wrong_stamp_costs_one_label(at, by):
    wrong = {at: by, at + 1: 0}
    assert unlabelled(images=wrong, labels={}) == [at]
    assert unlabelled(images={}, labels=wrong) == [at]


@pytest.mark.parametrize("by", [FAR, -FAR])
def test_a_clock_that_is_set_costs_no_label(by):
    assert unlabelled(images={100: by}, labels={100: by}) == []
    assert unlabelled(images={100: by, 200: 0}, labels={100: by, 200: 0}) == []


def test_a_stamp_that_is_another_images_costs_its_label_too():
    assert unlabelled(images={10: 3 * STEP, 11: 0}, labels={}) == [10, 13]


@pytest.mark.parametrize(
    "late",
    [
        {0: 5 * FAR},
        {0: -5 * FAR},
        {0: 0, 100: 3000 * MS},
        {0: 0} | {i: 3000 * MS - (i - 100) * STEP for i in range(100, 190)},  # at once, at last
    ],
)
def test_labels_may_be_recorded_at_another_time(late):
    assert unlabelled(images={}, labels={}, late=late) == []


@pytest.mark.parametrize("start", [-40, 40])
def test_labels_and_images_need_not_begin_together(start):
    times = [10**18 + i * STEP for i in range(100)]
    truth = TopicTruth(iter(labels_at(*times[max(start, 0) :])), "/labels", MS)
    images = [*times[max(-start, 0) :], None]
    found = [truth.find(i, t, t, after) for i, (t, after) in enumerate(zip(images, images[1:]))]
    assert [f is not None for f in found] == [t in times[max(start, 0) :] for t in images[:-1]]


def save(path: Path, image: np.ndarray) -> None:
    assert cv2.imwrite(str(path), image if image.ndim == 2 else image[..., ::-1])


@pytest.mark.parametrize(
    "name", ["1700000000250000000", "1700000000.25", "1700000000_250000000", "1700000000-25"]
)
def test_folder_by_stamp(tmp_path, name):
    save(tmp_path / f"{name}.png", np.full((2, 2), 3, np.uint8))
    truth = FolderTruth(tmp_path, CAMVID, MS)
    assert truth.find(0, 1_700_000_000_200_000_000, 0) is None
    assert truth.find(1, 1_700_000_000_250_900_000, 0)[0, 0] == 3
    assert (truth.matching.labels, truth.matching.matched) == (1, 1)
    assert truth.matching.nearest_ns == 50 * MS


def test_topic_labels_belong_to_the_nearest_image_alone():
    stamps = [0, 100 * MS, 200 * MS, 300 * MS]
    truth = TopicTruth(iter(labels_at(90 * MS, 190 * MS, 290 * MS)), "/labels", 95 * MS)
    found = [truth.find(i, s, s, n) for i, (s, n) in enumerate(zip(stamps, [*stamps[1:], None]))]
    assert [None if f is None else int(f[0, 0]) for f in found] == [None, 0, 1, 2]


def test_folder_labels_belong_to_the_nearest_image_alone(tmp_path):
    start = 1_700_000_000_000 * MS
    for i in (1, 3):
        save(tmp_path / f"{start + 100 * i * MS + 10 * MS}.png", np.full((2, 2), i, np.uint8))
    truth = FolderTruth(tmp_path, CAMVID, 250 * MS)
    stamps = [start + 100 * i * MS for i in range(6)]
    found = [truth.find(i, s, s, n) for i, (s, n) in enumerate(zip(stamps, [*stamps[1:], None]))]
    assert [i for i, f in enumerate(found) if f is not None] == [1, 3]
    assert (truth.matching.labels, truth.matching.matched) == (2, 2)


@pytest.mark.parametrize("name", ["20240101120000123456", "9999999999999999999"])
def test_names_that_are_no_stamp_are_refused(tmp_path, name):
    save(tmp_path / f"{name}.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(UserError, match=f"{name}.png: the file name must be a stamp"):
        FolderTruth(tmp_path, CAMVID, MS)


@pytest.mark.parametrize("prefix", ["", "frame_", "front2_"])
def test_folder_by_number_and_by_neither(tmp_path, prefix):
    for i in (2, 7):
        save(tmp_path / f"{prefix}{i:06d}.png", np.full((2, 2), i, np.uint8))
    truth = FolderTruth(tmp_path, CAMVID, MS)
    found = {i: truth.find(i, i, i) for i in range(9)}
    assert {i for i, f in found.items() if f is not None} == {2, 7}
    assert found[7][0, 0] == 7
    save(tmp_path / "first.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(UserError, match="first.png: the file name must be a stamp"):
        FolderTruth(tmp_path, CAMVID, MS)


def indexed_png(ids: np.ndarray, table: bytes) -> bytes:
    """A PNG with a palette, which OpenCV does not write; see RFC 2083."""
    height, width = ids.shape
    rows = b"".join(b"\0" + row.tobytes() for row in ids)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"PLTE", table), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_ids_and_colours_are_the_same_label(tmp_path):
    mask = np.array([[0, 3, 10], [255, 5, 8]], np.uint8)
    save(tmp_path / "ids.png", mask)
    save(tmp_path / "colors.png", CAMVID.lookup()[mask])
    for name in ("ids", "colors"):
        np.testing.assert_array_equal(read_truth(tmp_path / f"{name}.png", CAMVID), mask)
    save(tmp_path / "odd.png", np.full((2, 2, 3), (1, 2, 3), np.uint8))
    with pytest.raises(UserError, match=r"odd.png.*camvid11 has the colour \(1, 2, 3\)"):
        read_truth(tmp_path / "odd.png", CAMVID)
    table = b"".join(bytes([i, 0, 0]) for i in range(4))
    (tmp_path / "indexed.png").write_bytes(indexed_png(np.array([[0, 3]], np.uint8), table))
    with pytest.raises(UserError, match=r"indexed colours: save class ids as greyscale\): no"):
        read_truth(tmp_path / "indexed.png", CAMVID)
    save(tmp_path / "lossy.jpg", CAMVID.lookup()[mask])
    with pytest.raises(UserError, match="JPEG changes colours"):
        read_truth(tmp_path / "lossy.jpg", CAMVID)


def test_the_sets_own_ids(tmp_path):
    save(tmp_path / "ids.png", np.array([[7, 26, 0]], np.uint8))  # road, car, unlabelled
    np.testing.assert_array_equal(read_truth(tmp_path / "ids.png", CITYSCAPES), [[0, 13, 255]])


def test_mapping_of_the_package():
    mapping = LabelMapping.load("cityscapes19_to_camvid11")
    names = ["road", "sidewalk", "truck", "rider", "terrain"]
    mask = np.array([[*(CITYSCAPES.names.index(n) for n in names), 255]], np.uint8)
    expected = [CAMVID.names.index(n) for n in ("road", "pavement", "car", "bicyclist")]
    np.testing.assert_array_equal(mapping(mask), [[*expected, 255, 255]])


def mapping_file(folder: Path, **changes: str | None) -> Path:
    source = share_folder() / "config" / "mappings" / "cityscapes19_to_camvid11.yaml"
    data = yaml.safe_load(source.read_text())
    for name, value in changes.items():
        if value == "missing":
            del data["classes"][name]
        else:
            data["classes"][name] = value
    path = folder / "mapping.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bus": "missing"}, "no class of camvid11 for bus of cityscapes19"),
        ({"bus": "lorry"}, "lorry not in camvid11; its classes are sky, building"),
        ({"lorry": "car"}, "lorry not in cityscapes19"),
    ],
)
def test_a_mapping_is_checked(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        LabelMapping.load(mapping_file(tmp_path, **changes))


def test_either_side_may_be_mapped():
    mapping = LabelMapping.load("cityscapes19_to_camvid11")
    assert scoring(CAMVID, CAMVID, None).labels == CAMVID
    of_truth = scoring(CAMVID, CITYSCAPES, mapping)
    assert (of_truth.labels, of_truth.of_truth, of_truth.of_prediction) == (CAMVID, mapping, None)
    of_mask = scoring(CITYSCAPES, CAMVID, mapping)
    assert (of_mask.labels, of_mask.of_truth, of_mask.of_prediction) == (CAMVID, None, mapping)
    with pytest.raises(UserError, match="--mapping NAME or FILE.yaml translates one to the other"):
        scoring(CAMVID, CITYSCAPES, None)
    with pytest.raises(
        UserError,
        match="the model has the classes of camvid11 and the labels have those of camvid11",
    ):
        scoring(CAMVID, CAMVID, mapping)
