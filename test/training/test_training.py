# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recipes, augmentation, and that training learns and resumes exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lrn_ros.artifact import read_info, read_weights  # noqa: E402
from lrn_ros.errors import UserError  # noqa: E402
from lrn_ros.labels import LabelSet  # noqa: E402
from lrn_ros.scene import StreetScene  # noqa: E402
from lrn_ros.training.augment import Augmenter  # noqa: E402
from lrn_ros.training.data import Pairs, load_split  # noqa: E402
from lrn_ros.training.recipe import Recipe, load_recipe  # noqa: E402
from lrn_ros.training.trainer import Trainer  # noqa: E402

RECIPE = Recipe(
    name="tiny", architecture="lrnnet_c", labels="camvid11", license="none", steps=6, batch=2,
    crops=[[0.5, 64, 64], [1.0, 96, 128]], warmup=1, loss_stride=2, class_centred=0.5,
    degrade=0.5, scene_share=0.4, scene_frames=2, eval_every=100, clip=1.0,
    options={"dropout": [0.1, 0.1, 0.1]},
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rendered frames in SegNet's CamVid layout."""
    root = tmp_path_factory.mktemp("data")
    scene = StreetScene(seed=5, height=96, width=128)
    for split, count in (("train", 4), ("val", 2)):
        (root / split).mkdir()
        (root / f"{split}annot").mkdir()
        for i in range(count):
            rgb, labels = scene.frame(5 * i)
            cv2.imwrite(str(root / split / f"{i}.png"), rgb[..., ::-1])
            cv2.imwrite(str(root / f"{split}annot" / f"{i}.png"), labels)
    return root


def trainer(data: Path, output: Path, recipe: Recipe = RECIPE) -> Trainer:
    return Trainer(recipe, data, output, progress=False)


def test_resumes_exactly(data: Path, tmp_path: Path) -> None:
    whole = trainer(data, tmp_path / "whole").fit()
    first = trainer(data, tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        first.fit(stop=lambda: first.state.step == 4)
    second = trainer(data, tmp_path / "parts")
    assert second.resume() and second.state.step == 4
    parts = second.fit()
    for name, array in read_weights(whole).items():
        np.testing.assert_array_equal(array, read_weights(parts)[name], err_msg=name)


def test_released_file_says_what_it_is(data: Path, tmp_path: Path) -> None:
    info = read_info(trainer(data, tmp_path).fit())
    assert info.architecture == "lrnnet_c" and info.size == (96, 128)
    assert info.options == {}  # dropout is left behind
    assert info.provenance["steps"] == 6 and info.provenance["recipe"]["seed"] == 1
    assert 0 <= info.metrics["val"]["miou"] <= 1


def test_another_recipe_does_not_resume(data: Path, tmp_path: Path) -> None:
    trainer(data, tmp_path).fit()
    other = trainer(data, tmp_path, replace(RECIPE, lr=1e-4))
    with pytest.raises(UserError, match="another recipe"):
        other.resume()


def test_time_budget_ends_with_the_schedule_completed(data: Path, tmp_path: Path) -> None:
    run = Trainer(replace(RECIPE, steps=10**6), data, tmp_path, max_time=2.0, progress=False)
    run.fit()
    assert run.state.step < 1000 and run.progress() >= 1


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_learns_a_constant_scene(data: Path, tmp_path: Path, optimizer: str) -> None:
    recipe = replace(
        RECIPE, steps=40, optimizer=optimizer, lr=3e-3 if optimizer == "adamw" else 0.05,
        scene_share=0, degrade=0, class_centred=0, colour=0.0, scale=[1.0, 1.0], options={},
        crops=[[1.0, 96, 128]], ema=0.9,
    )  # fmt: skip
    run = trainer(data, tmp_path, recipe)
    before = run.evaluate().pixel_accuracy
    run.fit()
    assert run.evaluate().pixel_accuracy > max(0.6, before + 0.2)


def test_shipped_recipes_are_valid() -> None:
    folder = Path(__file__).parents[2] / "config" / "train"
    names = [p.stem for p in folder.glob("*.yaml")]
    assert "lrnnet_c_camvid" in names
    for name in names:
        assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "mapping"),
        ("name: x\nlearning_rate: 3\n", "unknown key 'learning_rate'"),
        ("name: x\n", "missing"),
        ("{name: x, architecture: a, labels: l, license: n, steps: 0}", "steps must be positive"),
        (
            "{name: x, architecture: a, labels: l, license: n, steps: 5, crops: [[1, 60, 64]]}",
            "of 8",
        ),
    ],
)
def test_bad_recipes_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        load_recipe(tmp_path / "bad.yaml")


class TestAugmentation:
    def pairs(self) -> Pairs:
        rgb, labels = StreetScene(seed=3, height=96, width=128).frame(0)
        images = torch.from_numpy(rgb).permute(2, 0, 1)[None].repeat(4, 1, 1, 1)
        return Pairs(images, torch.from_numpy(labels)[None].repeat(4, 1, 1), tuple("abcd"))

    def draw(self, **changes: object) -> tuple:
        augment = Augmenter(replace(RECIPE, **changes), 11)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(7)
        return augment(self.pairs(), torch.arange(4), (64, 64), generator)

    def test_shapes_and_ranges(self) -> None:
        images, labels = self.draw(loss_stride=2)
        assert images.shape == (4, 3, 64, 64) and labels.shape == (4, 32, 32)
        assert images.min() >= 0 and images.max() <= 1
        assert set(labels.unique().tolist()) <= {*range(11), 255}

    def test_same_generator_same_batch(self) -> None:
        for a, b in zip(self.draw(), self.draw()):
            assert torch.equal(a, b)

    def test_labels_follow_the_image(self) -> None:
        """Paint the image with its own class ids: both must be warped alike."""
        pairs = self.pairs()
        painted = pairs.labels[:, None].repeat(1, 3, 1, 1) * 20
        pairs = Pairs(painted, pairs.labels, pairs.names)
        recipe = replace(RECIPE, colour=0.0, degrade=0.0, loss_stride=1, scale=[0.8, 1.5])
        generator = torch.Generator().manual_seed(7)
        images, labels = Augmenter(recipe, 11)(pairs, torch.arange(4), (64, 64), generator)
        seen = (images[:, 0] * 255 / 20).round()
        inside = labels != 255
        assert inside.float().mean() > 0.5
        agree = (seen == labels)[inside].float().mean()
        assert agree > 0.85  # edges are interpolated

    def test_larger_views_pad_with_unlabelled(self) -> None:
        _, labels = self.draw(scale=[0.4, 0.4], class_centred=0.0)
        assert (labels == 255).float().mean() > 0.1

    def test_class_centred_crops_show_more_of_rare_classes(self) -> None:
        def share(centred: float) -> float:
            augment = Augmenter(replace(RECIPE, class_centred=centred, scale=[2.0, 2.0]), 11)
            generator = torch.Generator().manual_seed(1)
            pairs, rare = self.pairs(), 0.0
            for _ in range(15):
                _, labels = augment(pairs, torch.arange(4), (64, 64), generator)
                rare += sum((labels == c).flatten(1).any(1).float().mean() for c in (2, 6, 9, 10))
            return float(rare)

        assert share(1.0) > share(0.0)


def write_label(data: Path, label: np.ndarray) -> None:
    cv2.imwrite(str(data / "trainannot" / "0.png"), label)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda d: (d / "trainannot" / "0.png").unlink(), "0.png is missing"),
        (lambda d: write_label(d, np.full((96, 128), 77, np.uint8)), "id 77 is not in camvid11"),
        (lambda d: write_label(d, np.zeros((9, 9), np.uint8)), "size"),
        (lambda d: (d / "train" / "0.png").write_bytes(b"nonsense"), "cannot be read"),
        (lambda d: (d / "trainannot").rename(d / "elsewhere"), "no such folder"),
    ],
)
def test_bad_data_is_named(data: Path, tmp_path: Path, spoil: object, says: str) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    spoil(copy)  # type: ignore[operator]
    with pytest.raises(UserError, match=says):
        load_split(copy, "train", LabelSet.load("camvid11"))
