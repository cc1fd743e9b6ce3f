# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""lrn data: figures, exit status, contact sheet; a converted data set passes the check."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import yaml
from drawn_farm import FARM, farm, scene

from lrn_ros.cli import main


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "farm.yaml"
    path.write_text(yaml.safe_dump(FARM.to_dict()))
    return str(path)


def test_a_sound_set(tmp_path, labels, capsys):
    data, sheet = farm(tmp_path / "data"), tmp_path / "sheet.png"
    assert main(["data", "check", str(data), "--labels", labels, "--sheet", str(sheet)]) == 0
    said = capsys.readouterr().out
    assert "train: 6 images (6 of 64x96), 0.0 % unlabelled" in said and "nothing suspicious" in said
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line}
    assert sum(float(rows[n][0]) for n in FARM.names) == pytest.approx(100, abs=0.05)
    assert [rows[n][1::2] for n in FARM.names] == [["6", "3"]] * 3
    picture = cv2.imread(str(sheet))[..., ::-1].reshape(-1, 3)
    for colour in FARM.colors:  # the labels in the colours of their classes
        assert (picture == colour).all(1).sum() > 1000


def test_refused_and_as_json(tmp_path, labels, capsys):
    data = farm(tmp_path / "data", change=lambda x: (x == 2).astype(np.uint8) * 255)
    assert main(["data", "check", str(data), "--labels", labels, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["refused"] is True
    assert any(f["refused"] and "'barn'" in f["text"] for f in report["findings"])
    assert [c["name"] for c in report["splits"][0]["classes"]] == list(FARM.names)


def test_files_that_cannot_be_read(tmp_path, labels, capsys):
    data = farm(tmp_path / "data")
    (data / "images" / "val" / "a0_000.jpg").write_bytes(b"x")
    assert main(["data", "check", str(data), "--labels", labels]) == 2
    assert "cannot be read: " in capsys.readouterr().out


def test_without_a_label_set(tmp_path, capsys):
    data = farm(tmp_path / "data")
    assert main(["data", "check", str(data)]) == 2
    assert "--labels SET" in capsys.readouterr().err
    (data / "labels.yaml").write_text(yaml.safe_dump(FARM.to_dict()))
    assert main(["data", "check", str(data)]) == 0


def test_convert_then_check(tmp_path, capsys):
    """Colour masks beside the images, without splits: the result passes `lrn data check`."""
    rng, source = np.random.default_rng(0), tmp_path / "source"
    source.mkdir()
    for i in range(20):
        rgb, label = scene(rng)
        cv2.imwrite(str(source / f"x{i % 4}_{i:02}.jpg"), rgb[..., ::-1])
        colours = FARM.palette[label][..., ::-1]
        cv2.imwrite(str(source / f"x{i % 4}_{i:02}_mask.png"), colours)
    cv2.imwrite(str(source / "alone.jpg"), rgb)
    (source / "label_colors.txt").write_text(
        "".join(f"{r} {g} {b}\t{n}\n" for n, (r, g, b) in zip(FARM.names, FARM.colors))
    )
    out = tmp_path / "out"
    assert main(["data", "convert", str(source), "--output", str(out)]) == 0
    said = capsys.readouterr().out
    assert "train 15, val 5 images (split by drive)" in said and "1 images, such as" in said
    assert main(["data", "check", str(out)]) == 0
    assert "nothing suspicious" in capsys.readouterr().out
    assert main(["data", "convert", str(source), "--output", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("ids", ["road", "256=road", "x=road", "3="])
def test_bad_ids(tmp_path, capsys, ids):
    assert main(["data", "convert", str(tmp_path), "--output", "x", "--ids", ids]) == 2
    assert "ID=NAME is expected" in capsys.readouterr().err
