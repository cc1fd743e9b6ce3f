# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command itself: help, exit statuses, one line on stderr, nothing heavy imported."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from lrn_ros.cli import SUBCOMMANDS, main
from lrn_ros.cli.common import claim_output, duration
from lrn_ros.errors import UserError


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in SUBCOMMANDS)])
def test_help(arguments, capsys):
    assert main(arguments) == 0
    assert "usage: lrn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["train"], "name a recipe to train, or --new NAME"),
        (["train", "x", "--max-time", "soon"], "1h30m"),
        (["train", "nowhere"], "lrnnet_c_camvid, "),
        (["demo", "--rate", "0"], "0.001 to 1000"),
        (["demo", "--model", "nowhere"], "nowhere"),
        (["segment", "nowhere.png", "--output", "out"], "no such file"),
        (["segment", "x", "--output", "out", "--overlay-alpha", "2"], "0 to 1"),
        (["evaluate", "m", "nowhere"], "no such folder"),
        (["models", "--size", "16", "16"], "64x64"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1 and error.startswith("lrn")
    assert not list(tmp_path.iterdir())


def test_nothing_heavy_is_imported_for_help():
    code = (
        "import sys; from lrn_ros.cli import main; main(['--help']);"
        "heavy = {'torch', 'cv2', 'rclpy', 'numpy', 'lightning'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_python_m_is_the_same_command():
    command = [sys.executable, "-m", "lrn_ros", "segment"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("lrn segment:")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("75m", 4500), ("2h", 7200), ("1h30m", 5400), ("1h0m5s", 3605), ("0.5h", 1800),
     ("45", 45)],
)  # fmt: skip
def test_duration(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "75x", "-3m", "0s", "1m1h", "nan", "1e9"])
def test_no_duration(text):
    with pytest.raises(argparse.ArgumentTypeError, match="1h30m"):
        duration(text)


def test_an_output_folder_of_others_is_not_taken(tmp_path):
    claim_output(tmp_path / "new", "demo")
    claim_output(tmp_path / "new", "demo")  # its own: again and again
    with pytest.raises(UserError, match="written by lrn demo"):
        claim_output(tmp_path / "new", "segment")
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="nothing was overwritten"):
        claim_output(tmp_path, "demo")
    with pytest.raises(UserError, match="is a file"):
        claim_output(tmp_path / "thesis.tex", "demo")


@pytest.mark.parametrize(
    ("missing", "arguments", "says"),
    [
        ("rclpy", ["demo"], "pip install 'lrn_ros[ros]'"),
        ("torch", ["models"], "pip install 'lrn_ros[torch]'"),
        ("lightning", ["train", "lrnnet_c_camvid"], "pip install 'lrn_ros[train]'"),
        ("apsw", ["demo"], "pip install 'lrn_ros[bags]'"),
        ("apsw", ["replay", "bag"], "pip install 'lrn_ros[bags]'"),
        ("apsw", ["compare", "a", "b"], "pip install 'lrn_ros[bags]'"),
        ("rosbags", ["view", "0", "--foxglove"], "pip install 'lrn_ros[foxglove]'"),
        ("aiohttp", ["view", "0"], "pip install 'lrn_ros[view]'"),
    ],
)
def test_a_missing_dependency_says_how_to_get_it(missing, arguments, says, tmp_path, monkeypatch):
    for name in ("train", "trainannot", "val", "valannot"):
        (tmp_path / "camvid" / name).mkdir(parents=True)
    monkeypatch.setenv("LRN_DATA", str(tmp_path))
    code = f"""
import importlib.abc, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {missing!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Hidden())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == {missing!r} else real(name, *a)
from lrn_ros.cli import main
sys.exit(main({arguments!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr and done.stderr.count("\n") == 1
