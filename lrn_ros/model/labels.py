# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Label sets (class names, ids and colours), and mappings of one set's classes to another's."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.paths import read_config, share_folder

UNLABELLED = 255


@dataclass(frozen=True)
class LabelSet:
    """The classes of a data set. The id of a class in masks is its position.

    Attributes:
        name: name of the set.
        names: class names.
        colors: (r, g, b) per class, 0-255.
        ignore: id of unlabelled pixels in the label images of the set; 255 is always unlabelled.
        ids: id of every class in the label images of the set, 0-254; empty: the position.
        void: further ids of unlabelled pixels in the label images.
        display: (r, g, b) per class, colours that people can tell apart; empty: they are not chosen
            yet, see lrn_ros.inference.palette.
        categories: the category of every class, such as "vehicle"; empty: there are none.
        object_sizes: mean number of pixels of a single object of every class, for Cityscapes' iIoU;
            0: the set has no single objects of that class; empty: of no class at all.
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ignore: int = UNLABELLED
    ids: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    display: tuple[tuple[int, int, int], ...] = field(default=(), compare=False)
    categories: tuple[str, ...] = ()
    object_sizes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= UNLABELLED:
            raise UserError(f"label set {self.name!r} has {len(self.names)} classes; 1 to 255 work")
        if len(self.colors) != len(self.names) or len(set(self.names)) != len(self.names):
            raise UserError(
                f"label set {self.name!r}: every class needs a colour, and a name of its own"
            )
        if len(self.display) not in (0, len(self)):
            raise UserError(
                f"label set {self.name!r}: there must be display colours for all classes or none"
            )
        if any(
            len(c) != 3 or not all(0 <= v <= 255 for v in c) for c in (*self.colors, *self.display)
        ):
            raise UserError(f"label set {self.name!r}: a colour is three numbers from 0 to 255")
        if not 0 <= self.ignore <= 255:
            raise UserError(f"label set {self.name!r}: ignore is {self.ignore}; 0 to 255 work")
        ids = self.ids or tuple(range(len(self)))
        if not len(ids) == len(set(ids)) == len(self) or not all(0 <= i < UNLABELLED for i in ids):
            raise UserError(
                f"label set {self.name!r}: all classes or none must have an id, and the ids must be"
                " different numbers from 0 to 254"
            )
        if len(set(self.void)) != len(self.void) or not all(0 <= v <= 255 for v in self.void):
            raise UserError(f"label set {self.name!r}: void must be different ids from 0 to 255")
        if any(len(per) not in (0, len(self)) for per in (self.categories, self.object_sizes)):
            raise UserError(f"label set {self.name!r}: all classes or none must have a category")
        if any(not 0 <= size < float("inf") for size in self.object_sizes):
            raise UserError(f"label set {self.name!r}: object_size must be a number of pixels")
        if both := set(ids) & {self.ignore, *self.void}:
            name = self.names[ids.index(min(both))]
            raise UserError(
                f"label set {self.name!r}: id {min(both)} is both {name!r} and unlabelled"
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def palette(self) -> NDArray[np.uint8]:
        """(K, 3) uint8 RGB colours."""
        return np.array(self.colors, np.uint8)

    @property
    def category_names(self) -> tuple[str, ...]:
        """The categories in the order of their first classes."""
        return tuple(dict.fromkeys(self.categories))

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The position of every class's category in `category_names`."""
        return tuple(self.category_names.index(c) for c in self.categories)

    def lookup(self) -> NDArray[np.uint8]:
        """(256, 3) uint8 colours for every possible mask value; black beyond the classes."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.palette
        return table

    def id_table(self) -> NDArray[np.int16]:
        """(256,) int16: the class of every id in a label image; 255 unlabelled, -1 not in the set.

        >>> LabelSet("x", ("a", "b"), ((0, 0, 0), (1, 1, 1)), ids=(7, 4), void=(5,)).id_table()[3:9]
        array([ -1,   1, 255,  -1,   0,  -1], dtype=int16)
        """
        table = np.full(256, -1, np.int16)
        table[list(self.ids or range(len(self)))] = range(len(self))
        table[[self.ignore, *self.void, UNLABELLED]] = UNLABELLED
        return table

    def classes_of(self, image: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        """The classes of a label image.

        Args:
            image: (H, W) uint8, the set's own ids; see ids, ignore, void.
            where: the image's origin, for errors.

        Returns:
            (H, W) uint8 class ids, 255 unlabelled.

        Raises:
            UserError: an id that the set does not have.
        """
        classes = cv2.LUT(image, self.id_table())
        if classes.min(initial=0) < 0:
            known = ", ".join(map(str, self.ids)) or f"0-{len(self) - 1}"
            unlabelled = ", ".join(map(str, sorted({self.ignore, *self.void, UNLABELLED})))
            raise UserError(
                f"{where}: id {image[classes < 0][0]} is not in {self.name}"
                f" (classes {known}; unlabelled {unlabelled})"
            )
        return classes.astype(np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """The set as plain data, the form of the YAML files."""
        classes: list[dict[str, Any]] = [
            {"name": n, "rgb": list(c)} for n, c in zip(self.names, self.colors)
        ]
        for entry, i in zip(classes, self.ids):
            entry["id"] = i
        if self.display != self.shipped_display():
            for entry, color in zip(classes, self.display):
                entry["display"] = list(color)
        for entry, category in zip(classes, self.categories):
            entry["category"] = category
        for entry, size in zip(classes, self.object_sizes):
            if size:
                entry["object_size"] = size
        data = {"name": self.name, "ignore": self.ignore, "classes": classes}
        return data | {"void": list(self.void)} if self.void else data

    @classmethod
    def from_dict(cls, data: Any, where: str) -> LabelSet:
        """Build from plain data; `where` names its origin in errors."""
        try:
            classes = data["classes"]
            return cls(
                name=str(data["name"]),
                names=tuple(str(c["name"]) for c in classes),
                colors=tuple(tuple(int(v) for v in c["rgb"]) for c in classes),  # type: ignore[misc]
                ignore=int(data.get("ignore", UNLABELLED)),
                ids=tuple(int(c["id"]) for c in classes if "id" in c),
                void=tuple(int(v) for v in data.get("void", ())),
                display=tuple(
                    tuple(int(v) for v in c["display"])  # type: ignore[misc]
                    for c in classes
                    if "display" in c
                ),
                categories=tuple(str(c["category"]) for c in classes if "category" in c),
                object_sizes=tuple(float(c.get("object_size", 0)) for c in classes)
                if any("object_size" in c for c in classes)
                else (),
            )
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UserError(
                f"{where}: not a label set ({error!r}); it needs name and classes, each class"
                " with name and rgb: [r, g, b]"
            ) from error

    @classmethod
    def load(cls, name_or_path: str | Path) -> LabelSet:
        """Read a label set by name (config/labels/NAME.yaml) or from a YAML file.

        Raises:
            UserError: no such set or file, or its content is not a label set.
        """
        data, path = read_config("labels", name_or_path, "label set")
        return cls.from_dict(data, str(path))

    def shipped_display(self) -> tuple[tuple[int, int, int], ...]:
        """Display colours of the package's own set of the same classes; none: empty."""
        return _shipped_display().get(self.names, ())

    @staticmethod
    def shipped() -> tuple[str, ...]:
        """Names of the label sets that come with the package."""
        return tuple(p.stem for p in sorted((share_folder() / "config" / "labels").glob("*.yaml")))


@cache
def _shipped_display() -> dict[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Class names -> display colours, of the label sets that come with the package."""
    sets = map(LabelSet.load, LabelSet.shipped())
    return {s.names: s.display for s in sets if s.display}


IDENTITY = ("", "identity")  # names of no mapping: the model's own classes


@dataclass(frozen=True)
class LabelMapping:
    """The class of `target` that each class of `source` becomes.

    The YAML file of a mapping must name every class of `source`.

    Attributes:
        source: the label set of the given classes.
        target: the label set of the resulting classes.
        classes: for every class of `source` the class id of `target`; 255 makes it unlabelled.
    """

    source: LabelSet
    target: LabelSet
    classes: tuple[int, ...]

    def __call__(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) uint8 class ids of `source` as those of `target`, 255 unlabelled."""
        table = np.full(256, UNLABELLED, np.uint8)
        table[: len(self.classes)] = self.classes
        return np.asarray(cv2.LUT(mask, table), np.uint8)

    @classmethod
    def load(cls, name_or_path: str | Path) -> LabelMapping:
        """Read config/mappings/NAME.yaml, or a YAML file by its path.

        Raises:
            UserError: there is no such file, it names a class that a set does not have, or it
                leaves out a class of `source`; the message names the class.
        """
        path = Path(name_or_path).expanduser()
        data, path = read_config("mappings", path, "label mapping")
        if not isinstance(data, dict) or not isinstance(data.get("classes"), dict):
            raise UserError(
                f"{path}: this is no label mapping; it needs `from`, `to` and `classes: {{A: B}}`"
            )
        source, target = (_label_set(data, key, path) for key in ("from", "to"))
        return cls(source, target, _ids(data["classes"], source, target, path))


def find(name_or_path: str, labels: LabelSet) -> LabelMapping | None:
    """Find the mapping of a model's classes by its name.

    Args:
        name_or_path: a name under config/mappings, or the path of a YAML file. Of a name such as
            SET_to_TARGET, where SET is the model's label set, TARGET is enough. With one of
            IDENTITY the classes stay as they are.
        labels: the label set of the model.

    Returns:
        The mapping; None if the classes stay as they are.

    Raises:
        UserError: there is no such mapping, it is damaged, or it is for other classes.
    """
    if name_or_path in IDENTITY:
        return None
    home = share_folder() / "config" / "mappings"
    own = f"{labels.name}_to_"
    name = name_or_path
    if (home / f"{own}{name}.yaml").is_file():
        name = own + name
    elif not (home / f"{name}.yaml").is_file() and Path(name).suffix not in (".yaml", ".yml"):
        known = ", ".join(sorted(p.stem.removeprefix(own) for p in home.glob(f"{own}*.yaml")))
        raise UserError(
            f"label_map {name!r} is unknown; for {labels.name} there are"
            f" {', '.join(filter(None, ('identity', known)))}, or a YAML file"
        )
    mapping = LabelMapping.load(name)
    if mapping.source.names != labels.names:
        raise UserError(
            f"label_map {name_or_path!r} is for the classes of {mapping.source.name}, but the model"
            f" has those of {labels.name}: {', '.join(labels.names)}"
        )
    return mapping


def _label_set(data: dict[str, Any], key: str, path: Path) -> LabelSet:
    if not isinstance(data.get(key), str):
        raise UserError(f"{path}: {key} must name a label set, or a YAML file of one")
    name = data[key]
    beside = path.parent / name
    return LabelSet.load(beside if beside.suffix in (".yaml", ".yml") else name)


def _ids(pairs: dict[Any, Any], source: LabelSet, target: LabelSet, where: Path) -> tuple[int, ...]:
    given = {str(k): None if v is None else str(v) for k, v in pairs.items()}
    if missing := [n for n in source.names if n not in given]:
        raise UserError(
            f"{where}: no class of {target.name} for {', '.join(missing)} of {source.name};"
            " null makes a class unlabelled"
        )
    for label_set, names in ((source, given), (target, filter(None, given.values()))):
        if unknown := sorted(set(names) - set(label_set.names)):
            raise UserError(
                f"{where}: {', '.join(unknown)} not in {label_set.name};"
                f" its classes are {', '.join(label_set.names)}"
            )
    ids = {None: UNLABELLED} | {name: i for i, name in enumerate(target.names)}
    return tuple(ids[given[n]] for n in source.names)
