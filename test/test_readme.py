# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The README agrees with the package: commands, files, parameters, topics, Python."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from lrn_ros.cli import _parser
from lrn_ros.ros.parameters import SPECS
from lrn_ros.ros.statistics import CAUSES

ROOT = Path(__file__).parents[1]
made = runpy.run_path(str(ROOT / "docs" / "tables.py"))["made"]
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
    text = (ROOT / "docs" / "node.md").read_text(encoding="utf-8")
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [r.strip("|").split("|") for r in section.splitlines() if r.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_what_the_documentation_repeats_of_the_code_is_up_to_date() -> None:
    files = {str(p.relative_to(ROOT)): (p.read_text(encoding="utf-8"), t) for p, t in made()}
    assert {"config/segment.yaml", "README.md", "docs/node.md", "docs/faults.md"} <= set(files)
    for name, (text, right) in files.items():
        assert text == right, f"{name}: `make docs` writes it anew"


def test_node_md_has_every_parameter_with_its_default_and_whether_it_is_live() -> None:
    text = (ROOT / "docs" / "node.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| .+? \| (yes)? ?\| .+ \|$", text, re.MULTILINE)
    shown = {name: (yaml.safe_load(default), live == "yes") for name, default, live in rows}
    assert shown == {s.name: (s.default, s.live) for s in SPECS.values()}


def test_every_drop_cause_is_explained() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    causes = text.split("## Why an image is dropped")[1]
    assert set(re.findall(r"^\| `(\w+)` \| .{9,} \|$", causes, re.MULTILINE)) == set(CAUSES)


def test_topic_table_is_complete() -> None:
    source = (ROOT / "lrn_ros" / "ros" / "outputs.py").read_text()
    of_frames = source.split("_FRAME_OUTPUTS")[1].split("\n}")[0]
    advertised = set(re.findall(r'^    "([^"]+)": ', of_frames, re.MULTILINE))
    advertised |= set(re.findall(r'advertise\(\w+, f?"(?:~/|\{own\})([^"]+)"', source))
    assert {"mask", "overlay/compressed", "legend", "latency"} <= advertised
    cells = [row[1] for row in table("Topics") if row[0] == "out"]
    shown = {name for cell in cells for name in re.findall(r"`(?:~/)?([^`]+)`", cell)}
    assert shown == advertised | {"/diagnostics"}


def test_the_picture_is_made_with_the_present_weights_and_colours() -> None:
    picture = runpy.run_path(str(ROOT / "docs" / "picture.py"))
    assert "](docs/images/demo.jpg)" in README
    assert picture["picture_digest"]() == picture["present_digest"](), "run `make picture`"


def test_python_example_runs(monkeypatch: pytest.MonkeyPatch, random_model: Path) -> None:
    from lrn_ros import Segmenter

    load = Segmenter.load
    monkeypatch.setattr(Segmenter, "load", lambda name: load(random_model))
    rgb = np.zeros((64, 80, 3), np.uint8)
    (code,) = blocks("python")
    scope = {"rgb": rgb}
    exec(code, scope)  # noqa: S102
    assert scope["result"].mask.shape == (64, 80)  # type: ignore[attr-defined]
