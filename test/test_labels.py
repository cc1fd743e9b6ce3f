# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Label sets: the shipped ones, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrn_ros.errors import UserError
from lrn_ros.labels import LabelSet


def test_camvid() -> None:
    labels = LabelSet.load("camvid11")
    assert len(labels) == 11 and labels.ignore == 11
    assert labels.names[0] == "sky" and labels.names[10] == "bicyclist"
    assert labels.palette[3].tolist() == [128, 64, 128]


def test_cityscapes_in_train_id_order() -> None:
    labels = LabelSet.load("cityscapes19")
    assert len(labels) == 19 and labels.ignore == 255
    assert (labels.names[0], labels.names[13], labels.names[18]) == ("road", "car", "bicycle")


def test_lookup_covers_every_byte() -> None:
    table = LabelSet.load("camvid11").lookup()
    assert table.shape == (256, 3) and table.dtype == np.uint8
    assert not table[11:].any()


def test_round_trip() -> None:
    labels = LabelSet.load("camvid11")
    assert LabelSet.from_dict(labels.to_dict(), "here") == labels


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\nclasses:\n  - {name: a, rgb: [1, 2, 3]}\n")
    assert LabelSet.load(path).names == ("a",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\n", "needs name and classes"),
        ("- 1\n", "not a label set"),
        ("name: x\nclasses: []\n", "1 to 255"),
        ("name: x\nclasses:\n  - {name: a, rgb: [1, 2]}\n", "three numbers"),
        ("name: x\nclasses:\n  - {name: a, rgb: [1, 2, 300]}\n", "0 to 255"),
        (
            "name: x\nclasses:\n  - {name: a, rgb: [1, 2, 3]}\n  - {name: a, rgb: [1, 2, 3]}\n",
            "distinct",
        ),
        ("name: [\n", "YAML"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says) as error:
        LabelSet.load(path)
    assert "bad.yaml" in str(error.value) or "label set 'x'" in str(error.value)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(UserError, match="camvid11, cityscapes19"):
        LabelSet.load("kitti")
