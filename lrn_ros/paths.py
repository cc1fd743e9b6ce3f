# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the package's weights, config and launch files are."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from lrn_ros.errors import UserError

_PACKAGE = "lrn_ros"


def _candidates() -> list[Path]:
    """Share folders in order of preference: source checkout, ament prefixes, Python prefix."""
    found = [Path(__file__).resolve().parent.parent]
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    # An installed module belongs to the prefix above its site-packages, whatever is sourced.
    own = [p for p in Path(__file__).resolve().parents if (p / "share" / _PACKAGE).is_dir()]
    found += [p / "share" / _PACKAGE for p in (*own, *map(Path, prefixes), Path(sys.prefix))]
    return found


@cache
def share_folder() -> Path:
    """The folder that holds config/, launch/ and weights/.

    Raises:
        UserError: none of the places has it; the message lists them.
    """
    for folder in _candidates():
        if (folder / "config" / "labels").is_dir() and (folder / "weights").is_dir():
            return folder
    places = ", ".join(map(str, _candidates()))
    raise UserError(f"the package's config and weights were not found; looked in {places}")
