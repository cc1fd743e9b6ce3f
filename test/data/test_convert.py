# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Layouts and kinds of masks become images/, labels/ and labels.yaml with the same classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_farm import FARM, Array, scene
from PIL import Image

from lrn_ros.data.convert import Options, convert
from lrn_ros.data.datasets import read_label, read_pair
from lrn_ros.data.layouts import find_files
from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelSet

COLOURS = np.array(FARM.colors, np.uint8)
INSTANCES = np.array([0, 7, 26], np.int32)  # ids of the classes, of which 7 and 26 have instances


def draw(
    root: Path,
    mask: Callable[[Path, Array], None],
    layout: str = "images/{}.png masks/{}.png",
    names: tuple[str, ...] = tuple(f"{d}_{i:02}" for d in "abcd" for i in range(5)),
) -> dict[str, Array]:
    """Images and masks; `mask` writes one. The labels by name."""
    rng, labels = np.random.default_rng(0), {}
    for name in names:
        image_path, mask_path = (root / part.format(name) for part in layout.split())
        image_path.parent.mkdir(parents=True, exist_ok=True)
        mask_path.parent.mkdir(parents=True, exist_ok=True)
        rgb, labels[name] = scene(rng)
        Image.fromarray(rgb).save(image_path)
        mask(mask_path, labels[name])
    return labels


def ids(path: Path, label: Array) -> None:
    Image.fromarray(label).save(path)


def colours(path: Path, label: Array) -> None:
    Image.fromarray(COLOURS[label]).save(path)


def palette(path: Path, label: Array) -> None:
    image = Image.fromarray(label, "P")
    image.putpalette(COLOURS.tobytes() + bytes(759))
    image.save(path, bits=4)


def instances(path: Path, label: Array) -> None:
    values = INSTANCES[label] * np.where(label, 1000, 1) + np.where(label, 3, 0)
    Image.fromarray(values.astype(np.uint16)).save(path)


def found(root: Path, labels: dict[str, Array]) -> LabelSet:
    """The converted set has these labels, up to the order of the classes; its label set."""
    label_set = LabelSet.load(root / "labels.yaml")
    seen: dict[int, int] = {}
    pairs = [f for s in ("train", "val") for f in find_files(root, s)]
    assert {f.name for f in pairs} == set(labels)
    for files in pairs:
        label = read_pair(files, label_set).label
        for old, new in zip(labels[files.name].ravel().tolist(), label.ravel().tolist()):
            assert seen.setdefault(old, new) == new
    assert len(set(seen.values())) == len(seen)
    return label_set


def ids_with_alpha(path: Path, label: Array) -> None:
    Image.fromarray(label).convert("LA").save(path)


@pytest.mark.parametrize("mask", [ids, palette, ids_with_alpha])
def test_numbers(tmp_path: Path, mask: Callable[[Path, Array], None]) -> None:
    labels = draw(tmp_path / "in", mask)
    hidden = tmp_path / "in" / "images" / ".thumbs"
    hidden.mkdir()
    (hidden / "a_00.png").write_bytes(b"x")
    convert(tmp_path / "in", tmp_path / "out", Options(ids={2: "barn"}))
    assert found(tmp_path / "out", labels).names == ("class_0", "class_1", "barn")


def test_colours_of_a_label_set(tmp_path: Path) -> None:
    labels = draw(tmp_path / "in", colours, "JPEGImages/{}.jpg SegmentationClass/{}.png")
    made = convert(tmp_path / "in", tmp_path / "out", Options(labels=FARM))
    label_set = found(tmp_path / "out", labels)
    assert label_set.names == FARM.names and label_set.colors == FARM.colors
    assert made.split_by == "drive" and made.images == {"train": 15, "val": 5}
    drives = [{f.name[0] for f in find_files(tmp_path / "out", s)} for s in ("train", "val")]
    assert not drives[0] & drives[1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("label_colors.txt", "70 130 180\tsky\n107 142 35\tfield\n200 30 30\tbarn\n0 0 0\tVoid\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nsky:70,130,180::\nfield:107,142,35::\n"
                         "barn:200,30,30::\nbackground:0,0,0::\n"),
        ("class_dict.csv", "name,r,g,b\nsky,70,130,180\nfield,107,142,35\nbarn,200,30,30\n"),
    ],
)  # fmt: skip
def test_colours_that_the_source_explains(tmp_path: Path, name: str, text: str) -> None:
    labels = draw(tmp_path / "in", colours, "{}.png {}_L.png")
    (tmp_path / "in" / name).write_text(text)
    convert(tmp_path / "in", tmp_path / "out", Options())
    assert found(tmp_path / "out", labels).names[:3] == ("sky", "field", "barn")


def test_colours_that_nobody_explains(tmp_path: Path) -> None:
    labels = draw(tmp_path / "in", colours, "{}.jpg {}_mask.png")
    convert(tmp_path / "in", tmp_path / "out", Options())
    assert set(found(tmp_path / "out", labels).colors) == set(FARM.colors)


def test_0_and_255(tmp_path: Path) -> None:
    labels = draw(tmp_path / "in", lambda p, x: ids(p, (x == 2).astype(np.uint8) * 255))
    labels = {name: (label == 2).astype(np.uint8) for name, label in labels.items()}
    convert(tmp_path / "in", tmp_path / "a", Options())
    assert found(tmp_path / "a", labels).names == ("background", "foreground")
    convert(tmp_path / "in", tmp_path / "b", Options(ids={255: "road"}))
    assert found(tmp_path / "b", labels).names == ("background", "road")
    two = LabelSet("two", ("off", "on"), ((0, 0, 0), (1, 1, 1)))
    convert(tmp_path / "in", tmp_path / "c", Options(labels=two))
    assert found(tmp_path / "c", labels).names == ("off", "on")


def test_instance_ids(tmp_path: Path) -> None:
    labels = draw(tmp_path / "in", instances)
    with pytest.raises(UserError, match="ids up to 26003, .* --instances 1000"):
        convert(tmp_path / "in", tmp_path / "out", Options())
    convert(tmp_path / "in", tmp_path / "out", Options(instances=1000, ids={7: "road"}))
    assert found(tmp_path / "out", labels).names == ("class_0", "road", "class_26")


def test_classes_that_are_void(tmp_path: Path) -> None:
    draw(tmp_path / "in", colours)
    convert(tmp_path / "in", tmp_path / "out", Options(labels=FARM, void=("sky",)))
    label_set = LabelSet.load(tmp_path / "out" / "labels.yaml")
    assert label_set.names == ("field", "barn")
    files = find_files(tmp_path / "out", "train")[0]
    assert set(np.unique(read_label(files.label, label_set))) == {0, 1, 255}


class TestSplits:
    def test_one_drive_is_split_by_time(self, tmp_path: Path) -> None:
        labels = draw(tmp_path / "in", ids, names=tuple(f"frame_{i:02}" for i in range(20)))
        made = convert(tmp_path / "in", tmp_path / "out", Options(val=0.25))
        found(tmp_path / "out", labels)
        assert made.split_by == "time"
        names = [f.name for f in find_files(tmp_path / "out", "val")]
        assert names == [f"frame_{i:02}" for i in range(15, 20)]

    def test_folders_are_drives(self, tmp_path: Path) -> None:
        layout = "{}/images/x.png {}/labels/x.png"
        names = tuple(f"drive{i}" for i in range(4))
        draw(tmp_path / "in", ids, layout, names)
        made = convert(tmp_path / "in", tmp_path / "out", Options())
        assert made.split_by == "drive" and sum(made.images.values()) == 4
        assert find_files(tmp_path / "out", "train")[0].name.endswith("_x")

    def test_the_sources_own_splits(self, tmp_path: Path) -> None:
        for split, count in (("training", 3), ("validation", 2)):
            names = tuple(f"{split[0]}{i}" for i in range(count))
            draw(tmp_path / "in", ids, f"images/{split}/{{}}.jpg masks/{split}/{{}}.png", names)
        made = convert(tmp_path / "in", tmp_path / "out", Options())
        assert (made.images, made.split_by) == ({"train": 3, "val": 2}, "source")

    def test_vocs_lists(self, tmp_path: Path) -> None:
        draw(tmp_path / "in", palette, "JPEGImages/{}.jpg SegmentationClass/{}.png")
        lists = tmp_path / "in" / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        (lists / "train.txt").write_text("a_00\nb_01\n")
        (lists / "val.txt").write_text("a_03\n")
        made = convert(tmp_path / "in", tmp_path / "out", Options())
        assert (made.images, made.split_by) == ({"train": 2, "val": 1}, "source")


def test_an_image_as_a_viewer_turns_it(tmp_path: Path) -> None:
    """A telephone's picture: stored across, labelled upright."""
    rgb, label = scene(np.random.default_rng(0))
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees to the right
    for name in ("a", "b"):
        (tmp_path / "in").mkdir(exist_ok=True)
        stored = Image.fromarray(np.rot90(rgb).copy())
        stored.save(tmp_path / "in" / f"{name}.jpg", exif=exif, quality=95)
        ids(tmp_path / "in" / f"{name}_mask.png", label)
    convert(tmp_path / "in", tmp_path / "out", Options())
    pair = read_pair(find_files(tmp_path / "out", "val")[0], FARM)
    assert np.abs(pair.rgb.astype(int) - rgb).mean() < 12  # 60 the wrong way round
    np.testing.assert_array_equal(pair.label, label)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda r: (r / "images" / "a_00.jpg").write_bytes(b"x"), "have the same name; rename one"),
        (lambda r: (r / "masks" / "a_00.png").write_bytes(b"x"), "a_00.png: cannot be read"),
        (lambda r: (r / "images" / "a_00.png").write_bytes(b"x"), "a_00.png: cannot be read"),
        (lambda r: ids(r / "masks" / "a_00.png", np.zeros((5, 5), np.uint8)), "but its image is"),
        (lambda r: colours(r / "masks" / "a_00.png", np.ones((64, 96), np.uint8)), "is not in"),
        (
            lambda r: [p.unlink() for p in (r / "masks").iterdir()],
            "no mask has the name of an image",
        ),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path: Path, spoil: Callable, says: str) -> None:
    draw(tmp_path / "in", ids)
    spoil(tmp_path / "in")
    with pytest.raises(UserError, match=says):
        convert(tmp_path / "in", tmp_path / "out", Options(labels=LabelSet(
            "abc", ("a", "b", "c"), ((9, 9, 8), (9, 9, 7), (9, 9, 6)))))  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        ("images/{}.png masks/{}.jpg", "a_00.jpg: masks in a JPEG are refused"),
        ("images/{}/x.png masks/x.png", "one mask of two images"),
        ("images/train/{}.png masks/train/{}.png", "one name in the new data set for two images"),
    ],
)
def test_masks_that_would_give_wrong_labels(tmp_path: Path, layout: str, says: str) -> None:
    draw(tmp_path / "in", ids, layout)
    if "one name" in says:
        draw(tmp_path / "in", ids, layout.replace("train", "training"))
    with pytest.raises(UserError, match=says):
        convert(tmp_path / "in", tmp_path / "out", Options())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"shapes": [], "imagePath": "a.jpg"}, "labelme2voc.py"),
        ({"images": [], "annotations": [{"segmentation": []}]}, "annToMask of pycocotools"),
    ],
)
def test_polygons_name_the_tool(tmp_path: Path, data: dict, says: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=says):
        convert(tmp_path, tmp_path / "out", Options())


def test_an_output_that_is_there(tmp_path: Path) -> None:
    draw(tmp_path / "in", ids)
    with pytest.raises(UserError, match="exists already"):
        convert(tmp_path / "in", tmp_path / "in", Options())
