# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reads what a process has written line by line, whether or not it came to its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Complete JSON lines; none if there is no file.

    A last line that a killed process left unfinished is skipped.
    """
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines if line.endswith("}\n"))
