# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop; Lightning Fabric drives devices, precision and checkpoints.

Step s depends only on the recipe, the data and the state before s, so a killed run resumes exactly.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from lrn_ros.data.check import digest_of, judge
from lrn_ros.data.layouts import Files
from lrn_ros.errors import RunError, UserError
from lrn_ros.images.compressed import encode_jpeg
from lrn_ros.metrics.confusion import Scores, confusion_matrix, scores
from lrn_ros.model.artifact import write_atomically
from lrn_ros.model.labels import LabelSet
from lrn_ros.training.augment import Augmenter
from lrn_ros.training.data import Pairs, epoch_index, generator_for, load_split, render_scenes
from lrn_ros.training.losses import (
    TrainingNetwork,
    TrainingOutputs,
    class_weights,
    cross_entropy,
    freeze_batch_norm,
    lovasz,
    pixel_contrast,
)
from lrn_ros.training.progress import (
    Image,
    class_line,
    pictured,
    time_left,
    validation_sheet,
)
from lrn_ros.training.recipe import Recipe, Stage
from lrn_ros.training.schedule import StepClock, learning_rate
from lrn_ros.training.start import (
    check_layout,
    find_split_files,
    make_fabric,
    make_network,
    make_optimizer,
)
from lrn_ros.training.teacher import Teacher

# The keys in which a recipe may differ from the run's checkpoint: they decide how long it goes on.
_LENGTH = ("steps", "max_minutes", "eval_every", "patience", "keep_best")
PICTURE = "val.jpg"  # validation images with truth and prediction, in the run's folder
_SAVE_EVERY = 120.0  # seconds
_LOG_EVERY = 20  # steps
_MAX_SKIPPED = 5  # steps in a row without a finite gradient norm
_MAX_RESCALED = 50  # the same with 16-mixed, whose scaler halves the scale of 65536 at each step


@dataclass
class State:
    """The part of a checkpoint beside the tensors.

    Attributes:
        step: number of steps done.
        elapsed: seconds of training.
        skipped: number of steps whose gradient norm was not finite; they changed nothing.
        skipped_in_a_row: number of such steps since the last good step.
        best: the best mIoU of the evaluations, below 0 before the first one.
        best_step: the step of the best mIoU.
        without_better: number of evaluations since then.
    """

    step: int = 0
    elapsed: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    best: float = -1.0
    best_step: int = 0
    without_better: int = 0


class Trainer:
    """Trains one recipe on one data set.

    Args:
        recipe: the recipe; its max_minutes includes the time before a resumption.
        data: data set folder in a layout of lrn_ros.data.datasets.
        output: folder of the run with checkpoint.pt and log/; see also lrn_ros.training.release.
        devices: devices per node.
        num_nodes: nodes.
        progress: whether to show progress bars.
        tensorboard: log for TensorBoard instead of CSV files.

    Raises:
        UserError: recipe, data set or the model to start from do not fit.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        output: Path,
        *,
        devices: int = 1,
        num_nodes: int = 1,
        progress: bool = True,
        tensorboard: bool = False,
    ) -> None:
        self.recipe, self.output, self.tensorboard = recipe, output, tensorboard
        self.labels = LabelSet.load(recipe.labels)
        if recipe.scene_share and self.labels.name != "camvid11":
            raise UserError("scene_share works only with camvid11, the labels of rendered scenes")
        network, loaded = make_network(recipe, self.labels)
        self.fabric = make_fabric(recipe, output, devices, num_nodes, tensorboard)
        self.fabric.launch()
        self.progress_bar = progress and self.fabric.is_global_zero
        torch.set_flush_denormal(True)
        device = self.fabric.device
        check_layout(network, recipe, device)
        size = (recipe.size[0], recipe.size[1]) if recipe.size else None
        train_files, val_files = find_split_files(data, recipe)
        self.train = self._load("train", train_files, size)
        self.val = self._load("val", val_files, size)
        self.report = judge(self.labels, {"train": self.train.facts, "val": self.val.facts})
        self.size = (self.train.images.shape[2], self.train.images.shape[3])
        self.scenes: Pairs | None = None
        if recipe.scene_share:
            self.scenes = render_scenes(recipe.scene_frames, self.size, recipe.seed).to(device)
        self.average = copy.deepcopy(network)
        self.average.to(device).eval()
        self.raw = TrainingNetwork(network, recipe, len(self.labels))
        if self.fabric.world_size > 1 and device.type == "cuda":
            self.raw = nn.SyncBatchNorm.convert_sync_batchnorm(self.raw)
        optimizer = make_optimizer(self.raw, recipe, loaded)
        network_in_use: Any = torch.compile(self.raw) if recipe.compile else self.raw
        self.network, self.optimizer = self.fabric.setup(network_in_use, optimizer)
        self.teacher: Teacher | None = None
        if recipe.teacher is not None:
            self.teacher = Teacher(recipe.teacher, self.labels, device)
        shares = self.train.class_shares(len(self.labels))
        self.weights = class_weights(shares, recipe).to(device)
        self.augment = Augmenter(recipe, shares, self.train)
        self.mean = torch.tensor(recipe.mean, device=device)[:, None, None]
        self.std = torch.tensor(recipe.std, device=device)[:, None, None]
        self.clock = StepClock(device)
        self.state = State()
        self.best: dict[str, Tensor] = {}  # the weights of state.best, if the recipe wants them

    def _load(self, split: str, files: list[Files], size: tuple[int, int] | None) -> Pairs:
        """The pairs of one split, for batches on the device."""
        cache = self.output / "decoded" / split if self.recipe.data == "stream" else None
        with self.fabric.rank_zero_first():
            pairs = load_split(files, self.labels, size, self.progress_bar, cache)
        return pairs.to(self.fabric.device)

    def _data_marks(self) -> dict[str, dict[str, Any]]:
        """The description of the data in the checkpoint, by which other data are refused."""
        splits = {"training": self.train, "validation": self.val}
        marks = {
            name: {
                "number of images": len(pairs),
                "size of the images": list(pairs.labels.shape[1:]),
                "names of the files": list(pairs.names),
                "contents of the files": digest_of(pairs.facts),
            }
            for name, pairs in splits.items()
        }
        own = self.labels
        meaning = {"classes": list(own.names), "ids": list(own.ids), "void": list(own.void)}
        return {"label set": meaning | {"ignore": own.ignore}, **marks}

    @property
    def checkpoint(self) -> Path:
        """The file with the run's state."""
        return self.output / "checkpoint.pt"

    def resume(self) -> bool:
        """Load the run's state if there is one, with `weights_only`: nothing is unpickled.

        A schedule that is longer than the checkpoint's extends the run; the learning rate follows
        the progress through the new schedule.

        Raises:
            UserError: the state belongs to another recipe or other data, or the file is damaged.
        """
        if not self.checkpoint.is_file():
            return False
        advice = "choose another --output, or --restart"
        try:
            saved = torch.load(self.checkpoint, map_location=self.fabric.device, weights_only=True)
            before = Recipe(**saved["recipe"])
        except Exception as error:  # torch raises many types for a damaged file
            raise UserError(
                f"{self.checkpoint} is not a checkpoint of lrn train; {advice}"
            ) from error
        now = asdict(replace(before, **{k: getattr(self.recipe, k) for k in _LENGTH}))
        # The places of label set and data may change, because their content is compared below. Keys
        # that matter only at the release may change too.
        anywhere = ("labels", "dataset", "data", "storage", "temperature", "license")
        differing = [k for k, v in asdict(self.recipe).items() if now[k] != v and k not in anywhere]
        if differing:
            key = differing[0]
            raise UserError(
                f"{self.checkpoint}: made by another recipe ({key} was {now[key]!r}); {advice}"
            )
        if change := _change(saved.get("data", {}), self._data_marks()):
            raise UserError(f"{self.checkpoint}: made with other data: {change}; {advice}")
        self.raw.network.load_state_dict(saved["network"])
        self.raw.heads.load_state_dict(saved.get("heads", {}))
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.fabric.strategy.precision.load_state_dict(saved.get("precision", {}))
        self.best = saved.get("best", {})
        self.state = State(**saved["state"])
        return True

    def save(self) -> None:
        """Write the run's state atomically; every process must call this.

        Raises:
            RunError: a weight is not finite; the state on disk stays as it was.
        """
        if bad := self._not_finite():
            raise RunError(
                f"step {self.state.step}: {bad[0]} holds NaN or infinity, nothing is saved;"
                f" {self.checkpoint} holds the last good state; a lower lr helps"
            )
        temporary = self.checkpoint.with_suffix(".tmp")
        state = {
            "recipe": asdict(self.recipe),
            "data": self._data_marks(),
            "network": self.raw.network.state_dict(),
            "heads": self.raw.heads.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "state": asdict(self.state),
        }
        self.fabric.save(temporary, state)
        if self.fabric.is_global_zero:
            temporary.replace(self.checkpoint)

    def progress(self) -> float:
        """The share of the schedule that is done, 0-1, by steps, time budget or patience."""
        if 0 < self.recipe.patience <= self.state.without_better:
            return 1.0
        done = self.state.step / self.recipe.steps
        budget = 60 * self.recipe.max_minutes
        return max(done, self.state.elapsed / budget) if budget else done

    def fit(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Train to the end of the schedule.

        Raises:
            KeyboardInterrupt: `stop` returned true between two steps; the state is saved.
        """
        recipe, state = self.recipe, self.state
        images = recipe.batch * self.fabric.world_size
        last_save = time.monotonic()
        bar = tqdm(
            total=recipe.steps, initial=state.step, disable=not self.progress_bar, mininterval=5
        )
        with bar:
            while self.progress() < 1:
                if self._agree(stop()):
                    self.save()
                    raise KeyboardInterrupt
                rate = learning_rate(recipe, state.step, self.progress())
                self.clock.start(state.step)
                loss = self._step(self.progress(), rate)
                state.step += 1
                state.elapsed += self.clock.stop(images)
                bar.update()
                if state.step % _LOG_EVERY == 0:
                    self._log(float(loss), rate, bar)
                if state.step % recipe.eval_every == 0:
                    self._validate()
                if self._agree(time.monotonic() - last_save > _SAVE_EVERY):
                    self.save()
                    last_save = time.monotonic()
        if recipe.keep_best and state.step % recipe.eval_every:
            self._validate()
        self.save()

    def _validate(self) -> None:
        """Evaluate, log and show the figures and a picture, and remember the best weights."""
        state, result = self.state, self.evaluate()
        if result.miou > state.best:
            state.best, state.best_step, state.without_better = result.miou, state.step, 0
            if self.recipe.keep_best:
                self.best = {k: v.clone() for k, v in self.average.state_dict().items()}
        else:
            state.without_better += 1
        by_class = zip(self.labels.names, result.iou)
        row = {f"val_iou/{name}": iou for name, iou in by_class if math.isfinite(iou)}
        self.fabric.log_dict({"val_miou": result.miou, **row}, step=state.step)
        if not self.fabric.is_global_zero:
            return
        line = class_line(result, self.labels)
        if self.progress_bar:
            left = time_left(self.progress(), state.elapsed)
            tqdm.write(f"step {state.step} of {self.recipe.steps}, {left}: {line}")
        sheet = validation_sheet(f"step {state.step}: {line}", self._examples(), self.labels)
        write_atomically(self.output / PICTURE, encode_jpeg(sheet))
        if self.tensorboard:
            board: Any = self.fabric.logger
            board.experiment.add_image("validation", sheet, state.step, dataformats="HWC")

    @torch.no_grad()
    def _examples(self) -> list[tuple[str, Image, Image, Image]]:
        """Some validation images with truth and prediction; see validation_sheet."""
        found = []
        for i in pictured(len(self.val)):
            images, labels = self.val.batch(torch.tensor([i]))
            guess = self._predict(images)
            rgb = images[0].permute(1, 2, 0).cpu().numpy()
            found.append((self.val.names[i], rgb, labels[0].cpu().numpy(), guess))
        return found

    def _predict(self, images: Tensor) -> Image:
        """(1, 3, H, W) uint8 -> (H, W) uint8 class ids of the averaged weights."""
        x = (images.float().div(255) - self.mean) / self.std
        return np.asarray(self.average(x).argmax(1)[0].to(torch.uint8).cpu().numpy())

    def _log(self, loss: float, rate: float, bar: tqdm) -> None:
        row = {"loss": loss, "lr": rate, "elapsed_s": self.state.elapsed}
        row["images_per_s"] = self.clock.images_per_second
        self.fabric.log_dict(row, step=self.state.step)
        waiting = f"{100 * self.clock.shares.get('data', 0):.0f}%"
        speed = f"{self.clock.images_per_second:.1f}"
        shown = {"loss": f"{loss:.3f}", "lr": f"{rate:.1e}", "images/s": speed, "data": waiting}
        bar.set_postfix(shown, refresh=False)

    def _agree(self, flag: bool) -> bool:
        """The first process's word, so that all do the same; its clock becomes everybody's."""
        if self.fabric.world_size == 1:
            return flag
        mine = torch.tensor([float(flag), self.state.elapsed], dtype=torch.float64)
        flag, self.state.elapsed = self.fabric.broadcast(mine.tolist())
        return bool(flag)

    def _step(self, progress: float, rate: float) -> Tensor:
        recipe = self.recipe
        generator = generator_for(recipe.seed, self.state.step, self.fabric.global_rank)
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))  # dropout, contrast
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        images, labels = self._batch(recipe.stage_at(progress), generator)
        self.clock.mark("data")
        self.network.train()
        if progress >= recipe.bn_freeze:
            freeze_batch_norm(self.network)
        target = self.teacher(images) if self.teacher is not None else None
        self.clock.mark("teacher")
        x = (images - self.mean) / self.std
        if recipe.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        loss = self._loss(self._forward(x), labels, target)
        self.clock.mark("forward")
        self.fabric.backward(loss)
        self.clock.mark("backward")
        finite = self._gradients_are_finite()
        if finite or recipe.precision == "16-mixed":  # its scaler skips the step by itself
            self.optimizer.step()
        self.optimizer.zero_grad()
        if finite:
            self.state.skipped_in_a_row = 0
            self._update_average()
        else:
            self._skip(float(loss.detach()), rate)
        self.clock.mark("update")
        return loss.detach()

    def _forward(self, x: Tensor) -> TrainingOutputs:
        try:
            return self.network(x)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                f"batch: 1 does not work with {self.recipe.architecture}, whose global pool leaves"
                " one value a channel to batch norm; batch=2 works"
            ) from error

    def _gradients_are_finite(self) -> bool:
        """Clip the gradients; a step whose gradient norm is not finite is to be skipped.

        The norm is that of all processes' gradients, so that all of them decide alike.
        """
        limit = self.recipe.clip or float("inf")
        norm = self.fabric.clip_gradients(
            self.network, self.optimizer, max_norm=limit, error_if_nonfinite=False
        )
        return norm is None or bool(norm.isfinite())

    @torch.no_grad()
    def _skip(self, loss: float, rate: float) -> None:
        """Leave everything as it was before a step without a finite gradient, and say so.

        Raises:
            RunError: too many steps in a row had to be skipped; the last good state is saved.
        """
        # The forward pass has moved the statistics of batch norm, perhaps to NaN.
        good = self.average.state_dict()
        for name, tensor in self.raw.network.named_buffers():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                tensor.copy_(good[name])
        state = self.state
        state.skipped_in_a_row += 1
        scaled = self.recipe.precision == "16-mixed"
        state.skipped += 0 if scaled else 1
        place = f"step {state.step}: the gradient norm is not finite, the loss is {loss:.4g}"
        place += f" at rate {rate:.2g}"
        limit = _MAX_RESCALED if scaled else _MAX_SKIPPED
        if state.skipped_in_a_row >= limit:
            kept = "there is no good state to save"
            if not self._not_finite():
                self.save()
                kept = f"the last good state is in {self.checkpoint}"
            raise RunError(
                f"{place}, the {limit}th time in a row; {kept}; a lower lr, a longer warmup or clip"
                " helps if the learning rate is the cause"
            )
        if self.fabric.is_global_zero and not scaled:
            tqdm.write(f"{place}; the step is skipped ({state.skipped} so far)", sys.stderr)

    def _not_finite(self) -> list[str]:
        """Names of the network's and the average's tensors that hold NaN or an infinity."""
        both = (*self.raw.network.state_dict().items(), *self.average.state_dict().items())
        return [n for n, t in both if t.is_floating_point() and not bool(t.isfinite().all())]

    def _batch(self, stage: Stage, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        recipe = self.recipe
        from_scenes = int(
            (torch.rand(recipe.batch, generator=generator) < recipe.scene_share).sum()
        )
        parts = []
        for pairs, n in ((self.train, recipe.batch - from_scenes), (self.scenes, from_scenes)):
            if pairs is not None and n:
                index = self._draw(pairs, n, generator)
                parts.append(self.augment(pairs, index, stage, generator))
        images, labels = (torch.cat(column) for column in zip(*parts))
        return self.augment.mix(images, labels, generator) if recipe.class_mix else (images, labels)

    def _draw(self, pairs: Pairs, n: int, generator: torch.Generator) -> Tensor:
        """(n,) images of this step by the recipe's sampling."""
        recipe, fabric = self.recipe, self.fabric
        if recipe.sampling == "epoch":
            place = (self.state.step, recipe.seed, fabric.global_rank, fabric.world_size)
            return epoch_index(len(pairs), n, *place)
        chances = pairs.sampling(recipe.sequence_balance)
        return torch.multinomial(chances, n, replacement=True, generator=generator)

    def _loss(
        self, outputs: TrainingOutputs, labels: Tensor, target: Tensor | None = None
    ) -> Tensor:
        """The recipe's loss; `target` is what the teacher says of the same images."""
        recipe = self.recipe

        def segmentation(logits: Tensor) -> Tensor:
            # By the exact stride and cropped, as the network's forward does at full resolution.
            height, width = labels.shape[1:]
            stride = 2 ** round(math.log2(height / logits.shape[2]))
            full = F.interpolate(logits.float(), scale_factor=stride, mode="bilinear")
            full = full[..., :height, :width]
            loss = cross_entropy(full, labels, self.weights, recipe.ohem)
            return loss + recipe.lovasz * lovasz(full, labels) if recipe.lovasz else loss

        loss = segmentation(outputs.logits)
        if self.teacher is not None and target is not None and recipe.teacher is not None:
            weight, stride = recipe.teacher["weight"], int(self.raw.network.stride)  # type: ignore[arg-type]
            distilled = self.teacher.loss(outputs.logits, stride, target)
            loss = (1 - weight) * loss + weight * distilled
        if recipe.auxiliary is not None and outputs.auxiliary is not None:
            loss = loss + recipe.auxiliary["weight"] * segmentation(outputs.auxiliary)
        if recipe.contrastive is not None and outputs.embedding is not None:
            options = recipe.contrastive
            loss = loss + options["weight"] * pixel_contrast(
                outputs.embedding,
                labels,
                outputs.logits,
                options["temperature"],
                options["samples"],
            )
        return loss

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential moving average of weights and statistics, short at the start."""
        decay = min(self.recipe.ema, (1 + self.state.step) / (10 + self.state.step))
        new = self.raw.network.state_dict()
        for name, old in self.average.state_dict().items():
            if old.dtype.is_floating_point:
                old.lerp_(new[name], 1 - decay)
            else:
                old.copy_(new[name])

    @torch.no_grad()
    def sampled_scores(self, step: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
        """Scores of the averaged weights at some pixels of every validation image, in float32.

        Args:
            step: every so many rows and columns.

        Yields:
            (K, N) scores and (N,) class ids.
        """
        for i in range(len(self.val)):
            images, labels = self.val.batch(torch.tensor([i]))
            x = (images.float().div(255) - self.mean) / self.std
            scores = self.average(x)[0, :, ::step, ::step].flatten(1)
            yield scores.cpu().numpy(), labels[0, ::step, ::step].flatten().cpu().numpy()

    @torch.no_grad()
    def evaluate(self, full_precision: bool = False) -> Scores:
        """Figures of the averaged weights on the validation split, one confusion matrix.

        In the recipe's precision while training, in float32 for what a model file states. Several
        processes share the images, and the first one's weights, which are those of the file.
        """
        if self.fabric.world_size > 1:
            for tensor in self.average.state_dict().values():
                torch.distributed.broadcast(tensor, src=0)
        classes = len(self.labels)
        matrix = np.zeros((classes, classes + 1), np.int64)
        autocast = nullcontext() if full_precision else self.fabric.autocast()
        with autocast:
            for i in range(self.fabric.global_rank, len(self.val), self.fabric.world_size):
                images, labels = self.val.batch(torch.tensor([i]))
                truth = labels[0].cpu().numpy()
                matrix += confusion_matrix(truth, self._predict(images), classes)
        if self.fabric.world_size > 1:
            total = torch.from_numpy(matrix).to(self.fabric.device)
            summed: Any = self.fabric.all_reduce(total, reduce_op="sum")
            matrix = summed.cpu().numpy()
        return scores(matrix)


def _change(before: dict[str, Any], now: dict[str, Any]) -> str:
    """A text about the differences between two descriptions of the data; empty: no difference."""
    for part in before:
        for what, old in before[part].items():
            new = now[part].get(what)
            if new != old:
                long = len(str(old)) + len(str(new)) > 60
                detail = " differ" if long else f": {old} before, {new} now"
                return f"{what} of the {part}{detail}"
    return ""
