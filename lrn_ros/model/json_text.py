# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JSON that every reader accepts: without NaN and infinity, which JSON does not have."""

from __future__ import annotations

import json
import math
from typing import Any


def to_json(data: Any, indent: int | None = None) -> str:
    """The text of plain data; a number that is not finite becomes null.

    >>> to_json({"sky": 0.5, "cow": float("nan")})
    '{"sky": 0.5, "cow": null}'
    """
    return json.dumps(plain(data), indent=indent, allow_nan=False)


def plain(data: Any) -> Any:
    """The same data with None for NaN and infinities, and lists for tuples."""
    if isinstance(data, dict):
        return {k: plain(v) for k, v in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(v) for v in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
