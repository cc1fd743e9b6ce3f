# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The layouts of data sets, ids of label files, sizes, and what is refused."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lrn_ros.data.datasets import read_label, read_pair, read_pairs
from lrn_ros.data.layouts import Files, find_files, segnet_split, split_names
from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelMapping, LabelSet

SEGNET = Path(os.environ.get("LRN_CAMVID", "data/camvid"))
RNG = np.random.default_rng(0)
CAMVID = LabelSet.load("camvid11")
CITYSCAPES = LabelSet.load("cityscapes19")

# Image and label file of NAME in SPLIT; the first part of a Cityscapes name is its city.
LAYOUTS: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "camvid": lambda split, name: (f"{split}/{name}.png", f"{split}annot/{name}.png"),
    "cityscapes": lambda split, name: (
        f"leftImg8bit/{split}/{name.partition('_')[0]}/{name}_leftImg8bit.png",
        f"gtFine/{split}/{name.partition('_')[0]}/{name}_gtFine_labelIds.png",
    ),
    "folder pair": lambda split, name: (f"images/{split}/{name}.jpg", f"labels/{split}/{name}.png"),
    "cityscapes trainIds": lambda split, name: (
        f"leftImg8bit/{split}/{name.partition('_')[0]}/{name}_leftImg8bit.png",
        f"gtFine/{split}/{name.partition('_')[0]}/{name}_gtFine_labelTrainIds.png",
    ),
    "cityscapes coarse": lambda split, name: (
        f"leftImg8bit/{split}/{name.partition('_')[0]}/{name}_leftImg8bit.png",
        f"gtCoarse/{split}/{name.partition('_')[0]}/{name}_gtCoarse_labelIds.png",
    ),
    "bdd100k": lambda split, name: (
        f"images/10k/{split}/{name}.jpg",
        f"labels/sem_seg/masks/{split}/{name}.png",
    ),
    "bdd100k, older": lambda split, name: (
        f"seg/images/{split}/{name}.jpg",
        f"seg/labels/{split}/{name}_train_id.png",
    ),
}
# The id of class 1 in the label images, where it is not 1.
CLASS_1 = {"cityscapes": 8, "cityscapes coarse": 8}
NAMES = ["bonn_000001_000019", "aachen_000002_000019", "aachen_000001_000019"]


def write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def build(root: Path, layout: str) -> Path:
    """Three images of their own colour in train and one in val; all their pixels are class 1."""
    class_id = CLASS_1.get(layout, 1)
    for split, names in (("train", NAMES), ("val", ["ulm_1"])):
        for i, name in enumerate(names):
            image, label = (root / p for p in LAYOUTS[layout](split, name))
            write(image, np.full((16, 24, 3), (40 * i, 100, 200), np.uint8))
            write(label, np.full((16, 24), class_id, np.uint8))
    return root


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path: Path, layout: str) -> None:
    root = build(tmp_path, layout)
    (root / "README.txt").touch()
    found = find_files(root, "train")
    assert [f.name for f in found] == sorted(NAMES)
    for files in found:
        assert (files.image, files.label) == tuple(
            root / p for p in LAYOUTS[layout]("train", files.name)
        )
    label_set = CITYSCAPES if layout.startswith(("cityscapes", "bdd100k")) else CAMVID
    pairs = list(read_pairs(root, "train", label_set))
    assert [p.name for p in pairs] == sorted(NAMES)
    for pair in pairs:
        red = 40 * NAMES.index(pair.name)
        np.testing.assert_allclose(pair.rgb.mean((0, 1)), [red, 100, 200], atol=2)  # JPEG
        assert pair.label.shape == (16, 24) and (pair.label == 1).all()
    assert [f.name for f in find_files(root, "val")] == ["ulm_1"]


def test_coarse_labels_serve_the_splits_that_have_no_fine_ones(tmp_path: Path) -> None:
    root = build(tmp_path, "cityscapes")
    for split in ("train", "train_extra"):
        image, label = (root / p for p in LAYOUTS["cityscapes coarse"](split, "jena_1"))
        write(image, np.zeros((16, 24, 3), np.uint8))
        write(label, np.full((16, 24), 8, np.uint8))
    (extra,) = find_files(root, "train_extra")
    assert extra.label.name == "jena_1_gtCoarse_labelIds.png"
    assert (read_pair(extra, CITYSCAPES).label == 1).all()
    with pytest.raises(UserError, match="jena_1_gtFine_labelIds.png is missing"):
        find_files(root, "train")  # train has fine labels, and this image has none


def test_cityscapes_in_other_formats_and_without_cities(tmp_path: Path) -> None:
    root = build(tmp_path, "cityscapes")
    (root / "gtFine" / "train_extra").mkdir()  # an empty folder is no labels
    image, label = (root / p for p in LAYOUTS["cityscapes coarse"]("train_extra", "jena_1"))
    write(image.parents[1] / "jena_1_leftImg8bit.jpg", np.zeros((16, 24, 3), np.uint8))
    write(label.parents[1] / label.name, np.full((16, 24), 8, np.uint8))
    (extra,) = read_pairs(root, "train_extra", CITYSCAPES)
    assert extra.name == "jena_1" and (extra.label == 1).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_capitals_in_the_names_of_files(tmp_path: Path, layout: str) -> None:
    root = build(tmp_path, layout)
    for files in find_files(root, "train"):
        files.label.rename(files.label.with_suffix(".PNG"))
        files.image.rename(files.image.with_suffix(files.image.suffix.upper()))
    pairs = list(read_pairs(root, "train", CITYSCAPES if layout in CLASS_1 else CAMVID))
    assert len(pairs) == 3 and all((p.label == 1).all() for p in pairs)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"bdd100k, older"}))  # its seg/ is a pair
def test_a_folder_above_or_inside_a_data_set(tmp_path: Path, layout: str) -> None:
    root = build(tmp_path / "data", layout)
    first = LAYOUTS[layout]("train", "x_1")[0].partition("/")[0]
    for wrong in (tmp_path, root / first):
        with pytest.raises(UserError, match=f"{wrong}: not a data set, but {root} is one"):
            find_files(wrong, "train")


def test_label_ids_come_before_train_ids(tmp_path: Path) -> None:
    root = build(tmp_path, "cityscapes")
    for files in find_files(root, "train"):
        train_ids = files.label.with_name(files.label.name.replace("labelIds", "labelTrainIds"))
        write(train_ids, np.full((16, 24), 3, np.uint8))
    assert {int(p.label.max()) for p in read_pairs(root, "train", CITYSCAPES)} == {1}
    for files in find_files(root, "train"):
        files.label.unlink()
    assert {int(p.label.max()) for p in read_pairs(root, "train", CITYSCAPES)} == {3}
    write(find_files(root, "train")[0].label, np.full((16, 24), 19, np.uint8))
    with pytest.raises(UserError, match=r"labelTrainIds.png: id 19 is not in .*classes 0-18"):
        list(read_pairs(root, "train", CITYSCAPES))


class TestOriginalCamVid:
    """Frames of 960x720 whose labels show the colours of 32 classes."""

    # label_colors.txt, and the class of SegNet's eleven that each colour is: the table that
    # MathWorks' example of SegNet on CamVid gives (camvidPixelLabelIDs).
    ELEVEN: dict[str, list[tuple[int, int, int]]] = {
        "sky": [(128, 128, 128)],
        "building": [(0, 128, 64), (128, 0, 0), (64, 192, 0), (64, 0, 64), (192, 0, 128)],
        "pole": [(192, 192, 128), (0, 0, 64)],
        "road": [(128, 64, 128), (128, 0, 192), (192, 0, 64)],
        "pavement": [(0, 0, 192), (64, 192, 128), (128, 128, 192)],
        "tree": [(128, 128, 0), (192, 192, 0)],
        "sign-symbol": [(192, 128, 128), (128, 128, 64), (0, 64, 64)],
        "fence": [(64, 64, 128)],
        "car": [(64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)],
        "pedestrian": [(64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)],
        "bicyclist": [(0, 128, 192), (192, 0, 192)],
    }
    COLOURS = {colour: name for name, colours in ELEVEN.items() for colour in colours}
    NAMES = {"0001TP_006690": "train", "0016E5_07959": "val", "Seq05VD_f00000": "test"}

    def build(self, root: Path, colour: tuple[int, int, int] = (0, 0, 0)) -> Path:
        label = np.array([[*self.COLOURS, colour]], np.uint8)
        for name in self.NAMES:
            write(root / "701_StillsRaw_full" / f"{name}.png", np.zeros((1, 32, 3), np.uint8))
            write(root / "LabeledApproved_full" / f"{name}_L.png", label)
        return root

    def test_colours_become_the_classes_of_the_papers(self, tmp_path: Path) -> None:
        root = self.build(tmp_path)
        for name, split in self.NAMES.items():
            (pair,) = read_pairs(root, split, CAMVID)
            assert pair.name == name
            expected = [CAMVID.names.index(n) for n in self.COLOURS.values()]
            assert pair.label[0].tolist() == [*expected, 255]

    def test_every_class_has_its_own_colour_and_a_class_of_the_eleven(self) -> None:
        all_classes = LabelSet.load("camvid32")
        assert len(set(all_classes.colors)) == 31  # and Void, which is black
        classes = LabelMapping.load("camvid32_to_camvid11").classes
        assert set(classes) == set(range(11))

    def test_in_its_own_classes(self, tmp_path: Path) -> None:
        (pair,) = read_pairs(self.build(tmp_path), "train", LabelSet.load("camvid32"))
        names = [LabelSet.load("camvid32").names[i] for i in pair.label[0, :3]]
        assert names == ["Sky", "Bridge", "Building"] and pair.label[0, -1] == 255

    def test_bad_files_are_named(self, tmp_path: Path) -> None:
        root = self.build(tmp_path, (1, 2, 3))
        with pytest.raises(
            UserError, match=r"_L.png: no class of camvid32 has the colour \(1, 2, 3\)"
        ):
            list(read_pairs(root, "val", CAMVID))
        with pytest.raises(UserError, match="unknown label mapping 'camvid32_to_cityscapes19'"):
            list(read_pairs(root, "val", CITYSCAPES))
        write(root / "LabeledApproved_full" / "0016E5_07959_L.png", np.zeros((1, 32), np.uint8))
        with pytest.raises(UserError, match="image of its colours"):
            list(read_pairs(root, "val", CAMVID))
        (root / "LabeledApproved_full" / "0016E5_07959_L.png").unlink()
        with pytest.raises(UserError, match="0016E5_07959_L.png is missing"):
            find_files(root, "val")
        (root / "701_StillsRaw_full" / "0016E5_07959.png").unlink()
        assert split_names(root) == ["test", "train"]
        with pytest.raises(UserError, match="no split 'val'; there are train, test"):
            find_files(root, "val")
        write(root / "701_StillsRaw_full" / "holiday.png", np.zeros((1, 32, 3), np.uint8))
        with pytest.raises(UserError, match="holiday: not the name of a frame of CamVid"):
            find_files(root, "train")

    @pytest.mark.skipif(not SEGNET.is_dir(), reason="needs CamVid")
    @pytest.mark.parametrize("split", ["train", "val"])
    def test_splits_are_those_of_segnet(self, split: str) -> None:
        names = [f.name for f in find_files(SEGNET, split)]
        assert len(names) == {"train": 367, "val": 101}[split]
        assert {segnet_split(name) for name in names} == {split}


def test_cityscapes_ids(tmp_path: Path) -> None:
    """All ids of cityscapesScripts, helpers/labels.py, with the trainIds of its table."""
    void = 255
    train_ids = [
        void, void, void, void, void, void, void, 0, 1, void, void, 2, 3, 4, void, void, void, 5,
        void, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, void, void, 16, 17, 18,
    ]  # fmt: skip
    write(tmp_path / "a.png", np.array([[*range(34), 255]], np.uint8))
    label = read_label(tmp_path / "a.png", CITYSCAPES)
    assert label.dtype == np.uint8 and label[0].tolist() == [*train_ids, 255]


def test_ids_by_position(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.array([[0, 10, 11, 255]], np.uint8))
    assert read_label(tmp_path / "a.png", CAMVID)[0].tolist() == [0, 10, 255, 255]


@pytest.mark.parametrize(
    ("label_set", "bad", "says"),
    [
        (CAMVID, 12, r"id 12 is not in camvid11 \(classes 0-10; unlabelled 11, 255\)"),
        (CITYSCAPES, 34, r"id 34 is not in cityscapes19 \(classes 7, 8, 11, .*33; unlabelled 0, 1"),
    ],
)
def test_other_ids_are_refused(tmp_path: Path, label_set: LabelSet, bad: int, says: str) -> None:
    write(tmp_path / "a.png", np.array([[7, 8, bad, 255]], np.uint8))
    with pytest.raises(UserError, match=f"a.png: {says}"):
        read_label(tmp_path / "a.png", label_set)


class TestKindsOfLabelFiles:
    """A label's numbers as they are stored, whatever the kind of file."""

    IDS = RNG.integers(0, 4, (8, 12), np.uint8)

    @pytest.mark.parametrize("bits", [2, 4, 8])
    def test_palette(self, tmp_path: Path, bits: int) -> None:
        image = Image.fromarray(self.IDS, "P")
        image.putpalette(bytes(range(100, 112)))
        image.save(tmp_path / "a.png", bits=bits)
        np.testing.assert_array_equal(read_label(tmp_path / "a.png", CAMVID), self.IDS)

    def test_one_bit(self, tmp_path: Path) -> None:
        Image.fromarray(self.IDS > 1).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_label(tmp_path / "a.png", CAMVID), self.IDS > 1)

    @pytest.mark.parametrize("bits", [2, 4])
    def test_grey_of_few_bits(self, tmp_path: Path, bits: int) -> None:
        """Written by hand: readers spread such values over 0-255."""
        packed = np.packbits(
            np.unpackbits(self.IDS[..., None], axis=2)[..., 8 - bits :].reshape(8, -1), axis=1
        )

        def chunk(kind: bytes, data: bytes) -> bytes:
            crc = zlib.crc32(kind + data)
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

        rows = b"".join(b"\0" + row.tobytes() for row in packed)
        header = struct.pack(">IIBBBBB", 12, 8, bits, 0, 0, 0, 0)
        png = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
        np.testing.assert_array_equal(read_label(tmp_path / "a.png", CAMVID), self.IDS)

    def test_sixteen_bits(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "a.png"), self.IDS.astype(np.uint16))
        np.testing.assert_array_equal(read_label(tmp_path / "a.png", CAMVID), self.IDS)
        cv2.imwrite(str(tmp_path / "a.png"), self.IDS.astype(np.uint16) * 1000)
        with pytest.raises(UserError, match="a.png: the ids of a label must be whole numbers"):
            read_label(tmp_path / "a.png", CAMVID)

    @pytest.mark.parametrize("keep", [0, 20, 60, -20])
    def test_cut_short(self, tmp_path: Path, keep: int) -> None:
        noise = RNG.integers(0, 4, (64, 64), np.uint8)
        data = cv2.imencode(".png", noise)[1].tobytes()
        (tmp_path / "a.png").write_bytes(data[:keep])
        with pytest.raises(UserError, match="a.png: cannot be read"):
            read_label(tmp_path / "a.png", CAMVID)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".tiff", ".webp", ".bmp"])
def test_kinds_of_images(tmp_path: Path, suffix: str) -> None:
    root = build(tmp_path, "folder pair")
    for image in (root / "images" / "train").iterdir():
        Image.open(image).save(image.with_suffix(suffix))
        if suffix != ".jpg":
            image.unlink()
    pairs = list(read_pairs(root, "train", CAMVID))
    assert [p.name for p in pairs] == sorted(NAMES)


class TestSize:
    def pair(self, folder: Path, rgb: NDArray[np.uint8], label: NDArray[np.uint8]) -> Files:
        write(folder / "image.png", rgb)
        write(folder / "label.png", label)
        return Files("x", folder / "image.png", folder / "label.png")

    def test_smaller(self, tmp_path: Path) -> None:
        """By three: an image pixel is the mean of nine, a label pixel the centre of the nine."""
        rgb = RNG.integers(0, 256, (12, 18, 3), np.uint8)
        label = RNG.integers(0, 11, (12, 18), np.uint8)
        small = read_pair(self.pair(tmp_path, rgb, label), CAMVID, (4, 6))
        means = rgb.reshape(4, 3, 6, 3, 3).mean((1, 3))
        np.testing.assert_allclose(small.rgb, means, atol=0.51)
        np.testing.assert_array_equal(small.label, label[1::3, 1::3])

    def test_larger(self, tmp_path: Path) -> None:
        """By two and linearly: a ramp stays the ramp through the new pixels' centres."""
        rgb = np.repeat(np.arange(8, dtype=np.uint8)[:, None] * 20, 3, 1)[None].repeat(4, 0)
        label = RNG.integers(0, 11, (4, 8), np.uint8)
        large = read_pair(self.pair(tmp_path, rgb, label), CAMVID, (8, 16))
        ramp = np.clip(((np.arange(16) + 0.5) / 2 - 0.5) * 20, 0, 140)
        np.testing.assert_allclose(large.rgb, np.broadcast_to(ramp[:, None], (8, 16, 3)), atol=0.51)
        np.testing.assert_array_equal(large.label, label.repeat(2, 0).repeat(2, 1))

    def test_another_shape_keeps_its_own(self, tmp_path: Path) -> None:
        """Fitted in at the top left; the rest is black and unlabelled."""
        rgb = np.full((20, 40, 3), 200, np.uint8)
        files = self.pair(tmp_path, rgb, np.full((20, 40), 3, np.uint8))
        pair = read_pair(files, CAMVID, (16, 16))
        assert pair.rgb.shape == (16, 16, 3) and (pair.rgb[:8] == 200).all()
        assert not pair.rgb[8:].any()
        assert (pair.label[:8] == 3).all() and (pair.label[8:] == 255).all()
        wide = read_pair(files, CAMVID, (10, 40))
        assert (wide.label[:, :20] == 3).all() and (wide.label[:, 20:] == 255).all()
        nearly = read_pair(files, CAMVID, (496, 1000))  # 0.8 % off: filled
        assert (nearly.label == 3).all()

    def test_of_a_split(self, tmp_path: Path) -> None:
        pairs = list(read_pairs(build(tmp_path, "camvid"), "train", CAMVID, (8, 10)))
        assert {p.rgb.shape for p in pairs} == {(8, 10, 3)}
        assert {p.label.shape for p in pairs} == {(8, 10)}


@pytest.mark.parametrize(
    ("layout", "spoil", "says"),
    [
        ("camvid", lambda d: shutil.rmtree(d), "data: no such folder"),
        ("camvid", lambda d: (d / "train").rename(d / "x"), "no split 'train'; there are val$"),
        ("camvid", lambda d: (d / "trainannot").rename(d / "x"), "trainannot: no such folder"),
        (
            "camvid",
            lambda d: [(d / f"{s}annot").rename(d / s[0]) for s in ("train", "val")],
            "train/ beside trainannot/.*leftImg8bit/train/ with gtFine/train/.*images/train/ with",
        ),
        ("cityscapes", lambda d: (d / "gtFine").rename(d / "x"), "gtFine/train: no such folder"),
        ("cityscapes", lambda d: shutil.rmtree(d / "leftImg8bit/train"), "there are val"),
        ("folder pair", lambda d: shutil.rmtree(d / "images/train"), "there are val"),
        ("folder pair", lambda d: shutil.rmtree(d / "labels"), "labels/train: no such folder"),
    ],
)
def test_missing_folders(tmp_path: Path, layout: str, spoil: object, says: str) -> None:
    root = build(tmp_path / "data", layout)
    spoil(root)  # type: ignore[operator]
    with pytest.raises(UserError, match=says):
        find_files(root, "train")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_files(tmp_path: Path, layout: str) -> None:
    root = build(tmp_path, layout)
    files = find_files(root, "train")
    files[1].label.unlink()
    with pytest.raises(UserError, match=f"its label {files[1].label} is missing"):
        find_files(root, "train")
    for f in files:
        f.image.unlink()
    with pytest.raises(UserError, match="train: no images"):
        find_files(root, "train")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: shutil.copy(f.image, f.image.with_suffix(".webp")), "two images with one label"),
        (lambda f: f.label.rename(f.label.with_suffix(".tif")), r"missing; \S+.tif is there"),
    ],
)
def test_labels_that_do_not_belong_to_one_image(
    tmp_path: Path, spoil: Callable[[Files], object], says: str
) -> None:
    root = build(tmp_path, "folder pair")
    spoil(find_files(root, "train")[0])
    with pytest.raises(UserError, match=says):
        find_files(root, "train")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hidden_files_and_folders_are_passed_over(tmp_path: Path, layout: str) -> None:
    root = build(tmp_path, layout)
    before, splits = find_files(root, "train"), split_names(root)
    for files in before:
        for path in (files.image, files.label):
            path.with_name(f"._{path.name}").write_bytes(b"of macOS")
        for folder in (*files.image.parents, *files.label.parents):
            if folder.is_relative_to(root):
                (folder / ".ipynb_checkpoints").mkdir(exist_ok=True)
    assert (find_files(root, "train"), split_names(root)) == (before, splits)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: f.image.write_bytes(b"nonsense"), "image.png: cannot be read"),
        (lambda f: f.label.write_bytes(b""), "label.png: cannot be read as an image: the file is"),
        (lambda f: write(f.image, np.zeros((8, 9, 3), np.uint8)), "but its image is"),
        (
            lambda f: (
                write(f.image, np.zeros((8, 9, 3), np.uint8)),
                write(f.label, np.zeros((9, 8), np.uint8)),
            ),
            "EXIF orientation",
        ),
        (lambda f: write(f.label, np.zeros((9, 8), np.uint8)), r"label.png: size \(9, 8\) but its"),
        (lambda f: write(f.label, np.zeros((8, 8, 3), np.uint8)), "label.png: .* one channel"),
    ],
)
def test_bad_files(tmp_path: Path, spoil: object, says: str) -> None:
    files = Files("x", tmp_path / "image.png", tmp_path / "label.png")
    write(files.image, np.zeros((8, 8, 3), np.uint8))
    write(files.label, np.zeros((8, 8), np.uint8))
    assert read_pair(files, CAMVID).rgb.shape == (8, 8, 3)
    spoil(files)  # type: ignore[operator]
    with pytest.raises(UserError, match=says):
        read_pair(files, CAMVID, (4, 4))
