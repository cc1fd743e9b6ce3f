# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Converts other layouts and label images to images/SPLIT and labels/SPLIT with a labels.yaml.

Masks may hold ids, palette indices, colours, 0 and 255, or instance ids. `find_pairs` describes
where masks may be, and `assign_splits` which images become the validation split.
"""

from __future__ import annotations

import colorsys
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lrn_ros.data.datasets import LABELS_FILE, read_ids, unreadable
from lrn_ros.data.layouts import IMAGE_SUFFIXES, sequence
from lrn_ros.errors import UserError
from lrn_ros.images.compressed import read_image, write_png
from lrn_ros.model.labels import UNLABELLED, LabelSet

# Folders of images and of masks as they are usually called.
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages", "701_StillsRaw_full", "rgb")
_MASK_FOLDERS = (
    *("labels", "label", "masks", "mask", "SegmentationClass", "LabeledApproved_full"),
    *("annotations", "annotation", "gt", "segmentation"),
)
_MASK_ENDING = re.compile(
    r"_(?:masks?|L|labels?|label_?ids|seg|gt|gtFine_labelIds|annotations?|colors?)$", re.I
)
_MORE_SUFFIXES = (".gif", ".ppm", ".pgm", ".tga", ".jp2")  # further formats that Pillow reads
_LOSSY = (".jpg", ".jpeg")
_VOID_NAMES = ("void", "unlabelled", "unlabeled", "ignore")
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val",
           "validation": "val", "test": "test"}  # fmt: skip
_COLOUR = 1 << 24  # is added to a packed colour, so that the sum is no id
_MAX_COLOURS = 64
# Lines of CamVid's label_colors.txt, CVAT's labelmap.txt and Kaggle's class_dict.csv.
_COLOUR_LINES = (
    re.compile(r"(?P<r>\d+)[ ,]+(?P<g>\d+)[ ,]+(?P<b>\d+)\s+(?P<name>\S.*)"),
    re.compile(r"(?P<name>[^#:]+):(?P<r>\d+),(?P<g>\d+),(?P<b>\d+):.*"),
    re.compile(r"(?P<name>[^,]+),\s*(?P<r>\d+),\s*(?P<g>\d+),\s*(?P<b>\d+)"),
)
_COLOUR_FILES = ("label_colors.txt", "labelmap.txt", "class_dict.csv")


@dataclass(frozen=True)
class Options:
    """How masks are read, and how images are split.

    Attributes:
        labels: the label set of colours or ids; None: it is in a file of SOURCE, or it is made from
            the masks.
        ids: names of the ids, if the label set is made from ids.
        void: names of classes that become unlabelled.
        instances: ids from `instances` up are CLASS * instances + NUMBER; 0: they are not.
        split: "auto", "drive" or "time", for sources without splits; see assign_splits.
        val: share of the images that become the validation split, 0-1.
    """

    labels: LabelSet | None = None
    ids: Mapping[int, str] = field(default_factory=dict)
    void: tuple[str, ...] = ()
    instances: int = 0
    split: str = "auto"
    val: float = 0.2


@dataclass(frozen=True)
class ImageAndMask:
    """One image and its mask: name in the new data set, drive, and split if the source has any."""

    name: str
    drive: str
    split: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Converted:
    """The new data set.

    Attributes:
        labels: the label set, which labels.yaml holds too.
        images: number of images by split.
        split_by: "source", "drive" or "time".
        alone: images without a mask, which were left out.
    """

    labels: LabelSet
    images: Mapping[str, int]
    split_by: str
    alone: tuple[Path, ...]


def convert(root: Path, output: Path, options: Options) -> Converted:
    """Write the data set of `root` to the new folder `output`, completely or not at all.

    Raises:
        UserError: `output` exists, there are no pairs, masks have unknown values, or files are
            damaged.
    """
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        raise UserError(f"--output {output} exists already; name a new or empty folder")
    found, alone = find_pairs(root)
    placed, split_by = assign_splits(root, found, options)
    table, labels = _table(root, found, options)
    part = output.with_name(f".{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        for one in placed:
            _write(one, part, table, options)
        text = yaml.safe_dump(labels.to_dict(), sort_keys=False, default_flow_style=None)
        (part / LABELS_FILE).write_text(text, encoding="utf-8")
        if output.is_dir():
            output.rmdir()
        part.rename(output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Converted(labels, Counter(s.split for s in placed), split_by, tuple(alone))


def find_pairs(root: Path) -> tuple[list[ImageAndMask], list[Path]]:
    """Find images with masks, and images without, in all folders below `root`.

    A mask has the name of its image, perhaps followed by _mask, _L, _label, _labelIds, _seg, _gt or
    _color. It is in a folder of masks (labels, masks, SegmentationClass …) or beside the image.

    Raises:
        UserError: there is no such folder or no pair, two images have one name, or there are
            polygons instead of masks.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    suffixes = (*IMAGE_SUFFIXES, *_MORE_SUFFIXES)
    files = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    masks: dict[str, Path] = {}
    images: dict[str, Path] = {}
    stems = Counter((p.parent, p.stem) for p in files)
    for path in files:
        twin = stems[path.parent, path.stem] > 1 and path.suffix.lower() == ".png"
        is_mask = _is_mask(path.relative_to(root)) or twin
        key = _key(path.relative_to(root), is_mask)
        column = masks if is_mask else images
        if key in column:
            raise UserError(f"{path} and {column[key]} have the same name; rename one of them")
        column[key] = path
    pairs = []
    for key, image in images.items():
        mask = masks.get(key) or masks.get(image.stem)
        if mask is not None:
            pairs.append(_source(root, key, image, mask))
    if not pairs:
        raise UserError(_why_none(root, len(images), len(masks)))
    _refuse_sharing((p.mask for p in pairs), "one mask of", [p.image for p in pairs])
    names = ((p.split, p.name.lower()) for p in pairs)
    _refuse_sharing(names, "one name in the new data set for", [p.image for p in pairs])
    paired = {p.image for p in pairs}
    return pairs, [p for p in images.values() if p not in paired]


def _refuse_sharing(keys: Iterable[object], what: str, images: Sequence[Path]) -> None:
    """Raise UserError where two images have one key, for one of the two would be lost or wrong."""
    first: dict[object, Path] = {}
    for key, image in zip(keys, images):
        if key in first:
            raise UserError(f"{image} and {first[key]}: {what} two images; rename one")
        first[key] = image


def _is_mask(path: Path) -> bool:
    folders = [part.lower() for part in path.parts[:-1]]
    known = {name.lower() for name in _MASK_FOLDERS}
    images = {name.lower() for name in _IMAGE_FOLDERS}
    if any(f in images for f in folders) and not any(f in known for f in folders):
        return False
    in_folder = any(f in known or f.endswith("annot") for f in folders)
    return in_folder or bool(_MASK_ENDING.search(path.stem))


def _key(path: Path, is_mask: bool) -> str:
    """The key that an image shares with its mask: stem and sub-folders, without the layout's."""
    layout = {n.lower() for n in (*_IMAGE_FOLDERS, *_MASK_FOLDERS)}
    folders = [p.removesuffix("annot") for p in path.parts[:-1] if p.lower() not in layout]
    stem = _MASK_ENDING.sub("", path.stem) if is_mask else path.stem
    return "/".join([*folders, stem.removesuffix("_leftImg8bit")])


def _source(root: Path, key: str, image: Path, mask: Path) -> ImageAndMask:
    *folders, stem = key.split("/")
    split = next((_SPLITS[f.lower()] for f in folders if f.lower() in _SPLITS), "")
    folders = [f for f in folders if f.lower() not in _SPLITS]
    name = "_".join([*(f.replace("_", "-") for f in folders), stem])
    drive = folders[-1] if folders else (sequence(stem) if "_" in stem else "")
    return ImageAndMask(name, drive, split, image, mask)


def _why_none(root: Path, images: int, masks: int) -> str:
    for path in sorted(root.rglob("*.json"))[:50]:
        with path.open("rb") as file:
            head = file.read(1 << 20)
        if b'"shapes"' in head:
            return (
                f"{path}: these are polygons of labelme; labelme's labelme2voc.py turns them into"
                " masks that this command reads (folder SegmentationClass beside JPEGImages)"
            )
        if b'"annotations"' in head and b'"segmentation"' in head:
            return (
                f"{path}: these are polygons of COCO; annToMask of pycocotools turns them into"
                " masks, and CVAT exports them as 'Segmentation mask 1.1', which this command reads"
            )
    return (
        f"{root}: {images} images and {masks} masks, and no mask has the name of an image; masks"
        f" must be in a folder such as {', '.join(_MASK_FOLDERS[:5])}, or have names such as"
        " NAME_mask.png or NAME_L.png"
    )


def assign_splits(
    root: Path, found: Sequence[ImageAndMask], options: Options
) -> tuple[list[ImageAndMask], str]:
    """Give every pair its split.

    If the source has splits, as folders or as VOC's ImageSets/Segmentation/SPLIT.txt, they are
    kept. Otherwise whole drives become the validation split if there are three or more ("drive"),
    or else the last part of every drive ("time"). Images are never chosen at random, because the
    model would be trained on their neighbours. A drive is a folder of images, or the part of their
    names before the first underscore.
    """
    lists = {
        p.stem: p.read_text(encoding="utf-8").split()
        for p in root.glob("**/ImageSets/Segmentation/*.txt")
        if p.stem in ("train", "val")
    }
    if set(lists) == {"train", "val"}:
        split_of = {name: split for split, names in lists.items() for name in names}
        placed = [_with_split(s, split_of[s.image.stem]) for s in found if s.image.stem in split_of]
        if placed:
            return placed, "source"
    if all(s.split for s in found) and len({s.split for s in found}) > 1:
        return list(found), "source"
    drives: dict[str, list[ImageAndMask]] = {}
    for one in sorted(found, key=lambda s: s.name):
        drives.setdefault(one.drive, []).append(one)
    by = options.split if options.split != "auto" else ("drive" if len(drives) > 2 else "time")
    if by == "drive" and len(drives) < 2:
        raise UserError("--split drive: there is one drive only; --split time works")
    wanted = options.val * len(found)
    placed, validating = [], 0.0
    for number, images in enumerate(sorted(drives.values(), key=len)):
        last = number == len(drives) - 1
        if by == "drive":
            take = 0 if last or (validating and validating + len(images) > wanted) else len(images)
        else:
            take = min(len(images) - 1, max(1, round(options.val * len(images))))
        validating += take
        cut = len(images) - take
        placed += [_with_split(s, "train" if i < cut else "val") for i, s in enumerate(images)]
    return placed, by


def _with_split(source: ImageAndMask, split: str) -> ImageAndMask:
    return ImageAndMask(source.name, source.drive, split, source.image, source.mask)


def _read_codes(path: Path, instances: int) -> NDArray[np.int64]:
    """(H, W) numbers: the ids of a mask, or packed colours plus _COLOUR."""
    try:
        with Image.open(path) as image:
            has_colours = image.mode in ("RGB", "RGBA", "CMYK", "YCbCr")
            colours = np.asarray(image.convert("RGB"), np.int64) if has_colours else None
            numbers = image.getchannel(0) if image.mode == "LA" else image
            has_numbers = image.mode == "LA" or image.mode.startswith("I")
            wide = np.asarray(numbers, np.int64) if has_numbers else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unreadable(path, error) from error
    if colours is not None:
        if (colours[..., :1] == colours).all():  # grey values saved as colours
            return colours[..., 0]
        return _COLOUR + (colours[..., 0] << 16) + (colours[..., 1] << 8) + colours[..., 2]
    codes = read_ids(path).astype(np.int64) if wide is None else wide
    return np.where(codes >= instances, codes // instances, codes) if instances else codes


def _table(
    root: Path, found: Sequence[ImageAndMask], options: Options
) -> tuple[dict[int, int], LabelSet]:
    """The class of every number in the masks (255: unlabelled), and the label set."""
    first: dict[int, Path] = {}
    for one in found:
        for code in np.unique(_read_codes(one.mask, options.instances)).tolist():
            first.setdefault(code, one.mask)
    jpeg = next((one.mask for one in found if one.mask.suffix.lower() in _LOSSY), None)
    if jpeg is not None and options.labels is None:
        raise UserError(
            f"{jpeg}: masks in a JPEG are refused, as this lossy format changes ids and colours;"
            " export the masks as PNG, or name the right ids or colours with --labels"
        )
    colours = sorted(c for c in first if c >= _COLOUR)
    ids = sorted(c for c in first if c < _COLOUR)
    labels = options.labels or (_brought_along(root) if colours else None)
    if labels is None:
        labels = _of_colours(colours) if colours else _of_ids(ids, options)
    table = _by_colour(labels) if colours else _by_id(labels, ids, options)
    if unknown := next((c for c in first if c not in table), None):
        what = f"id {unknown}"
        if unknown >= _COLOUR:
            what = f"colour {[(unknown >> s) & 255 for s in (16, 8, 0)]}"
        lossy = first[unknown].suffix.lower() in (*_LOSSY, ".webp")
        hint = "; lossy formats change colours, so masks must be PNG" if lossy else ""
        raise UserError(f"{first[unknown]}: {what} is not in {labels.name}{hint}")
    return _without_void(table, labels, options.void)


def _by_colour(labels: LabelSet) -> dict[int, int]:
    packed = [_COLOUR + (r << 16) + (g << 8) + b for r, g, b in labels.colors]
    table = dict(zip(packed, range(len(labels))))
    # A mask of colours may be grey all over. Black and white are unlabelled if no class has them.
    greys = {r: i for i, (r, g, b) in enumerate(labels.colors) if r == g == b}
    return {_COLOUR: UNLABELLED, 0: UNLABELLED, _COLOUR + 0xFFFFFF: UNLABELLED} | greys | table


def _by_id(labels: LabelSet, ids: Sequence[int], options: Options) -> dict[int, int]:
    if set(ids) <= {0, 255} and 255 in ids and len(labels) == 2 and not labels.ids:
        return {0: 0, 255: 1}
    table = labels.id_table()
    known = {i: int(table[i]) for i in range(256) if table[i] >= 0}
    return {**known, **{i: labels.names.index(n) for i, n in options.ids.items()}}


def _of_ids(ids: Sequence[int], options: Options) -> LabelSet:
    """A label set made from ids; 255 is unlabelled unless it has a name."""
    binary = set(ids) <= {0, 255} and 255 in ids
    names = dict(options.ids) or ({0: "background", 255: "foreground"} if binary else {})
    wanted = [i for i in ids if i != UNLABELLED or i in names]
    if binary and set(names) == {255}:
        names[0] = "background"
    if any(i > UNLABELLED for i in wanted):
        raise UserError(
            f"the masks hold ids up to {max(wanted)}, and ids of classes must be below 255;"
            " --instances 1000 reads Cityscapes' instance ids"
        )
    texts = tuple(names.get(i, f"class_{i}") for i in wanted)
    plain = all(i == n for n, i in enumerate(wanted)) or UNLABELLED in wanted
    own = () if plain else tuple(wanted)
    return LabelSet("own", texts, tuple(map(distinct_colour, range(len(wanted)))), ids=own)


def _of_colours(codes: Sequence[int]) -> LabelSet:
    if len(codes) > _MAX_COLOURS:
        raise UserError(
            f"the masks hold {len(codes)} colours; name the label set with --labels, and check that"
            " the masks are PNG and were not scaled"
        )
    colours = tuple((c >> 16 & 255, c >> 8 & 255, c & 255) for c in codes if c != _COLOUR)
    return LabelSet("own", tuple("color_{}_{}_{}".format(*c) for c in colours), colours)


def distinct_colour(number: int) -> tuple[int, int, int]:
    """A colour for a class, far from its neighbours' colours: hues follow the golden ratio."""
    r, g, b = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.55 + 0.3 * (number % 2), 0.9)
    return round(255 * r), round(255 * g), round(255 * b)


def _brought_along(root: Path) -> LabelSet | None:
    """The label set from a file of colours in the source; None: there is no such file."""
    path = next((p for n in _COLOUR_FILES for p in sorted(root.rglob(n))), None)
    if path is None:
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [m for n in lines for m in [_match(n.strip())] if m]
    if not found:
        raise UserError(f"{path}: no line with a name and three numbers; --labels names a set")
    names = tuple(m["name"].strip() for m in found)
    return LabelSet(path.stem, names, tuple((int(m["r"]), int(m["g"]), int(m["b"])) for m in found))


def _match(line: str) -> re.Match[str] | None:
    return next((m for p in _COLOUR_LINES for m in [p.fullmatch(line)] if m), None)


def _without_void(
    table: dict[int, int], labels: LabelSet, void: Iterable[str]
) -> tuple[dict[int, int], LabelSet]:
    """Remove the classes that become unlabelled, and number the others by position."""
    named = {*void, *(n for n in labels.names if n.lower() in _VOID_NAMES)}
    if unknown := sorted(set(void) - set(labels.names)):
        raise UserError(f"--void {unknown[0]}: no such class; there are {', '.join(labels.names)}")
    kept = [i for i, name in enumerate(labels.names) if name not in named]
    place = {old: new for new, old in enumerate(kept)} | {UNLABELLED: UNLABELLED}
    names = tuple(labels.names[i] for i in kept)
    whole = LabelSet(labels.name, names, tuple(labels.colors[i] for i in kept))
    return {code: place.get(i, UNLABELLED) for code, i in table.items()}, whole


def _write(one: ImageAndMask, folder: Path, table: Mapping[int, int], options: Options) -> None:
    codes = _read_codes(one.mask, options.instances)
    values, inverse = np.unique(codes, return_inverse=True)
    ids = np.array([table[v] for v in values.tolist()], np.uint8)[inverse].reshape(codes.shape)
    out = folder / "images" / one.split
    out.mkdir(parents=True, exist_ok=True)
    (folder / "labels" / one.split).mkdir(parents=True, exist_ok=True)
    try:
        with Image.open(one.image) as image:
            turned = image.getexif().get(274, 1) in (5, 6, 7, 8)
            as_stored = (image.height, image.width) == ids.shape
            if not as_stored and turned and (image.width, image.height) == ids.shape:
                # The mask fits the image as a viewer shows it. lrn_ros ignores EXIF, so turn it.
                write_png(out / f"{one.name}.png", _rgb(ImageOps.exif_transpose(image)))
            elif not as_stored:
                size = [image.height, image.width]
                raise UserError(f"{one.mask}: size {list(ids.shape)} but its image is {size}")
            elif one.image.suffix.lower() in IMAGE_SUFFIXES:
                read_image(one.image)  # raises an error if it is damaged
                shutil.copyfile(one.image, out / f"{one.name}{one.image.suffix.lower()}")
            else:
                write_png(out / f"{one.name}.png", _rgb(image))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{one.image}: cannot be read as an image: {error}") from error
    write_png(folder / "labels" / one.split / f"{one.name}.png", ids)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGB"), np.uint8)
