# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frame sizes survive the process, and damaged entries are forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrn_ros.inference.cache import EngineCache, FrameSizes


def test_sizes_of_the_last_run_come_back(tmp_path: Path) -> None:
    first = FrameSizes(EngineCache(tmp_path), "/segmentation")
    assert first.remembered() == []
    first.remember((100, 100))  # once, as in a zoom
    for size in ((480, 640), (720, 1280), (480, 640)) * 3:
        first.remember(size)
    assert FrameSizes(EngineCache(tmp_path), "/other").remembered() == []
    second = FrameSizes(EngineCache(tmp_path), "/segmentation")
    assert second.remembered() == [(720, 1280), (480, 640)]
    for _ in range(3):
        second.remember((360, 480))  # a run forgets what the one before had
    assert FrameSizes(EngineCache(tmp_path), "/segmentation").remembered() == [(360, 480)]


def test_many_sizes_do_not_pile_up(tmp_path: Path) -> None:
    sizes = FrameSizes(EngineCache(tmp_path), "/segmentation")
    for width in range(100, 200):
        for _ in range(3):
            sizes.remember((100, width))
    assert sizes.remembered()[:2] == [(100, 199), (100, 198)] and len(sizes.remembered()) == 8


@pytest.mark.parametrize(
    "data", [b"no json", b"[[1]]", b"7", b'[["a", 2]]', b"[[0, 5], [3, 99999]]"]
)
def test_what_is_no_size_is_ignored(tmp_path: Path, data: bytes) -> None:
    cache = EngineCache(tmp_path)
    cache.save(data, "frame sizes", "/segmentation")
    assert FrameSizes(cache, "/segmentation").remembered() == []
