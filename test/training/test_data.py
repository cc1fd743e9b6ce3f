# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Splits in memory: what files hold, in their order, and what is derived from it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tqdm")

from lrn_ros.data.check import digest_of  # noqa: E402
from lrn_ros.data.datasets import read_pairs  # noqa: E402
from lrn_ros.data.layouts import find_files  # noqa: E402
from lrn_ros.errors import UserError  # noqa: E402
from lrn_ros.memory import available_memory  # noqa: E402
from lrn_ros.model.labels import LabelSet  # noqa: E402
from lrn_ros.training import data as training_data  # noqa: E402
from lrn_ros.training.data import (  # noqa: E402
    Pairs,
    _fill,
    epoch_index,
    generator_for,
    load_split,
    render_scenes,
)

CAMVID = LabelSet.load("camvid11")
CITYSCAPES_LIKE = LabelSet("c", CAMVID.names, CAMVID.colors, ignore=11, void=(12,))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty images of noise, enough for every thread to have some."""
    rng = np.random.default_rng(0)
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    for i in range(40):
        rgb, label = rng.integers(0, 256, (18, 24, 3)), rng.integers(0, 12, (18, 24))
        cv2.imwrite(str(tmp_path / "train" / f"{i:02}.png"), rgb)
        cv2.imwrite(str(tmp_path / "trainannot" / f"{i:02}.png"), label)
    return tmp_path


@pytest.mark.parametrize("size", [None, (9, 16)])
def test_split_is_its_pairs(data: Path, size: tuple[int, int] | None) -> None:
    pairs = load_split(find_files(data, "train"), CAMVID, size)
    expected = list(read_pairs(data, "train", CAMVID, size))
    assert pairs.names == tuple(p.name for p in expected) and len(pairs) == 40
    assert pairs.images.dtype == pairs.labels.dtype == torch.uint8
    np.testing.assert_array_equal(
        pairs.images.permute(0, 2, 3, 1).numpy(), np.stack([p.rgb for p in expected])
    )
    np.testing.assert_array_equal(pairs.labels.numpy(), np.stack([p.label for p in expected]))


def test_every_seed_and_step_has_numbers_of_its_own() -> None:
    keys = [(seed, step, rank) for seed in (0, 1, 2) for step in range(20) for rank in (0, 1)]
    drawn = [tuple(torch.rand(4, generator=generator_for(*key)).tolist()) for key in keys]
    assert len(set(drawn)) == len(keys)
    assert drawn[7] == tuple(torch.rand(4, generator=generator_for(*keys[7])).tolist())


def test_an_epoch_uses_each_image_once() -> None:
    """Ten images, two processes, two images a step: two steps an epoch, two images left out."""
    epochs = []
    for epoch in range(3):
        steps = (2 * epoch, 2 * epoch + 1)
        found = [epoch_index(10, 2, step, 1, rank, 2) for step in steps for rank in (0, 1)]
        epochs.append(torch.cat(found).tolist())
        assert len(set(epochs[-1])) == 8 and set(epochs[-1]) <= set(range(10))
    assert epochs[0] != epochs[1] != epochs[2]
    assert epoch_index(10, 2, 3, 1, 0, 2).tolist() == epoch_index(10, 2, 3, 1, 0, 2).tolist()
    assert len({tuple(epoch_index(10, 5, 0, seed, 0, 1).tolist()) for seed in range(9)}) > 1
    with pytest.raises(UserError, match="a step takes 12 images, there are 10"):
        epoch_index(10, 6, 0, 1, 0, 2)


def test_images_of_one_size(data: Path) -> None:
    cv2.imwrite(str(data / "train" / "17.png"), np.zeros((18, 30, 3), np.uint8))
    cv2.imwrite(str(data / "trainannot" / "17.png"), np.zeros((18, 30), np.uint8))
    says = r"17.png: size \(18, 30\) but 00 is \(18, 24\);.*`size: \[18, 24\]` in the recipe"
    with pytest.raises(UserError, match=says):
        load_split(find_files(data, "train"), CAMVID)
    assert load_split(find_files(data, "train"), CAMVID, (18, 24)).images.shape == (40, 3, 18, 24)


def test_the_first_bad_file_is_named(data: Path) -> None:
    for name in ("31", "12", "35"):
        (data / "train" / f"{name}.png").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="12.png: cannot be read"):
        load_split(find_files(data, "train"), CAMVID)


def test_progress_goes_to_the_terminal_when_asked(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_split(find_files(data, "train"), CAMVID)
    assert capsys.readouterr().err == ""
    load_split(find_files(data, "train"), CAMVID, progress=True)
    assert "40/40" in capsys.readouterr().err


class TestOnDisk:
    def test_is_the_same_as_in_memory(self, data: Path, tmp_path: Path) -> None:
        files = find_files(data, "train")
        memory = load_split(files, CAMVID)
        disk = load_split(files, CAMVID, cache=tmp_path / "cache")
        assert disk.streamed and disk.names == memory.names
        assert torch.equal(disk.images, memory.images) and torch.equal(disk.labels, memory.labels)
        index = torch.tensor([5, 0, 5])
        for ours, theirs in zip(disk.batch(index), memory.batch(index)):
            assert torch.equal(ours, theirs) and ours.device == theirs.device
        assert torch.equal(disk.places, memory.places)
        assert torch.equal(disk.class_shares(11), memory.class_shares(11))
        assert digest_of(disk.facts) == digest_of(memory.facts)

    def test_is_decoded_once(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files, cache = find_files(data, "train"), tmp_path / "cache"
        first = load_split(files, CAMVID, cache=cache)
        read = []
        monkeypatch.setattr(training_data, "_fill", lambda *a: read.append(a) or _fill(*a))
        again = load_split(files, CAMVID, cache=cache)
        assert not read and torch.equal(again.images, first.images)
        assert digest_of(again.facts) == digest_of(first.facts)
        load_split(files, CAMVID, (16, 24), cache=cache)  # another size
        load_split(files, CITYSCAPES_LIKE, (16, 24), cache=cache)  # other classes
        os.utime(files[3].label, (1, 1))  # a changed file
        load_split(files, CITYSCAPES_LIKE, (16, 24), cache=cache)
        assert len(read) == 3

    def test_half_a_cache_is_none(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files, cache = find_files(data, "train"), tmp_path / "cache"

        def killed(*arguments: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(training_data, "_fill", killed)
            load_split(files, CAMVID, cache=cache)
        assert (cache / "images.u8").stat().st_size == 40 * 3 * 18 * 24
        pairs = load_split(files, CAMVID, cache=cache)
        assert torch.equal(pairs.images, load_split(files, CAMVID).images)
        (cache / "facts.npz").write_bytes(b"x")
        assert torch.equal(load_split(files, CAMVID, cache=cache).images, pairs.images)

    def test_a_full_disk_is_one_line(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(UserError, match="GB of disk, 0.0 GB are free"):
            load_split(find_files(data, "train"), CAMVID, cache=tmp_path / "cache")


def test_a_set_larger_than_memory_says_what_works(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_files(data, "train")
    monkeypatch.setattr(training_data, "available_memory", lambda: 60_000.0)
    with pytest.raises(UserError, match="of memory, .*`data: stream` in the recipe .*`size:"):
        load_split(files, CAMVID)
    monkeypatch.undo()
    assert 1e6 < available_memory() < 1e14
    many = files * 100_000
    with pytest.raises(UserError, match=r"take 7\d{3}\.\d GB of memory"):
        load_split(many, CAMVID, (512, 864))


def test_sampling_by_sequence() -> None:
    """Three images of one sequence and one of another: 1/3 : 1 where sequences are equal."""
    empty = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    pairs = Pairs(empty, empty[:, 0], ("a_1", "a_2", "b_1", "a_3"))
    for balance, ratio in ((0.0, 1.0), (0.5, 3**-0.5), (1.0, 1 / 3)):
        weights = np.array([ratio, ratio, 1, ratio])
        np.testing.assert_allclose(pairs.sampling(balance), weights / weights.sum(), rtol=1e-12)


def test_class_shares_leave_the_unlabelled_out() -> None:
    labels = torch.tensor([[[0, 0], [2, 255]], [[255, 255], [255, 2]]], dtype=torch.uint8)
    pairs = Pairs(torch.zeros(2, 3, 2, 2, dtype=torch.uint8), labels, ("a", "b"))
    assert pairs.class_shares(3).tolist() == [0.5, 0, 0.5]


def test_places_are_every_second_label() -> None:
    pairs = render_scenes(2, (64, 96), seed=1)
    assert pairs.places.shape == (2, 32, 48) and pairs.places.device.type == "cpu"
    np.testing.assert_array_equal(pairs.places.numpy(), pairs.labels.numpy()[:, 0::2, 0::2])
    assert pairs.places.is_contiguous() and pairs.places is pairs.places
