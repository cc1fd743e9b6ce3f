# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Label sets: the shipped ones, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelSet


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


def test_round_trip_with_ids() -> None:
    labels = LabelSet.load("cityscapes19")
    assert labels.ids[:3] == (7, 8, 11) and len(labels.void) == 15
    assert LabelSet.from_dict(labels.to_dict(), "here") == labels


def test_sets_without_ids_are_written_without() -> None:
    """Headers of models stay as they are."""
    data = LabelSet.load("camvid11").to_dict()
    assert set(data) == {"name", "ignore", "classes"}
    assert all(set(c) == {"name", "rgb"} for c in data["classes"])


def test_id_table() -> None:
    labels = LabelSet("x", ("a", "b"), ((0, 0, 0), (1, 1, 1)), ignore=3, ids=(7, 4), void=(5, 0))
    expected = np.full(256, -1)
    expected[[7, 4]] = [0, 1]
    expected[[3, 5, 0, 255]] = 255
    np.testing.assert_array_equal(labels.id_table(), expected)


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\nclasses:\n  - {name: a, rgb: [1, 2, 3]}\n")
    assert LabelSet.load(path).names == ("a",)


def own(*classes: str, **more: object) -> str:
    """YAML of a label set x."""
    lines = ["name: x", *(f"{k}: {v}" for k, v in more.items()), "classes:"]
    return "\n".join([*lines, *(f"  - {c}" for c in classes)])


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
            "a name of its own",
        ),
        ("name: [\n", "YAML"),
        (own("{name: a, rgb: [1, 2, 3], id: 4}", "{name: b, rgb: [1, 2, 3]}"), "all classes or"),
        (own("{name: a, rgb: [1, 2, 3], id: 255}"), "0 to 254"),
        (own("{name: a, id: 4, rgb: [1, 2, 3]}", "{name: b, id: 4, rgb: [1, 2, 3]}"), "different"),
        (own("{name: a, id: 4, rgb: [1, 2, 3]}", void=[9, 4]), "id 4 is both 'a' and unlabelled"),
        (own("{name: a, rgb: [1, 2, 3]}", ignore=0), "id 0 is both 'a' and unlabelled"),
        (own("{name: a, rgb: [1, 2, 3]}", void=[256]), "void must be different ids from 0 to 255"),
        (own("{name: a, rgb: [1, 2, 3]}", void=[9, 9]), "void must be different ids"),
        (own("{name: a, rgb: [1, 2, 3]}", void=9), "not a label set"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says) as error:
        LabelSet.load(path)
    assert "bad.yaml" in str(error.value) or "label set 'x'" in str(error.value)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(UserError, match="camvid11, camvid32, cityscapes19"):
        LabelSet.load("kitti")
