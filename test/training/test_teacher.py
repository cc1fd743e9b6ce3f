# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Distillation: the loss against its formula, what the teacher sees, and that a student learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lrn_ros.errors import UserError  # noqa: E402
from lrn_ros.model.artifact import ModelInfo, read_info, save_model  # noqa: E402
from lrn_ros.model.labels import LabelSet  # noqa: E402
from lrn_ros.networks import build  # noqa: E402
from lrn_ros.training.recipe import Recipe  # noqa: E402
from lrn_ros.training.teacher import Teacher  # noqa: E402
from lrn_ros.training.trainer import Trainer  # noqa: E402

LABELS = LabelSet.load("camvid11")
CPU = torch.device("cpu")


def save(path: Path, architecture: str, seed: int, labels: LabelSet = LABELS) -> str:
    torch.manual_seed(seed)
    network = build(architecture, num_classes=len(labels))
    with torch.no_grad():
        for _ in range(3):  # so that batch norm's statistics are those of its inputs
            network.train()(torch.randn(2, 3, 64, 96))
    info = ModelInfo(
        name="random",
        architecture=architecture,
        labels=labels,
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3),
        size=(96, 128),
        license="none: random weights",
    )
    save_model(path, info, {k: v.numpy() for k, v in network.state_dict().items()})
    return str(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two models, of stride 4 and of stride 8."""
    folder = tmp_path_factory.mktemp("teachers")
    return [
        save(folder / "fine.safetensors", "efficientnet_lite0_fpn", 1),
        save(folder / "coarse.safetensors", "lrnnet_a", 2),
    ]


def teacher(model: object, temperature: float = 2.0) -> Teacher:
    return Teacher({"model": model, "weight": 0.5, "temperature": temperature}, LABELS, CPU)


def test_probabilities_are_the_models_own(models: list[str]) -> None:
    """In bfloat16, so that they agree to a percent; normalised as the model's header says."""
    images = torch.rand(2, 3, 70, 101, generator=torch.Generator().manual_seed(1))
    found = teacher(models[0])(images)
    assert found.shape == (2, 11, 18, 26) and found.dtype == torch.float32
    network, _, _ = teacher(models[0]).networks[0]
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    with torch.no_grad():
        expected = (network.coarse((images - mean) / std) / 2.0).softmax(1)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)


def test_several_are_averaged_on_the_finest_grid(models: list[str]) -> None:
    """The coarse model's scores are interpolated to the fine one's cells first."""
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    both = teacher(models, temperature=30.0)
    found = both(images)
    assert both.stride == 4 and found.shape == (1, 11, 16, 24)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 16, 24))
    expected = torch.zeros(())
    for (network, mean, std), factor in zip(both.networks, (1, 2)):
        with torch.no_grad():
            scores = network.coarse((images - mean) / std)
        scores = torch.nn.functional.interpolate(scores, scale_factor=factor, mode="bilinear")
        expected = expected + (scores / 30.0).softmax(1) / 2
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)
    assert float((found - teacher(models[0], 30.0)(images)).abs().max()) > 0.05


def test_the_loss_is_its_formula(models: list[str]) -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 11, 6, 8, generator=generator, requires_grad=True)
    target = torch.randn(2, 11, 6, 8, generator=generator).softmax(1)
    found = teacher(models[0], temperature=3.0).loss(logits, 4, target)
    guess = (logits / 3.0).double().softmax(1)
    expected = 9 * (target.double() * (target.double().log() - guess.log())).sum(1).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    found.backward()
    assert logits.grad is not None and float(logits.grad.abs().max()) > 0


def test_a_perfect_student_has_no_loss(models: list[str]) -> None:
    logits = torch.randn(1, 11, 6, 8, generator=torch.Generator().manual_seed(4))
    one = teacher(models[0], temperature=1.0)
    assert float(one.loss(logits, 4, logits.softmax(1))) == pytest.approx(0, abs=1e-5)
    coarse = torch.randn(1, 11, 3, 4, generator=torch.Generator().manual_seed(4))
    fine = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    assert float(one.loss(coarse, 8, fine.softmax(1))) == pytest.approx(0, abs=1e-5)


def test_a_student_comes_close_to_its_teacher(
    recipe: Recipe, data: Path, tmp_path: Path, models: list[str]
) -> None:
    """With weight 1 labels do not count: the divergence falls although the teacher is random."""
    plain = replace(
        recipe, steps=25, eval_every=100, scene_share=0, degrade=0, colour=0.0, options={}, ema=0.5,
        clip=0.0, teacher={"model": models[1], "weight": 1.0, "temperature": 1.0},
        stages=[{"until": 1.0, "crop": [64, 64], "scale": [1.0, 1.0]}],
    )  # fmt: skip
    run = Trainer(plain, data, tmp_path, progress=False)
    images = run.val.images[:, :, :64, :64].float() / 255
    assert run.teacher is not None

    def divergence() -> float:
        with torch.no_grad():
            logits = run.raw.network.eval().coarse((images - run.mean) / run.std)
            return float(run.teacher.loss(logits, 8, run.teacher(images)))

    before = divergence()
    run.fit()
    assert divergence() < 0.5 * before
    assert run.clock.shares["teacher"] > 0 and "teacher" in str(run.clock)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "other.safetensors", "lrnnet_a", 1, LabelSet.load("cityscapes19"))
    assert read_info(Path(path)).labels.name == "cityscapes19"
    with pytest.raises(UserError, match="classes of cityscapes19, the student those of camvid11"):
        teacher(path)
