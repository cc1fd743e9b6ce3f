# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a replay has written about one topic of one bag, read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelSet
from lrn_ros.replay.accuracy import PartFiles
from lrn_ros.replay.json_lines import read_lines
from lrn_ros.replay.tally import Tally

STAGES = ("read_ms", "preprocess_ms", "inference_ms", "postprocess_ms", "total_ms")


@dataclass(frozen=True)
class Part:
    """One replayed topic of one bag, as it lies on disk.

    Attributes:
        name: what people call it.
        files: where it lies.
        summary: the content of its part.json.
        tally: its counts.
        labels: the classes that were scored.
    """

    name: str
    files: PartFiles
    summary: dict[str, Any]
    tally: Tally
    labels: LabelSet


def read_part(name: str, folder: Path) -> Part:
    """Read what `replay` has written.

    Raises:
        UserError: it is not there, or it cannot be read.
    """
    files = PartFiles(folder)
    try:
        summary = json.loads(files.summary.read_text(encoding="utf-8"))
        tally = Tally.from_dict(summary["tally"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: holds no replayed bag ({error})") from error
    if not files.frames.is_file():
        raise UserError(f"{folder}: holds no replayed bag (there is no {files.frames.name})")
    return Part(name, files, summary, tally, LabelSet.from_dict(summary["labels"], str(folder)))


def read_frames(part: Part) -> Iterator[dict[str, Any]]:
    """The lines of its frames."""
    return read_lines(part.files.frames)
