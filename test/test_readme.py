# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the README shows is what the package has: commands, files, parameters, topics, Python."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from lrn_ros.cli import _parser
from lrn_ros.ros.parameters import SPECS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def shell_lines() -> list[str]:
    joined = "\n".join(blocks("sh")).replace("\\\n", " ")
    return [line.split("#")[0].strip() for line in joined.splitlines() if line.strip()]


LRN = [s[s.index("lrn ") :] for s in shell_lines() if re.match(r"(ros2 run lrn_ros )?lrn ", s)]


def test_commands_are_found() -> None:
    assert len(LRN) >= 5


@pytest.mark.parametrize("line", LRN)
def test_lrn_commands_parse(line: str) -> None:
    arguments = _parser().parse_args(shlex.split(line)[1:])
    assert callable(arguments.run)


@pytest.mark.parametrize(
    "target", re.findall(r"^make (\w+)", "\n".join(shell_lines()), re.MULTILINE)
)
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)", README))))
def test_linked_files_exist(link: str) -> None:
    assert (ROOT / link).exists()


def table(title: str) -> list[list[str]]:
    section = README.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [r.strip("|").split("|") for r in section.splitlines() if r.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_parameter_table_is_complete_and_right() -> None:
    shown = {}
    for name, default, live, _ in table("Parameters"):
        names, defaults = re.findall(r"`(\w+)`", name), re.findall(r"`([^`]+)`", default)
        shown |= {n: (d, live == "yes") for n, d in zip(names, defaults, strict=True)}

    def text(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float) and value == int(value) and value >= 0 and value != 0.5:
            return f"{value:g}"
        return str(value).replace("'", '"') if value != "" else '""'

    expected = {s.name: (text(s.default), s.live) for s in SPECS.values()}
    shown = {n: (d if d != "0.0" else "0", live) for n, (d, live) in shown.items()}
    assert shown == expected


def test_topic_table_is_complete() -> None:
    source = (ROOT / "lrn_ros" / "ros" / "outputs.py").read_text()
    advertised = set(re.findall(r'advertise\(\w+, "([^"]+)"', source))
    shown = {row[1].strip("`").removeprefix("~/") for row in table("Topics") if row[0] == "out"}
    assert shown == advertised | {"/diagnostics"}


def test_python_example_runs(monkeypatch: pytest.MonkeyPatch, random_model: Path) -> None:
    from lrn_ros import Segmenter

    load = Segmenter.load
    monkeypatch.setattr(Segmenter, "load", lambda name: load(random_model))
    rgb = np.zeros((64, 80, 3), np.uint8)
    (code,) = blocks("python")
    scope = {"rgb": rgb}
    exec(code, scope)  # noqa: S102
    assert scope["result"].mask.shape == (64, 80)  # type: ignore[attr-defined]
