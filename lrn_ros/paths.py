# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the weights, config and launch files of the package, and reads its YAML files."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lrn_ros.errors import UserError

_PACKAGE = "lrn_ros"


def _candidates() -> list[Path]:
    """Share folders in order of preference: source checkout, ament prefixes, Python prefix."""
    found = [Path(__file__).resolve().parents[1]]
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    # An installed module belongs to the prefix above its site-packages, whatever is sourced.
    own = [p for p in Path(__file__).resolve().parents if (p / "share" / _PACKAGE).is_dir()]
    found += [p / "share" / _PACKAGE for p in (*own, *map(Path, prefixes), Path(sys.prefix))]
    return found


@cache
def share_folder() -> Path:
    """The folder that holds config/, launch/ and weights/.

    Raises:
        UserError: the folder is in none of the usual places; the message lists them.
    """
    for folder in _candidates():
        if (folder / "config" / "labels").is_dir() and (folder / "weights").is_dir():
            return folder
    places = ", ".join(map(str, _candidates()))
    raise UserError(f"the config and weights of lrn_ros were not found in {places}")


def read_config(folder: str, name_or_path: str | Path, what: str) -> tuple[Any, Path]:
    """Read config/FOLDER/NAME.yaml, or any YAML file by its path.

    Args:
        folder: subfolder of config/.
        name_or_path: a name, or a path that ends in .yaml or .yml.
        what: what such a file is called in errors.

    Returns:
        The file's data and its path.

    Raises:
        UserError: no such name, with the known ones, or the file cannot be read as YAML.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        home = share_folder() / "config" / folder
        path = home / f"{name_or_path}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in home.glob("*.yaml")))
            raise UserError(f"unknown {what} {str(name_or_path)!r}; known: {known}, or a YAML file")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")), path
    except RecursionError:
        raise UserError(f"{path}: cannot be read as YAML: it is nested too deeply") from None
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: a date such as 2026-99-99
        raise UserError(f"{path}: cannot be read as YAML: {error}") from error
