# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop learns, resumes exactly and ends in time; heads, processes, bad input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lrn_ros.errors import RunError, UserError  # noqa: E402
from lrn_ros.metrics.confusion import Scores  # noqa: E402
from lrn_ros.model.artifact import read_info, read_weights  # noqa: E402
from lrn_ros.model.labels import LabelSet  # noqa: E402
from lrn_ros.training.recipe import Recipe  # noqa: E402
from lrn_ros.training.release import draw_curve, read_log, release  # noqa: E402
from lrn_ros.training.schedule import PHASES  # noqa: E402
from lrn_ros.training.start import check_layout, make_network  # noqa: E402
from lrn_ros.training.trainer import Trainer  # noqa: E402

WHOLE = [{"until": 1.0, "crop": [96, 128], "scale": [1.0, 1.0]}]


def trainer(recipe: Recipe, data: Path, output: Path, **options: object) -> Trainer:
    options = {"progress": False} | options
    return Trainer(recipe, data, output, **options)  # type: ignore[arg-type]


def weights(run: Trainer) -> dict[str, np.ndarray]:
    return {k: v.numpy() for k, v in run.average.state_dict().items()}


def assert_equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)


def stopped_at(run: Trainer, step: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run.fit(stop=lambda: run.state.step == step)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "optimizer": "sgd",
            "schedule": "one_cycle",
            "auxiliary": {"layer": "encoder.5", "weight": 0.4},
            "contrastive": {
                "layer": "svn", "weight": 0.5, "temperature": 0.1, "samples": 64, "dim": 8,
            },
            "ohem": {"threshold": 0.7, "keep": 0.1},
            "bn_freeze": 0.5,
        },
        {
            "sampling": "epoch", "scene_share": 0.0, "sequence_balance": 0.0, "shift": 2,
            "lr_every": 2, "decayed": "all",
        },
    ],
    ids=["plain", "everything", "epochs"],
)  # fmt: skip
def test_resumes_exactly(recipe: Recipe, data: Path, tmp_path: Path, changes: dict) -> None:
    recipe = replace(recipe, **changes)
    whole = trainer(recipe, data, tmp_path / "whole")
    whole.fit()
    stopped_at(trainer(recipe, data, tmp_path / "parts"), 4)
    parts = trainer(recipe, data, tmp_path / "parts")
    assert parts.resume() and parts.state.step == 4
    parts.fit()
    assert_equal(weights(whole), weights(parts))


def test_a_longer_schedule_extends_a_run(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    trainer(recipe, data, tmp_path).fit()
    longer = trainer(replace(recipe, steps=10), data, tmp_path)
    assert longer.resume() and longer.progress() == 0.6
    longer.fit()
    assert longer.state.step == 10


def test_another_recipe_does_not_resume(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    trainer(recipe, data, tmp_path).save()
    other = trainer(replace(recipe, lr=1e-4), data, tmp_path)
    with pytest.raises(UserError, match=r"another recipe \(lr was 0.003\)"):
        other.resume()


class TestResumingWithOtherData:
    """The same output folder after something about the data has changed."""

    @pytest.fixture
    def copy(self, recipe: Recipe, data: Path, tmp_path: Path) -> Path:
        shutil.copytree(data, tmp_path / "data")
        trainer(recipe, data, tmp_path / "run").save()
        return tmp_path / "data"

    def says(self, recipe: Recipe, data: Path, tmp_path: Path) -> str:
        with pytest.raises(UserError, match="made with other data") as refused:
            trainer(recipe, data, tmp_path / "run").resume()
        return str(refused.value)

    def test_elsewhere_is_the_same(self, recipe: Recipe, copy: Path, tmp_path: Path) -> None:
        assert trainer(recipe, copy, tmp_path / "run").resume()

    def test_an_image_less(self, recipe: Recipe, copy: Path, tmp_path: Path) -> None:
        (copy / "train" / "two_3.png").unlink()
        text = self.says(recipe, copy, tmp_path)
        assert "number of images of the training: 4 before, 3 now" in text and "--restart" in text

    def test_another_image(self, recipe: Recipe, copy: Path, tmp_path: Path) -> None:
        shutil.copy(copy / "train" / "one_1.png", copy / "train" / "one_0.png")
        assert "contents of the files of the training" in self.says(recipe, copy, tmp_path)

    def test_another_label_of_val(self, recipe: Recipe, copy: Path, tmp_path: Path) -> None:
        shutil.copy(copy / "valannot" / "one_1.png", copy / "valannot" / "one_0.png")
        assert "contents of the files of the validation" in self.says(recipe, copy, tmp_path)

    def test_another_name(self, recipe: Recipe, copy: Path, tmp_path: Path) -> None:
        for folder in ("train", "trainannot"):
            (copy / folder / "two_3.png").rename(copy / folder / "two_4.png")
        assert "names of the files of the training" in self.says(recipe, copy, tmp_path)

    @pytest.mark.parametrize("change", ["swap", "more"])
    def test_classes(self, recipe: Recipe, copy: Path, tmp_path: Path, change: str) -> None:
        labels = LabelSet.load("camvid11").to_dict()
        classes = labels["classes"]
        if change == "swap":
            classes[0]["name"], classes[1]["name"] = classes[1]["name"], classes[0]["name"]
        else:
            classes.append({"name": "cow", "rgb": [1, 2, 3]})
            labels["ignore"] = 255
        path = tmp_path / "camvid11.yaml"
        path.write_text(yaml.safe_dump(labels | {"void": [12]}))
        other = replace(recipe, labels=str(path))
        assert "classes of the label set" in self.says(other, copy, tmp_path)


def test_from_disk_is_as_from_memory(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    memory, disk = (
        trainer(replace(recipe, data=kind, style=0.5), data, tmp_path / kind)
        for kind in ("memory", "stream")
    )
    for run in (memory, disk):
        run.fit()
    assert_equal(weights(memory), weights(disk))


class TestWhatIsShown:
    def test_the_best_weights(
        self, recipe: Recipe, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Figures that rise and fall: the best is kept over a stop, released, and said."""
        recipe = replace(recipe, steps=10, eval_every=2, keep_best=True)
        figures = iter([0.1, 0.5, 0.4, 0.3, 0.2])
        at_best = {}

        def evaluate(self: Trainer, full_precision: bool = False) -> Scores:
            if full_precision:
                return real(self, True)
            found = replace(real(self), miou=next(figures))
            if found.miou == 0.5:
                at_best.update({k: v.copy() for k, v in weights(self).items()})
            return found

        real = Trainer.evaluate
        monkeypatch.setattr(Trainer, "evaluate", evaluate)
        stopped_at(trainer(recipe, data, tmp_path), 7)
        run = trainer(recipe, data, tmp_path)
        run.resume()
        run.fit()
        assert (run.state.best, run.state.best_step) == (0.5, 4)
        made = release(run)
        assert_equal(read_weights(made.model), at_best)
        assert "best evaluation" in made.card.read_text()

    def test_lost_patience_ends_the_run(
        self, recipe: Recipe, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Trainer.evaluate
        monkeypatch.setattr(Trainer, "evaluate", lambda self: replace(real(self), miou=0.3))
        run = trainer(replace(recipe, steps=20, eval_every=2, patience=3), data, tmp_path)
        run.fit()
        assert run.state.step == 8 and run.progress() == 1

    def test_figures_by_class_and_a_picture(
        self, recipe: Recipe, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import cv2

        run = trainer(recipe, data, tmp_path, progress=True)
        run.fit()
        said = capsys.readouterr()
        assert "step 3 of 6, " in said.out and "min left: val mIoU" in said.out
        assert all(name in said.out for name in run.labels.names)
        rows = [r for r in read_log(tmp_path / "log") if "val_miou" in r]
        figures = run.evaluate().iou[run.labels.names.index("road")]
        assert rows[-1]["val_iou/road"] == pytest.approx(figures, abs=1e-3)
        # Three validation images in three columns of 480 pixels.
        assert cv2.imread(str(tmp_path / "val.jpg")).shape == (3 * (360 + 6) + 28 * 3, 1464, 3)


def test_a_damaged_checkpoint_is_named(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a checkpoint"):
        trainer(recipe, data, tmp_path).resume()


def test_a_checkpoint_with_code_in_it_is_refused(
    recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"recipe": asdict(recipe), "step": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match="not a checkpoint"):
        trainer(recipe, data, tmp_path).resume()
    assert not (tmp_path / "ran").exists()


def test_time_budget_ends_with_the_schedule_completed(
    recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    run = trainer(replace(recipe, steps=10**6, max_minutes=2 / 60), data, tmp_path)
    run.fit()
    assert run.state.step < 1000 and run.progress() >= 1
    assert run.optimizer.param_groups[0]["lr"] < 0.5 * recipe.lr


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw"},
        {"optimizer": "adam", "class_weights": "median"},
        {"optimizer": "sgd", "lr": 0.05, "ohem": {"threshold": 0.7, "keep": 0.2}},
        {
            "auxiliary": {"layer": "encoder.5", "weight": 0.4},
            "contrastive": {
                "layer": "svn", "weight": 0.1, "temperature": 0.1, "samples": 64, "dim": 8,
            },
        },
        {"precision": "bf16-mixed", "schedule": "one_cycle"},
    ],
    ids=["adamw", "adam-median", "sgd-ohem", "heads", "bf16"],
)  # fmt: skip
def test_learns_a_constant_scene(recipe: Recipe, data: Path, tmp_path: Path, changes: dict) -> None:
    plain = replace(
        recipe, steps=40, eval_every=100, scene_share=0, degrade=0, class_centred=0, class_mix=0,
        colour=0.0, stages=WHOLE, options={}, ema=0.9,
    )  # fmt: skip
    run = trainer(replace(plain, **changes), data, tmp_path)
    before = run.evaluate().pixel_accuracy
    run.fit()
    assert run.evaluate().pixel_accuracy > max(0.6, before + 0.2)
    assert set(run.clock.shares) == set(PHASES)
    assert sum(run.clock.shares.values()) == pytest.approx(1)
    assert run.clock.images_per_second < run.clock.forward_images_per_second()


def test_frozen_batch_norm_keeps_its_statistics(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    run = trainer(replace(recipe, bn_freeze=0.0), data, tmp_path)
    before = run.raw.network.encoder[0].norm.running_mean.clone()
    weight = run.raw.network.encoder[0].conv.weight.detach().clone()
    run.fit()
    assert torch.equal(run.raw.network.encoder[0].norm.running_mean, before)
    assert not torch.equal(run.raw.network.encoder[0].conv.weight, weight)


def test_a_drive_can_be_held_out(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    run = trainer(replace(recipe, holdout=["two"]), data, tmp_path)
    assert run.val.names == ("two_3",) and run.train.names == ("one_0", "one_1", "one_2")
    whole = trainer(recipe, data, tmp_path / "whole")
    assert torch.equal(run.val.images[0], whole.train.images[3])
    assert torch.equal(run.train.labels, whole.train.labels[:3])
    for wrong in (["three"], ["one", "two"]):
        with pytest.raises(UserError, match="of the sequences one, two"):
            trainer(replace(recipe, holdout=wrong), data, tmp_path)


def test_starts_from_a_model(
    recipe: Recipe, data: Path, tmp_path: Path, random_model: Path
) -> None:
    run = trainer(replace(recipe, init=str(random_model)), data, tmp_path)
    found, expected = weights(run), read_weights(random_model)
    shapes = {k: v for k, v in expected.items() if found[k].ndim}  # without batch counters
    assert_equal({k: found[k] for k in shapes}, shapes)
    # Model A has no SVN: the rest fits.
    smaller = replace(recipe, init=str(random_model), architecture="lrnnet_a")
    found = weights(trainer(smaller, data, tmp_path))
    np.testing.assert_array_equal(
        found["encoder.0.conv.weight"], read_weights(random_model)["encoder.0.conv.weight"]
    )
    other = replace(recipe, init=str(random_model), architecture="lrnnet_ssnbt")
    with pytest.raises(UserError, match="do not fit lrnnet_ssnbt"):
        trainer(other, data, tmp_path)


@pytest.mark.parametrize("decayed", ["weights", "all"])
def test_which_tensors_decay(recipe: Recipe, data: Path, tmp_path: Path, decayed: str) -> None:
    recipe = replace(recipe, optimizer="adam", weight_decay=0.1, decayed=decayed)
    run = trainer(recipe, data, tmp_path)
    plain = [p for g in run.optimizer.param_groups if not g["weight_decay"] for p in g["params"]]
    decaying = [p for g in run.optimizer.param_groups if g["weight_decay"] for p in g["params"]]
    assert len(plain) + len(decaying) == len(list(run.raw.parameters()))
    if decayed == "all":
        assert not plain
    else:
        assert {p.ndim for p in plain} == {1} and {p.ndim for p in decaying} == {4}


@pytest.mark.parametrize(
    ("head", "parameters"),
    [
        # The second block of NDNet-45 has 128 channels; there are 11 classes.
        ("two_convolutions", 128 * 128 + 2 * 128 + 128 * 11 + 11),
        ("convolution", 128 * 11 + 11),
        ("separable", 9 * 128 + 128 * 128 + 2 * 128 + 128 * 11 + 11),
    ],
)
def test_kinds_of_heads(
    recipe: Recipe, data: Path, tmp_path: Path, head: str, parameters: int
) -> None:
    auxiliary = {"layer": "blocks.1", "weight": 0.4, "head": head}
    recipe = replace(recipe, architecture="ndnet45", options={}, auxiliary=auxiliary)
    run = trainer(recipe, data, tmp_path)
    assert sum(p.numel() for p in run.raw.heads.parameters()) == parameters
    run.fit()
    assert run.state.step == 6


@pytest.mark.parametrize("loss_stride", [1, 2])
def test_the_loss_sees_what_the_network_shows(
    recipe: Recipe, data: Path, tmp_path: Path, loss_stride: int
) -> None:
    """NDNet's stride 32 does not divide 96 x 120: rows and columns must not be stretched."""
    from torch.nn import functional as F

    recipe = replace(recipe, architecture="ndnet45", options={}, loss_stride=loss_stride)
    run = trainer(recipe, data, tmp_path)
    x = torch.randn(2, 3, 88, 120)
    labels = torch.randint(0, 11, (2, 88, 120))
    outputs = run.raw.eval()(x)
    full = run.raw.network(x)
    if loss_stride > 1:  # the mean of the four pixels around the coarse label's centre
        full, labels = F.avg_pool2d(full, 2), labels[:, ::2, ::2]
    expected = F.cross_entropy(full, labels, run.weights)
    torch.testing.assert_close(run._loss(outputs, labels), expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"architecture": "unet"}, "unet"),
        ({"options": {"width": 3}}, "width"),
        ({"auxiliary": {"layer": "decoder", "weight": 1}}, "no layer 'decoder'; there are encoder"),
        ({"labels": "cityscapes19"}, "scene_share works only with camvid11"),
        ({"init": "nothing"}, "nothing"),
    ],
)
def test_bad_recipes_are_named(
    recipe: Recipe, data: Path, tmp_path: Path, changes: dict, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        trainer(replace(recipe, **changes), data, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_half_precision_needs_a_gpu(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a GPU"):
        trainer(replace(recipe, precision="16-mixed"), data, tmp_path)


def test_released_files_say_what_they_are(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    import cv2

    recipe = replace(recipe, steps=40, eval_every=20)
    stopped_at(trainer(recipe, data, tmp_path), 20)
    run = trainer(recipe, data, tmp_path)
    run.resume()
    run.fit()
    made = release(run)
    info = read_info(made.model)
    assert info.architecture == "lrnnet_c" and info.size == (96, 128)
    assert info.options == {}  # dropout is left behind
    assert info.provenance["steps"] == 40 and info.provenance["recipe"]["seed"] == 1
    assert info.metrics["val"]["miou"] == round(run.evaluate(full_precision=True).miou, 4)
    assert_equal(read_weights(made.model), weights(run))
    rows = read_log(tmp_path / "log")
    assert [r["step"] for r in rows if "loss" in r] == [20, 40]
    assert [r["step"] for r in rows if "val_miou" in r] == [20, 40]
    assert cv2.imread(str(made.curve)).shape == (500, 700, 3)
    text = made.card.read_text(encoding="utf-8")
    assert f"| **mean** | **{100 * info.metrics['val']['miou']:.1f}** |" in text
    assert "40 steps of 2 images" in text and "](tiny.png)" in text
    recipe_text = text.partition("```yaml\n")[2].partition("```")[0]
    assert Recipe(**yaml.safe_load(recipe_text)) == recipe  # the card reproduces the run


def test_a_finished_run_is_released_in_half_precision(
    recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    run = trainer(replace(recipe, steps=2), data, tmp_path)
    run.fit()
    whole = release(run).model.stat().st_size
    again = trainer(replace(recipe, steps=2, storage="float16", temperature=1.5), data, tmp_path)
    assert again.resume()
    made = release(again)
    stored = read_weights(made.model)
    assert {a.dtype.name for a in stored.values() if a.dtype.kind == "f"} == {"float16"}
    assert made.model.stat().st_size < 0.6 * whole
    kept = {k: v.astype(np.float32) for k, v in stored.items() if v.dtype.kind == "f"}
    assert_equal(kept, {k: v for k, v in weights(again).items() if k in kept})
    assert read_info(made.model).temperature == 1.5
    assert made.scores.miou == again.evaluate(full_precision=True).miou


def test_log_of_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    for version, text in enumerate(
        ("step,loss,val_miou\n20,3,\n40,2,\n40,,0.1\n60,9,\n", "step,loss\n60,1\n80,0.5\n")
    ):
        folder = tmp_path / f"version_{version}"
        folder.mkdir()
        (folder / "metrics.csv").write_text(text)
    unfinished = tmp_path / "version_2"  # by a process that was killed within a line
    unfinished.mkdir()
    (unfinished / "metrics.csv").write_text("step,loss\n100,0.25\n120,1e")
    assert read_log(tmp_path) == [
        {"step": 20, "loss": 3},
        {"step": 40, "loss": 2, "val_miou": 0.1},
        {"step": 60, "loss": 1},
        {"step": 80, "loss": 0.5},
        {"step": 100, "loss": 0.25},
    ]


def test_two_processes_train_one_model(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    """DDP with gloo: gradients are shared, the images are not; resumes; one model file."""
    path = tmp_path / "recipe.yaml"
    recipe = replace(recipe, scene_share=0, options={})
    path.write_text(yaml.safe_dump(asdict(recipe)))
    command = [sys.executable, "-m", "lrn_ros", "train", str(path), "--data", str(data)]
    # The same scene stands in the train and the val split, which the check of the data refuses.
    command += ["--output", str(tmp_path / "run"), "--quiet", "--devices", "2", "--anyway"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(*more: str) -> str:
        done = subprocess.run(
            [*command, *more], env=environment, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = run("--steps", "3")
    assert first.count("wrote ") == 1
    second = run()
    assert "resumed at step 3 of 6" in second
    info = read_info(tmp_path / "run" / "tiny.safetensors")
    assert info.provenance["devices"] == 2 and info.provenance["steps"] == 6
    # The averaged gradient of two halves is the whole's: one process cannot give these weights.
    alone = trainer(recipe, data, tmp_path / "alone")
    alone.fit()
    found = read_weights(tmp_path / "run" / "tiny.safetensors")
    assert not np.array_equal(found["classifier.4.bias"], weights(alone)["classifier.4.bias"])
    # The three images to validate on were shared out, none left out and none counted twice.
    assert info.metrics["val"]["pixels"] == int((alone.val.labels != 255).sum())
    alone.average.load_state_dict({k: torch.from_numpy(v) for k, v in found.items()})
    result = alone.evaluate(full_precision=True)
    assert info.metrics["val"]["pixel_accuracy"] == pytest.approx(result.pixel_accuracy, abs=1e-3)


def test_pretrained_weights_learn_at_their_own_rate(
    recipe: Recipe, data: Path, tmp_path: Path, random_model: Path
) -> None:
    """All weights of model B are in the file, and none of a run that starts from nothing."""
    changed = replace(recipe, init=str(random_model), pretrained_lr=0.25, architecture="lrnnet_b")
    run = trainer(changed, data, tmp_path)
    shares = {}
    names = {id(p): n for n, p in run.raw.network.named_parameters()}
    for group in run.optimizer.param_groups:
        shares |= {names[id(p)]: group["share"] for p in group["params"]}
    own = read_weights(random_model)
    assert set(shares.values()) == {0.25}
    assert set(shares) <= set(own)
    fresh = trainer(replace(recipe, pretrained_lr=0.25), data, tmp_path / "fresh")
    assert {group["share"] for group in fresh.optimizer.param_groups} == {1.0}
    run.state.step = 3
    run._step(run.progress(), 0.008)
    assert {group["lr"] for group in run.optimizer.param_groups} == {0.002}


def poison(run: Trainer, steps: set[int]) -> None:
    """Let the gradient of one weight be infinite in these steps."""
    weight = next(run.raw.network.parameters())

    def infinite(gradient: torch.Tensor) -> torch.Tensor:
        return gradient + float("inf") if run.state.step in steps else gradient

    weight.register_hook(infinite)


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_step_without_a_finite_gradient_is_skipped(
    recipe: Recipe, data: Path, tmp_path: Path, clip: float, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trainer(replace(recipe, clip=clip), data, tmp_path)
    poison(run, {2, 4})
    run.fit()
    assert run.state.step == 6 and run.state.skipped == 2
    assert all(np.isfinite(v).all() for v in weights(run).values())
    said = capsys.readouterr().err
    assert "step 2: the gradient norm is" in said and "2 so far" in said
    assert read_info(release(run).model).provenance["skipped_steps"] == 2


def test_many_of_them_end_the_run(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    run = trainer(replace(recipe, steps=20), data, tmp_path)
    poison(run, set(range(1, 20)))
    says = r"step 5: .* at rate .* the 5th time in a row; the last good state is in .*; a lower lr"
    with pytest.raises(RunError, match=says):
        run.fit()
    assert all(np.isfinite(v).all() for v in weights(run).values())
    again = trainer(replace(recipe, steps=20), data, tmp_path)
    assert again.resume() and again.state.step == 5
    assert_equal(weights(again), weights(run))


def test_a_loss_that_is_not_finite_leaves_no_trace(
    recipe: Recipe, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forward pass of NaN moves the statistics of batch norm, though its step is skipped."""
    run = trainer(recipe, data, tmp_path)
    forward = run._forward

    def nan_at_2(x: torch.Tensor) -> object:
        return forward(x * float("nan") if run.state.step == 2 else x)

    monkeypatch.setattr(run, "_forward", nan_at_2)
    run.fit()
    assert run.state.skipped == 1 and not run._not_finite()


def test_nothing_that_is_not_finite_is_saved_or_released(
    recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    run = trainer(recipe, data, tmp_path)
    run.save()
    before = run.checkpoint.read_bytes()
    with torch.no_grad():
        next(run.average.parameters()).flatten()[0] = float("nan")
    with pytest.raises(RunError, match="holds NaN or infinity, nothing is saved"):
        run.save()
    with pytest.raises(RunError, match="nothing is released"):
        release(run)
    assert run.checkpoint.read_bytes() == before and not list(tmp_path.glob("*.safetensors"))


def test_a_batch_of_one_with_a_global_pool(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    run = trainer(replace(recipe, batch=1, architecture="lednet"), data, tmp_path)
    with pytest.raises(UserError, match="batch: 1 does not work with lednet.* batch=2 works"):
        run.fit()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("architecture", ["lrnnet_c", "lednet", "ndnet45", "frm"])
def test_bf16_gradients_of_the_layout_that_trains_are_right(
    recipe: Recipe, architecture: str, channels_last: bool
) -> None:
    """Weight gradients of every depthwise convolution, against float32.

    torch computes garbage on a CPU for dilated depthwise convolutions in bfloat16 and
    channels-last; check_layout refuses that, and what it lets pass is right.
    """
    from torch.nn import functional as F

    changed = replace(
        recipe, architecture=architecture, options={}, channels_last=channels_last,
        precision="bf16-mixed",
    )  # fmt: skip
    network, _ = make_network(changed, LabelSet.load("camvid11"))
    convolutions = {
        (m.in_channels, m.kernel_size, m.dilation, m.stride)
        for m in network.modules()
        if isinstance(m, torch.nn.Conv2d) and m.groups == m.in_channels > 1
    }
    dilated = any(max(dilation) > 1 for _, _, dilation, _ in convolutions)
    if channels_last and dilated:
        with pytest.raises(UserError, match="channels_last: false works"):
            check_layout(network, changed, torch.device("cpu"))
        return
    check_layout(network, changed, torch.device("cpu"))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    torch.manual_seed(0)
    for channels, kernel, dilation, stride in convolutions:
        padding = [(k - 1) * d // 2 for k, d in zip(kernel, dilation)]
        x = torch.randn(2, channels, 24, 32).to(memory_format=layout)
        found = []
        for dtype in (torch.bfloat16, torch.float32):
            weight = torch.ones(channels, 1, *kernel, dtype=dtype, requires_grad=True)
            y = F.conv2d(x.to(dtype), weight, None, stride, padding, dilation, groups=channels)
            (y.float() ** 2).sum().backward()
            found.append(weight.grad.float())
        assert float((found[0] - found[1]).norm() / found[1].norm()) < 0.05


def test_the_picture_of_a_run_shows_one_point_of_difference(tmp_path):
    import cv2

    miou = [0.05, 0.60, 0.61]
    rows = [{"step": 1000.0 * i, "val_miou": v, "loss": 1.0} for i, v in enumerate(miou)]
    draw_curve(rows, tmp_path / "curve.png", "a $run$")
    bgr = cv2.imread(str(tmp_path / "curve.png")).astype(int)
    blue = (bgr[..., 0] > 150) & (bgr[..., 2] < 80)
    frame = np.flatnonzero((bgr.max(2) < 40).mean(0) > 0.5)  # the axes' sides
    place = lambda step: round(frame[0] + (frame[-1] - frame[0]) * (0.05 + step / 2000) / 1.1)  # noqa: E731
    lower, higher = (np.flatnonzero(blue[:, place(s)]).mean() for s in (1000, 2000))
    assert 8 < lower - higher < 60
    draw_curve([], tmp_path / "empty.png", "nothing yet")
    assert (tmp_path / "empty.png").is_file()
