# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The layouts of data sets: which file holds an image, and which file holds its label."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lrn_ros.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

# Codings of a label image; a third kind is the name of a label set whose colours the image shows.
IDS = "ids"  # the ids of the label set
POSITIONS = "positions"  # the position of the class in the label set, as Cityscapes' trainIds


@dataclass(frozen=True)
class Files:
    """Where one image and its label are.

    Attributes:
        name: file stem of the image, without Cityscapes' `_leftImg8bit`.
        image: image file.
        label: label PNG.
        coding: what the pixels of the label say: IDS, POSITIONS, or the name of a label set whose
            colours the label shows.
    """

    name: str
    image: Path
    label: Path
    coding: str = IDS


@dataclass(frozen=True)
class Split:
    """The images and labels of one split.

    Attributes:
        images: folder of the images.
        labels: folder of the labels.
        find: the files of the split, in any order.
    """

    images: Path
    labels: Path
    find: Callable[[], Iterable[Files]]


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name.

    Raises:
        UserError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    files = [p for p in _entries(folder) if p.suffix.lower() in IMAGE_SUFFIXES and not p.is_dir()]
    if not files:
        raise UserError(f"{folder}: no images ({', '.join(IMAGE_SUFFIXES)})")
    return files


def find_files(root: Path, split: str) -> list[Files]:
    """The images of a split with their labels, sorted by name.

    The layout is recognised by the folders under `root`:

    - SegNet's CamVid: SPLIT/NAME.png with SPLITannot/NAME.png.
    - CamVid as its authors give it: 701_StillsRaw_full/NAME.png with
      LabeledApproved_full/NAME_L.png, whose colours are those of 32 classes. The splits train, val
      and test are SegNet's.
    - Cityscapes: leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png with
      gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png, or ..._labelTrainIds.png where that file is
      missing. The images may be in another format, and without folders of cities. A split that
      gtFine does not have, such as train_extra, is looked for in gtCoarse.
    - BDD100K: images/10k/SPLIT/NAME.jpg with labels/sem_seg/masks/SPLIT/NAME.png, or, as in older
      downloads, seg/images/SPLIT/NAME.jpg with seg/labels/SPLIT/NAME_train_id.png.
    - any pair of folders: images/SPLIT/NAME.* with labels/SPLIT/NAME.png.

    Upper and lower case are the same in the name of a label.

    Raises:
        UserError: a folder is missing, there is no such split, it has no image, or an image has no
            label; the message names the file or the splits that exist.
    """
    splits = _splits(root, split)
    if split not in splits:
        raise UserError(f"{root}: no split {split!r}; there are {', '.join(splits) or 'none'}")
    place = splits[split]
    if not place.labels.is_dir():
        raise UserError(
            f"{place.labels}: no such folder; it must hold the labels of {place.images}"
        )
    found = sorted(place.find(), key=lambda files: files.name)
    if not found:
        raise UserError(f"{place.images}: no image is of the split {split!r}")
    files_of: dict[Path, dict[str, Path]] = {}  # the files of a folder by name in lower case
    for number, files in enumerate(found):
        if files.label.is_file():
            continue
        folder = files.label.parent
        if folder not in files_of:
            files_of[folder] = {p.name.lower(): p for p in _entries(folder) if p.is_file()}
        label = files_of[folder].get(files.label.name.lower())
        if label is None:
            other = next((p for p in _entries(folder) if p.stem == files.label.stem), None)
            hint = f"; {other.name} is there, and lrn data convert makes PNGs" if other else ""
            raise UserError(f"{files.image}: its label {files.label} is missing{hint}")
        found[number] = replace(files, label=label)
    images: dict[Path, Path] = {}
    for files in found:
        if (other := images.setdefault(files.label, files.image)) != files.image:
            raise UserError(
                f"{files.image} and {other}: two images with one label, {files.label.name}; remove"
                " one of the two"
            )
    return found


def split_names(root: Path) -> list[str]:
    """The splits of a data set that have labels, in alphabetical order; all where none has.

    Raises:
        UserError: no such folder, or none of the layouts of find_files.
    """
    return sorted(set(_splits(root, "train")) - set(unlabelled_splits(root)))


def unlabelled_splits(root: Path) -> list[str]:
    """The splits without labels in a data set that has labels of others, as BDD100K's test is.

    Raises:
        UserError: see split_names.
    """
    splits = _splits(root, "train")
    without = sorted(name for name, split in splits.items() if not split.labels.is_dir())
    return without if len(without) < len(splits) else []


def sequence(name: str) -> str:
    """The recording a file belongs to: its name up to the first underscore.

    CamVid's drives and Cityscapes' cities are named so.

    >>> sequence("0016E5_07959"), sequence("aachen_000000_000019")
    ('0016E5', 'aachen')
    """
    return name.partition("_")[0]


def _splits(root: Path, wanted: str) -> dict[str, Split]:
    """The splits of the layout that `root` has."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    if splits := _recognised(root, wanted):
        return splits
    near = (*root.resolve().parents[:2], *_folders(root))
    meant = None
    with suppress(OSError):  # a folder beside it may not be readable
        meant = next((folder for folder in near if _recognised(folder, wanted)), None)
    if meant is not None:
        raise UserError(f"{root}: not a data set, but {meant} is one")
    raise UserError(
        f"{root}: not a data set; looked for {wanted}/ beside {wanted}annot/ (CamVid),"
        f" leftImg8bit/{wanted}/ with gtFine/{wanted}/ (Cityscapes), images/{wanted}/ with"
        f" labels/{wanted}/, images/10k/{wanted}/ with labels/sem_seg/masks/{wanted}/ (BDD100K),"
        " and 701_StillsRaw_full/ with LabeledApproved_full/ (CamVid with 32 classes)"
    )


def _recognised(root: Path, wanted: str) -> dict[str, Split]:
    for layout in (_cityscapes, _bdd100k, _camvid_original, _folder_pair):
        if splits := layout(root):
            return splits
    return _camvid(root, wanted)


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without hidden files and folders, as macOS leaves behind."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _folders(root: Path) -> list[Path]:
    return [p for p in _entries(root) if p.is_dir()]


def _named(images: Path, labels: Path, ending: str = ".png", coding: str = IDS) -> Split:
    """A split whose labels are called like its images, with another ending."""

    def find() -> Iterable[Files]:
        for p in image_files(images):
            yield Files(p.stem, p, labels / f"{p.stem}{ending}", coding)

    return Split(images, labels, find)


def _camvid(root: Path, wanted: str) -> dict[str, Split]:
    folders = _folders(root)
    if not any(p.name.endswith("annot") for p in folders):
        return {}
    pairs = ((p, p.with_name(f"{p.name}annot")) for p in folders)
    return {p.name: _named(p, annot) for p, annot in pairs if p.name == wanted or annot.is_dir()}


def _folder_pair(root: Path) -> dict[str, Split]:
    return {p.name: _named(p, root / "labels" / p.name) for p in _folders(root / "images")}


def _bdd100k(root: Path) -> dict[str, Split]:
    new = (root / "images" / "10k", root / "labels" / "sem_seg" / "masks", ".png")
    old = (root / "seg" / "images", root / "seg" / "labels", "_train_id.png")
    for images, labels, ending in (new, old):
        if folders := _folders(images):
            return {p.name: _named(p, labels / p.name, ending, POSITIONS) for p in folders}
    return {}


def _cityscapes(root: Path) -> dict[str, Split]:
    return {p.name: _cityscapes_split(root, p) for p in _folders(root / "leftImg8bit")}


def _cityscapes_split(root: Path, images: Path) -> Split:
    fine, coarse = (root / folder / images.name for folder in ("gtFine", "gtCoarse"))
    has_fine = next(fine.glob("**/*_gtFine_label*.[pP][nN][gG]"), None) is not None
    labels = fine if has_fine or not coarse.is_dir() else coarse

    def find() -> Iterable[Files]:
        every = (*_entries(images), *(p for city in _folders(images) for p in _entries(city)))
        pictures = (p for p in every if p.suffix.lower() in IMAGE_SUFFIXES)
        found = [p for p in pictures if p.stem.endswith("_leftImg8bit")]
        if not found:
            raise UserError(f"{images}: no images CITY/NAME_leftImg8bit.png")
        has_ids, has_train_ids = (
            next(labels.glob(f"**/*_{kind}.[pP][nN][gG]"), None)
            for kind in ("labelIds", "labelTrainIds")
        )
        for image in found:
            name = image.stem.removesuffix("_leftImg8bit")
            folder = labels / image.parent.relative_to(images)
            stem = folder / f"{name}_{labels.parent.name}"
            ids, train_ids = (Path(f"{stem}_{kind}.png") for kind in ("labelIds", "labelTrainIds"))
            if not ids.is_file() and (train_ids.is_file() or (has_train_ids and not has_ids)):
                yield Files(name, image, train_ids, POSITIONS)
            else:
                yield Files(name, image, ids)

    return Split(images, labels, find)


def _camvid_original(root: Path) -> dict[str, Split]:
    images, labels = root / "701_StillsRaw_full", root / "LabeledApproved_full"
    if not images.is_dir():
        return {}

    def find(split: str) -> Iterable[Files]:
        for p in image_files(images):
            if segnet_split(p.stem) == split:
                yield Files(p.stem, p, labels / f"{p.stem}_L.png", "camvid32")

    splits: tuple[str, ...] = ("train", "val", "test")
    with suppress(UserError):  # which find gives
        present = {segnet_split(p.stem) for p in image_files(images)}
        splits = tuple(name for name in splits if name in present)
    return {
        name: Split(images, labels, lambda name=name: find(name))  # type: ignore[misc]
        for name in splits
    }


def segnet_split(name: str) -> str:
    """The split that SegNet put a frame of CamVid into: 367 train, 101 val and 233 test.

    The validation split is a part of the drive 0016E5, the test split is the drive Seq05VD and the
    second half of 0001TP.

    >>> segnet_split("0016E5_07959"), segnet_split("0001TP_008550"), segnet_split("0006R0_f00930")
    ('val', 'test', 'train')

    Raises:
        UserError: the name is not one of CamVid's.
    """
    drive, _, frame = name.partition("_")
    digits = frame.lstrip("f")
    if not digits.isdigit() or drive not in ("0001TP", "0006R0", "0016E5", "Seq05VD"):
        raise UserError(f"{name}: not the name of a frame of CamVid, such as 0016E5_07959")
    number = int(digits)
    if drive == "Seq05VD" or (drive == "0001TP" and number >= 8550):
        return "test"
    return "val" if drive == "0016E5" and 7959 <= number <= 8159 else "train"
