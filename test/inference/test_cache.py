# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled engines: a damaged or foreign entry is never returned."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lrn_ros.inference.cache import EngineCache, default_folder

DATA = bytes(range(256)) * 4


def entry(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_saved_under_the_whole_key(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    EngineCache(folder).save(DATA, "openvino", "1", "360x480")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    cache = EngineCache(folder)
    assert cache.load("openvino", "1", "360x480") == DATA
    for other in (("openvino", "1"), ("openvino", "1", "480x360"), ("openvino", "1360x480")):
        assert cache.load(*other) is None
    cache.save(b"newer", "openvino", "1", "360x480")
    assert cache.load("openvino", "1", "360x480") == b"newer" and entry(folder)


@pytest.mark.parametrize("damage", ["empty", "short", "digest only", "one bit", "longer"])
def test_damaged_entries_are_not_returned(tmp_path: Path, damage: str) -> None:
    cache = EngineCache(tmp_path)
    cache.save(DATA, "key")
    path = entry(tmp_path)
    whole = path.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    path.write_bytes(
        {
            "empty": b"",
            "short": whole[:-1],
            "digest only": whole[:32],
            "one bit": flipped,
            "longer": whole + b"\0",
        }[damage]
    )
    assert cache.load("key") is None
    cache.save(DATA, "key")
    assert cache.load("key") == DATA


def test_an_entry_put_under_another_name_is_not_returned(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.save(DATA, "one")
    data = entry(tmp_path).read_bytes()
    cache.save(b"", "two")
    for path in tmp_path.iterdir():
        path.write_bytes(data)
    assert cache.load("one") == DATA and cache.load("two") is None


def test_a_folder_that_cannot_be_made_is_said_and_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    cache = EngineCache(tmp_path / "file" / "cache")
    assert "not kept" in caplog.text and str(tmp_path / "file") in caplog.text
    cache.save(DATA, "key")
    assert cache.load("key") is None


def test_a_folder_that_others_can_write_is_said_and_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o777)
    cache = EngineCache(tmp_path)
    assert "chmod go-w" in caplog.text and str(tmp_path) in caplog.text
    cache.save(DATA, "key")
    assert not any(tmp_path.iterdir())


def test_the_folder_goes_away_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = EngineCache(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("a file now")
    cache.save(DATA, "key")
    assert "not kept" in caplog.text and cache.load("key") is None


def test_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "lrn_ros"
    for unusable in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        monkeypatch.setenv("HOME", str(tmp_path / "me"))
        assert default_folder() == tmp_path / "me" / ".cache" / "lrn_ros"


def test_the_folder_does_not_grow_without_end(tmp_path: Path) -> None:
    """Of more than 64 entries those go that were not used for longest; reading is use."""
    cache = EngineCache(tmp_path)
    for i in range(64):
        cache.save(DATA, str(i))
        newest = max(tmp_path.iterdir(), key=lambda p: p.stat().st_mtime_ns)
        os.utime(newest, (1000 + i, 1000 + i))
    assert cache.load("0") == DATA
    for i in range(64, 70):
        cache.save(DATA, str(i))
    assert len(list(tmp_path.iterdir())) == 64
    kept = [i for i in range(70) if cache.load(str(i)) is not None]
    assert kept == [0, *range(7, 70)]
