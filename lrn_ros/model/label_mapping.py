# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Classes of one label set as classes of another, from a YAML file that must name them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.model.labels import UNLABELLED, LabelSet
from lrn_ros.paths import read_config, share_folder

IDENTITY = ("", "identity")  # names of no mapping: the model's own classes


@dataclass(frozen=True)
class LabelMapping:
    """Which class of `target` every class of `source` is.

    Attributes:
        source: the set that is mapped.
        target: the set that it becomes.
        classes: per class of `source` the class id of `target`; 255 makes it unlabelled.
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
            UserError: no such file, a class of either set that does not exist, or one of the source
                that is not mapped; the message names it.
        """
        path = Path(name_or_path).expanduser()
        data, path = read_config("mappings", path, "label mapping")
        if not isinstance(data, dict) or not isinstance(data.get("classes"), dict):
            raise UserError(f"{path}: not a label mapping; it needs from, to and classes: {{A: B}}")
        source, target = (_label_set(data, key, path) for key in ("from", "to"))
        return cls(source, target, _ids(data["classes"], source, target, path))


def find(name_or_path: str, labels: LabelSet) -> LabelMapping | None:
    """The mapping of a model's classes that a name stands for.

    Args:
        name_or_path: a name under config/mappings, a YAML file, or what follows `SET_to_` in such a
            name, where SET is the model's label set; one of IDENTITY: the classes stay.
        labels: of the model.

    Returns:
        The mapping; None: the classes stay as they are.

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
