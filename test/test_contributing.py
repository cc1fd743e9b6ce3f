# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A test fails if somebody forgets a step that CONTRIBUTING.md lists for a new part."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrn_ros.images.encodings import ENCODINGS
from lrn_ros.inference.backends import MODULES
from lrn_ros.ros.parameters import SPECS
from lrn_ros.ros.statistics import CAUSES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def trees(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / "lrn_ros" / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.Module, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "attr", None) or getattr(function, "id", None)
            if name in names:
                yield node


# A backend ------------------------------------------------------------------------------------


def test_every_backend_has_its_file_its_line_in_the_table_and_in_the_readme() -> None:
    with_create = {
        path.stem
        for path, tree in trees("inference/backends")
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "create" and path.stem != "base"
    }
    assert with_create == set(MODULES)
    for name, module in MODULES.items():
        assert module.name == f"lrn_ros.inference.backends.{name}"
    table = README.split("## Backends\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(MODULES)


def test_every_extra_that_is_named_exists() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    extras = set(re.findall(r'^        "([\w-]+)": ', setup, re.MULTILINE))
    named = {module.extra for module in MODULES.values()}
    for path, tree in trees(""):
        for call in calls(tree, "needs", "install"):
            if call.args and isinstance(call.args[0], ast.Constant):
                named.add(call.args[0].value)
        if path.name != "errors.py":
            assert "pip install 'lrn_ros[" not in path.read_text(encoding="utf-8"), path
    assert {"bags", "export", "train", "evaluate", "ros", "openvino"} <= named <= extras


# A network ------------------------------------------------------------------------------------


def test_every_file_that_registers_a_network_is_imported_with_the_package() -> None:
    pytest.importorskip("torch")
    registering = {
        path.stem
        for path, tree in trees("networks")
        if path.stem != "registry" and any(calls(tree, "register"))
    }
    code = "import lrn_ros.networks, sys; print(*[m for m in sys.modules if 'networks.' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    imported = {name.removeprefix("lrn_ros.networks.") for name in done.stdout.split()}
    assert len(registering) >= 4 and registering <= imported, done.stderr


def test_every_family_of_networks_is_named_in_the_readme() -> None:
    pytest.importorskip("torch")
    architectures = importlib.import_module("lrn_ros.networks").architectures()
    said = re.sub(r"[^a-z0-9]", "", README.lower())
    for family in {re.match("[a-z]+", name).group() for name in architectures}:  # type: ignore[union-attr]
        assert family in said, family


def test_every_shipped_model_has_its_line_in_the_readme() -> None:
    models = {path.stem for path in (ROOT / "weights").glob("*.safetensors")}
    listed = set(re.findall(r"^\| \[(\w+)\]\(weights/\1\.md\) \|", README, re.MULTILINE))
    assert len(models) >= 5 and listed == models


# An encoding ----------------------------------------------------------------------------------


def test_every_encoding_is_in_the_readme() -> None:
    """test/images/test_images.py fails for one without an expected picture."""
    line = README.split("<!-- encodings: made by make docs -->")[1].split("<!-- end -->")[0]
    assert set(ENCODINGS) <= set(re.findall(r"\w+", line))


# A drop cause ---------------------------------------------------------------------------------


def test_every_drop_cause_is_in_the_table_and_every_one_in_the_table_is_used() -> None:
    """docs/faults.md is made from the table, and compared in test_readme.py."""
    said: set[str] = set()
    constants: set[str] = set()
    for path, tree in (*trees("ros"), *trees("images")):
        for call in calls(tree, "dropped", "report", "_report", "fault"):
            texts = [a.value for a in call.args[:2] if isinstance(a, ast.Constant)]
            said |= set(texts[:1])  # the cause; what follows is the kind of a fault
        if path.stem not in ("statistics", "diagnostics"):
            nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
            constants |= {node.value for node in nodes if isinstance(node.value, str)}
    assert said <= set(CAUSES) <= constants and len(said) >= 5


# A parameter ----------------------------------------------------------------------------------


def test_every_parameter_is_read_somewhere() -> None:
    """The documentation, segment.yaml and the launch arguments are made from the table."""
    read = {
        node.attr
        for path, tree in trees("ros")
        if path.name != "parameters.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and "settings" in ast.unparse(node.value).lower()
    }
    assert set(SPECS) - read <= {"autostart"}, "autostart is read before there are settings"


# The texts ------------------------------------------------------------------------------------


def test_contributing_names_files_and_tests_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:lrn_ros|test|docs|config|launch|benchmark)/[\w./-]+)`", text))
    assert len(paths) >= 10
    for path in paths:
        assert "NAME" in path or (ROOT / path).exists(), path
    tests = (ROOT / "test").rglob("test_*.py")
    known = {name for p in tests for name in re.findall(r"^def (test_\w+)", p.read_text(), re.M)}
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) >= 6 and named <= known, named - known


def test_the_changelog_has_the_form_that_the_build_farms_tools_read() -> None:
    """They turn `Forthcoming` into the version that is released, and drop what is nested."""
    changelog = pytest.importorskip("catkin_pkg.changelog")
    text = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    released = text.replace("Forthcoming\n-----------", "9.9.9 (2030-01-01)\n------------------")
    found = changelog.Changelog("lrn_ros")
    changelog.populate_changelog_from_rst(found, released)
    contents = {version: list(content) for version, _, content in found.foreach_version()}
    items = [i for part in contents["9.9.9"] for i in getattr(part, "bullets", [])]
    section = text.split("Forthcoming\n")[1].split("\n0.")[0]
    assert len(items) == len(re.findall(r"^- ", section, re.MULTILINE)) > 0
