# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Augmentation: geometry, class-centred crops, mixing, and that a batch depends on its seed."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from lrn_ros.scene import StreetScene  # noqa: E402
from lrn_ros.training.augment import Augmenter  # noqa: E402
from lrn_ros.training.data import Pairs  # noqa: E402
from lrn_ros.training.recipe import Recipe, Stage  # noqa: E402

EVEN = torch.full((11,), 1 / 11)
RARE = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.05, 0.05, 0.01, 0.02, 0.05, 0.01, 0.01])


@pytest.fixture
def pairs() -> Pairs:
    """Four times the same rendered frame."""
    rgb, labels = StreetScene(seed=3, height=96, width=128).frame(0)
    images = torch.from_numpy(rgb).permute(2, 0, 1)[None].repeat(4, 1, 1, 1)
    return Pairs(images, torch.from_numpy(labels)[None].repeat(4, 1, 1), tuple("abcd"))


def draw(
    pairs: Pairs, recipe: Recipe, scale: tuple[float, float] = (0.5, 2.0), seed: int = 7
) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    stage = Stage((64, 64), scale)
    return Augmenter(recipe, EVEN, pairs)(pairs, torch.arange(len(pairs)), stage, generator)


def test_shapes_and_ranges(pairs: Pairs, recipe: Recipe) -> None:
    images, labels = draw(pairs, replace(recipe, loss_stride=2))
    assert images.shape == (4, 3, 64, 64) and labels.shape == (4, 32, 32)
    assert images.min() >= 0 and images.max() <= 1
    assert set(labels.unique().tolist()) <= {*range(11), 255}


def test_same_generator_same_batch(pairs: Pairs, recipe: Recipe) -> None:
    for a, b in zip(draw(pairs, recipe), draw(pairs, recipe)):
        assert torch.equal(a, b)
    assert not torch.equal(draw(pairs, recipe)[0], draw(pairs, recipe, seed=8)[0])


def test_labels_follow_the_image(pairs: Pairs, recipe: Recipe) -> None:
    """Paint the image with its own class ids: both must be warped alike."""
    painted = pairs.labels[:, None].repeat(1, 3, 1, 1) * 20
    pairs = Pairs(painted, pairs.labels, pairs.names)
    recipe = replace(recipe, colour=0.0, degrade=0.0, loss_stride=1)
    images, labels = draw(pairs, recipe, (0.8, 1.5))
    seen = (images[:, 0] * 255 / 20).round()
    inside = labels != 255
    assert inside.float().mean() > 0.5
    agree = (seen == labels)[inside].float().mean()
    assert agree > 0.85  # edges are interpolated


PLAIN = {
    "flip": 0.0, "rotate": 0.0, "aspect": 0.0, "colour": 0.0, "degrade": 0.0,
    "class_centred": 0.0, "loss_stride": 1,
}  # fmt: skip


def plain(recipe: Recipe, **changes: object) -> Recipe:
    return replace(recipe, **(PLAIN | changes))  # type: ignore[arg-type]


def whole_images(pairs: Pairs, recipe: Recipe, stage: Stage | None = None, seed: int = 7) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    index = torch.arange(len(pairs))
    stage = stage or Stage((96, 128), (1.0, 1.0))
    return Augmenter(recipe, EVEN, pairs)(pairs, index, stage, generator)


def test_everything_off_gives_the_images_themselves(pairs: Pairs, recipe: Recipe) -> None:
    images, labels = whole_images(pairs, plain(recipe))
    assert torch.equal(labels, pairs.labels.long())
    torch.testing.assert_close(images, pairs.images / 255, atol=2e-3, rtol=0)


def test_flip_of_every_image(pairs: Pairs, recipe: Recipe) -> None:
    images, labels = whole_images(pairs, plain(recipe, flip=1.0))
    assert torch.equal(labels, pairs.labels.long().flip(2))
    torch.testing.assert_close(images, pairs.images.flip(3) / 255, atol=2e-3, rtol=0)


def test_shift_moves_by_whole_pixels_and_leaves_the_border_unlabelled(
    pairs: Pairs, recipe: Recipe
) -> None:
    """Every result is the image moved by -2 to 2 pixels; all 25 moves occur."""
    padded = torch.nn.functional.pad(pairs.labels[:1].long(), (2, 2, 2, 2), value=255)
    moves = {(y, x): padded[0, y : y + 96, x : x + 128] for y in range(5) for x in range(5)}
    seen = set()
    for seed in range(60):
        images, labels = whole_images(pairs, plain(recipe, shift=2), seed=seed)
        for image, label in zip(images, labels):
            (move,) = [m for m, expected in moves.items() if torch.equal(label, expected)]
            seen.add(move)
            assert (image[:, label == 255] < 2e-3).all()
    assert seen == set(moves)


def test_discrete_scales(pairs: Pairs, recipe: Recipe) -> None:
    """A scale shows in the share that is labelled where the view is larger than the image."""
    stage = Stage((192, 256), (1.0, 1.0), (0.5, 1.0, 2.0))
    shares = []
    for seed in range(30):
        _, labels = whole_images(pairs, plain(recipe), stage, seed)
        shares += (labels != 255).float().mean((1, 2)).tolist()
    counts = [sum(abs(s - scale**2 / 4) < 0.01 for s in shares) for scale in (0.5, 1.0, 2.0)]
    assert sum(counts) == 120 and min(counts) > 20


def test_larger_views_pad_with_unlabelled(pairs: Pairs, recipe: Recipe) -> None:
    _, labels = draw(pairs, replace(recipe, class_centred=0.0), (0.4, 0.4))
    assert (labels == 255).float().mean() > 0.1


def test_class_centred_crops_show_more_of_rare_classes(pairs: Pairs, recipe: Recipe) -> None:
    def share(centred: float) -> float:
        rare = 0.0
        for seed in range(15):
            changed = replace(recipe, class_centred=centred)
            _, labels = draw(pairs, changed, (2.0, 2.0), seed)
            rare += sum(
                float((labels == c).flatten(1).any(1).float().mean()) for c in (2, 6, 9, 10)
            )
        return rare

    assert share(1.0) > share(0.0)


def test_colours_are_taken_from_another_sequence(pairs: Pairs, recipe: Recipe) -> None:
    """Two drives, one dark: with style 1 and full strength an image has the other's mean."""
    dark = (pairs.images.float() * 0.3).byte()
    images = torch.cat([pairs.images[:2], dark[:2]])
    two = Pairs(images, pairs.labels, ("day_1", "day_2", "dusk_1", "dusk_2"))
    assert two.colours[0, 0].mean() > 2 * two.colours[2, 0].mean()
    plain = replace(recipe, colour=0.0, degrade=0.0, class_centred=0.0, rotate=0.0, aspect=0.0)

    def means(style: float, sequences: Pairs) -> torch.Tensor:
        found = []
        for seed in range(12):
            drawn, _ = draw(sequences, replace(plain, style=style), (0.99, 1.0), seed)
            found.append(drawn.mean((1, 2, 3)))
        return torch.stack(found)

    before, after = means(0.0, two), means(1.0, two)
    assert (after[:, :2] < before[:, :2]).all() and (after[:, 2:] > before[:, 2:]).all()
    half = (means(0.5, two) - before).abs() > 1e-6
    assert 0.2 < half.float().mean() < 0.8
    alone = Pairs(images, pairs.labels, ("a_1", "a_2", "a_3", "a_4"))
    assert torch.equal(means(1.0, alone), means(0.0, alone))


def test_rotation_and_aspect_are_keys(pairs: Pairs, recipe: Recipe) -> None:
    """Without them, flips, shift and scale are left: a column stays a column."""
    ramp = torch.arange(128, dtype=torch.uint8)[None, None, None].repeat(4, 3, 96, 1)
    columns = Pairs(ramp, pairs.labels, pairs.names)
    plain = replace(recipe, colour=0.0, degrade=0.0, class_centred=0.0, rotate=0.0, aspect=0.0)
    images, _ = draw(columns, plain, (1.5, 2.0))
    assert float((images - images[:, :, :1]).abs().max()) < 1e-4
    turned, _ = draw(columns, replace(plain, rotate=10.0), (1.5, 2.0))
    assert float((turned - turned[:, :, :1]).abs().max()) > 0.02


class TestMix:
    def mixed(self, recipe: Recipe, share: float, stride: int = 2) -> tuple:
        """Image i is of colour i / 4 and class i, but for a block of class 9 in image 0."""
        recipe = replace(recipe, class_mix=share, loss_stride=stride)
        labels = torch.arange(4)[:, None, None].repeat(1, 8, 8)
        labels[0, 2:4, 2:6] = 9
        images = (torch.arange(4) / 4)[:, None, None, None].repeat(1, 3, 8 * stride, 8 * stride)
        generator = torch.Generator().manual_seed(5)
        styles = Pairs(images, labels, tuple("abcd"))
        found = [Augmenter(recipe, RARE, styles).mix(images, labels, generator) for _ in range(20)]
        return images, labels, found

    def test_rare_objects_are_pasted_with_their_labels(self, recipe: Recipe) -> None:
        images, labels, found = self.mixed(recipe, 1.0)
        pasted = 0
        for new_images, new_labels in found:
            assert torch.equal(new_labels[2:], labels[2:])  # nothing rare before them
            assert torch.equal(new_images[2:], images[2:])
            moved = new_labels[1] == 9
            assert int(moved.sum()) in (0, 8)
            fine = moved.repeat_interleave(2, 0).repeat_interleave(2, 1)
            assert (new_images[1][:, fine] == 0).all()  # the colour of image 0
            assert (new_images[1][:, ~fine] == 0.25).all()
            pasted += bool(moved.any())
        assert 5 <= pasted <= 15  # each rare class is pasted with probability 1/2

    def test_none_at_zero(self, recipe: Recipe) -> None:
        images, labels, found = self.mixed(recipe, 0.0, stride=1)
        assert all(torch.equal(i, images) and torch.equal(t, labels) for i, t in found)
