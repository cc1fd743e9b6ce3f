# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Names of label mappings, and the shipped mappings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrn_ros.errors import UserError
from lrn_ros.model.labels import LabelMapping, LabelSet, find
from lrn_ros.paths import share_folder

CAMVID, CITYSCAPES = LabelSet.load("camvid11"), LabelSet.load("cityscapes19")
SHIPPED = sorted(p.stem for p in (share_folder() / "config" / "mappings").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_mapping_is_whole_and_named_after_its_sets(name: str) -> None:
    mapping = LabelMapping.load(name)
    assert name.startswith(f"{mapping.source.name}_to_")
    assert len(mapping.classes) == len(mapping.source)


def test_a_name_is_a_file_or_what_follows_the_models_set_in_one() -> None:
    for labels in (CAMVID, CITYSCAPES):
        short, long = find("drivable", labels), find(f"{labels.name}_to_drivable", labels)
        assert short == long is not None and short.source.names == labels.names
    assert find("", CAMVID) is find("identity", CAMVID) is None


def test_cityscapes_ids_are_those_of_the_data_set() -> None:
    """Compared with labels.py of cityscapesScripts: name, id, trainId."""
    known = {"road": (7, 0), "sidewalk": (8, 1), "building": (11, 2), "person": (24, 11)}
    known |= {"rider": (25, 12), "car": (26, 13), "sky": (23, 10), "bicycle": (33, 18)}
    by_label, by_train = (
        mapping.target
        for name in ("cityscapes_labelids", "cityscapes_trainids")
        if (mapping := find(name, CAMVID))
    )
    assert by_label.names == by_train.names and not by_train.ids
    for name, (label, train) in known.items():
        assert by_label.ids[by_label.names.index(name)] == label
        assert by_train.names.index(name) == train


def test_the_road_is_drivable_and_nothing_else_is() -> None:
    mapping = find("drivable", CAMVID)
    assert mapping is not None and mapping.target.names == ("not drivable", "drivable")
    road = CAMVID.names.index("road")
    masks = mapping(np.arange(256, dtype=np.uint8)[None])[0]
    assert [i for i, target in enumerate(masks) if target == 1] == [road]
    assert set(masks[11:]) == {255}


def test_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my.yaml").write_text(
        "name: mine\nclasses: [{name: a, id: 9, rgb: [1, 2, 3]}, {name: b, id: 4, rgb: [4, 5, 6]}]"
    )
    pairs = "".join(f"  {n}: {'a' if n == 'road' else 'null'}\n" for n in CAMVID.names)
    (tmp_path / "to_mine.yaml").write_text(f"from: camvid11\nto: my.yaml\nclasses:\n{pairs}")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (str(tmp_path / "to_mine.yaml"), "~/to_mine.yaml"):
        mapping = find(name, CAMVID)
        assert mapping is not None and mapping.target.ids == (9, 4)
        assert mapping.classes[CAMVID.names.index("road")] == 0


def test_what_does_not_fit_is_named_with_what_does() -> None:
    with pytest.raises(UserError, match="'nonesuch' is unknown; for camvid11 there are identity, "):
        find("nonesuch", CAMVID)
    with pytest.raises(UserError, match="of camvid11, but the model has those of cityscapes19"):
        find("camvid11_to_drivable", CITYSCAPES)
    with pytest.raises(UserError, match="no/such.yaml: cannot be read"):
        find("/no/such.yaml", CAMVID)
