# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Writes what the documentation and config/segment.yaml repeat of the code: `make docs`.

A table in a Markdown file stands between the lines `<!-- NAME: made by make docs -->` and
`<!-- end -->`; TABLES has the names. A test compares the files with what this makes.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lrn_ros.images.encodings import ENCODINGS  # noqa: E402
from lrn_ros.ros.launch_arguments import OWN  # noqa: E402
from lrn_ros.ros.parameters import SPECS  # noqa: E402
from lrn_ros.ros.statistics import CAUSES  # noqa: E402

_PLACE = re.compile(r"(<!-- ([\w-]+): made by make docs -->\n).*?(<!-- end -->)", re.DOTALL)
_OFTEN = ("model", "backend", "precision", "network_size", "cameras", "temporal_smoothing")
# Who starts a node with a parameter file wants the node to run.
_IN_FILE = {"autostart": True}
_HEADER = """\
# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
# Every parameter of segment_node with its default. Copy this file, change what you need, start with
#   ros2 launch lrn_ros segment.launch.py params_file:=/path/to/your.yaml
# `/**` matches the node in every namespace and under every name.
# [live]: `ros2 param set` works at any time; the others are taken at the configure transition.
# `make docs` writes this file from lrn_ros/ros/parameters.py.
/**:
  ros__parameters:
"""


def _value(value: Any) -> str:
    """A parameter's value as YAML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(f'"{v}"' if isinstance(v, str) else str(v) for v in value) + "]"
    return '""' if value == "" else str(value)


def _rows(header: str, rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, "|" + "---|" * (header.count("|") - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _parameters() -> str:
    return _rows(
        "| name | default | allowed | live | meaning |",
        (
            (
                f"`{s.name}`", f"`{_value(s.default)}`", s.kind.allowed, "yes" if s.live else "",
                f"{s.meaning}. {s.details}".strip() if s.details else s.meaning,
            )
            for s in SPECS.values()
        ),
    )  # fmt: skip


def _often_used() -> str:
    return _rows(
        "| name | default | meaning |",
        ((f"`{n}`", f"`{_value(SPECS[n].default)}`", SPECS[n].meaning) for n in _OFTEN),
    )


def _launch_arguments() -> str:
    return _rows(
        "| argument | default | meaning |",
        (
            (f"`{a.name}`", f"`{a.default}`" if a.default else "", a.meaning)
            for a in OWN
        ),
    )  # fmt: skip


def _drop_causes() -> str:
    return _rows("| cause | meaning |", ((f"`{c}`", text) for c, text in CAUSES.items()))


def _encodings() -> str:
    names = textwrap.fill(", ".join(ENCODINGS), 118)
    return f"Encodings, with any row padding and both byte orders:\n{names}.\n"


def _rooms() -> str:
    """The order of the rooms as a picture, from the contract that the linter checks."""
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("\nlayers = ")[1]
    layers: list[str] = ast.literal_eval(contract[: contract.index("]") + 1])
    lines = ["```mermaid", "flowchart TD"]
    rows = [layer.split(" | ") for layer in layers]
    for row in rows:
        lines += [f"  {room}[{room}/]" for room in row]
    for above, below in zip(rows, rows[1:]):
        lines += [f"  {a} --> {b}" for a in above for b in below]
    return "\n".join([*lines, "```", ""])


TABLES = {
    "encodings": _encodings,
    "rooms": _rooms,
    "parameters": _parameters,
    "often-used": _often_used,
    "launch-arguments": _launch_arguments,
    "drop-causes": _drop_causes,
}


def _segment_yaml() -> str:
    pairs = {s.name: _value(_IN_FILE.get(s.name, s.default)) for s in SPECS.values()}
    width = max(len(f"{name}: {value}") for name, value in pairs.items())
    return _HEADER + "".join(
        f"    {f'{name}: {value}':{width}} # {'[live] ' if SPECS[name].live else ''}"
        f"{SPECS[name].meaning}\n"
        for name, value in pairs.items()
    )


def made() -> Iterator[tuple[Path, str]]:
    """Every file that has something made in it, with the text that it should have."""
    yield ROOT / "config" / "segment.yaml", _segment_yaml()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ):
        text = path.read_text(encoding="utf-8")
        if _PLACE.search(text):
            yield path, _PLACE.sub(lambda m: m[1] + TABLES[m[2]]() + m[3], text)


def main() -> None:
    """Write the files that differ, and say which."""
    for path, text in made():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} is written anew")


if __name__ == "__main__":
    main()
