# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop: Lightning Fabric drives devices, precision and checkpoints.

Step s depends on (recipe, data, state before s) alone, so a killed run resumes exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from lrn_ros import __version__
from lrn_ros.artifact import ModelInfo, save_model
from lrn_ros.errors import UserError
from lrn_ros.evaluation.confusion import Scores, confusion_matrix, scores
from lrn_ros.labels import UNLABELLED, LabelSet
from lrn_ros.networks import build
from lrn_ros.training.augment import Augmenter
from lrn_ros.training.data import Pairs, load_split, render_scenes
from lrn_ros.training.recipe import Recipe

# Mean and standard deviation of ImageNet's RGB, the field's usual normalisation.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass
class State:
    """What a checkpoint holds beside the tensors."""

    step: int = 0
    elapsed: float = 0.0


class Trainer:
    """Trains one recipe on one data set.

    Args:
        recipe: what to do.
        data: data set folder in SegNet's CamVid layout.
        output: run folder: checkpoint.pt, metrics CSV, the model file.
        max_time: seconds of training after which the run ends with its schedule completed;
            None: only the recipe's steps count. Resumed time counts on.
        devices: devices per node.
        num_nodes: nodes.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        output: Path,
        *,
        max_time: float | None = None,
        devices: int = 1,
        num_nodes: int = 1,
        progress: bool = True,
    ) -> None:
        self.recipe, self.output, self.max_time = recipe, output, max_time
        self.progress_bar = progress
        self.labels = LabelSet.load(recipe.labels)
        if recipe.scene_share and self.labels.name != "camvid11":
            raise UserError("scene_share: rendered scenes carry camvid11 labels only")
        self.fabric = Fabric(
            accelerator="auto",
            devices=devices,
            num_nodes=num_nodes,
            precision=recipe.precision,  # type: ignore[arg-type]
            loggers=[CSVLogger(str(output), name="log", flush_logs_every_n_steps=1)],
        )
        self.fabric.launch()
        torch.set_flush_denormal(True)
        torch.manual_seed(recipe.seed)
        device = self.fabric.device
        self.train = load_split(data, "train", self.labels).to(device)
        self.val = load_split(data, "val", self.labels).to(device)
        self.size = (self.train.images.shape[2], self.train.images.shape[3])
        self.scenes: Pairs | None = None
        if recipe.scene_share:
            self.scenes = render_scenes(recipe.scene_frames, self.size, recipe.seed).to(device)
        network = build(recipe.architecture, num_classes=len(self.labels), **recipe.options)
        self.average = build(recipe.architecture, num_classes=len(self.labels), **recipe.options)
        self.average.load_state_dict(network.state_dict())
        self.average.to(device).eval()
        self.network, self.optimizer = self.fabric.setup(network, _optimizer(network, recipe))
        self.network.mark_forward_method("coarse")
        self.weights = _class_weights(self.train, len(self.labels), recipe).to(device)
        self.augment = Augmenter(recipe, len(self.labels))
        self.mean = torch.tensor(MEAN, device=device)[:, None, None]
        self.std = torch.tensor(STD, device=device)[:, None, None]
        self.state = State()

    @property
    def checkpoint(self) -> Path:
        """Where the run's state is kept."""
        return self.output / "checkpoint.pt"

    def resume(self) -> bool:
        """Load the run's state if there is one; `weights_only`, nothing is unpickled."""
        if not self.checkpoint.is_file():
            return False
        saved = torch.load(self.checkpoint, map_location=self.fabric.device, weights_only=True)
        if saved["recipe"] != asdict(self.recipe):
            raise UserError(
                f"{self.checkpoint}: made by another recipe; choose another --output or remove it"
            )
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.state = State(saved["step"], saved["elapsed"])
        return True

    def save(self) -> None:
        """Write the run's state, atomically."""
        temporary = self.checkpoint.with_suffix(".tmp")
        state = {
            "recipe": asdict(self.recipe),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.state.step,
            "elapsed": self.state.elapsed,
        }
        self.fabric.save(temporary, state)
        if self.fabric.is_global_zero:
            temporary.replace(self.checkpoint)

    def progress(self) -> float:
        """How much of the schedule is done, 0-1: by steps or by the time budget."""
        done = self.state.step / self.recipe.steps
        return max(done, self.state.elapsed / self.max_time) if self.max_time else done

    def fit(
        self, say: Callable[[str], None] = print, stop: Callable[[], bool] = lambda: False
    ) -> Path:
        """Train to the end of the schedule; returns the model file.

        Raises:
            KeyboardInterrupt: `stop` said so between two steps; the state is saved.
        """
        recipe, state = self.recipe, self.state
        last_save = time.monotonic()
        bar = tqdm(
            total=recipe.steps, initial=state.step, disable=not self.progress_bar, mininterval=5
        )
        while self.progress() < 1:
            if stop():
                bar.close()
                self.save()
                raise KeyboardInterrupt
            start = time.monotonic()
            loss, lr = self._step(self.progress())
            state.step += 1
            state.elapsed += time.monotonic() - start
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", lr=f"{lr:.1e}", refresh=False)
            if state.step % 20 == 0:
                row = {"loss": loss, "lr": lr, "elapsed_s": state.elapsed}
                self.fabric.log_dict(row, step=state.step)
            if state.step % recipe.eval_every == 0:
                result = self.evaluate()
                self.fabric.log_dict({"val_miou": result.miou}, step=state.step)
                tqdm.write(f"step {state.step}: val mIoU {100 * result.miou:.2f} %")
            if time.monotonic() - last_save > 120:
                self.save()
                last_save = time.monotonic()
        bar.close()
        self.save()
        return self._release(say)

    def _step(self, progress: float) -> tuple[float, float]:
        recipe, step = self.recipe, self.state.step
        generator = torch.Generator().manual_seed(
            (recipe.seed << 32) + step * self.fabric.world_size + self.fabric.global_rank
        )
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))  # dropout
        warm = min(1.0, (step + 1) / max(recipe.warmup, 1))
        lr = recipe.lr * warm * (1 - progress) ** recipe.power
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        images, labels = self._batch(recipe.crop_at(progress), generator)
        self.network.train()
        logits = self.network.coarse((images - self.mean) / self.std)
        loss = self._loss(logits.float(), labels)
        self.fabric.backward(loss)
        if recipe.clip:
            self.fabric.clip_gradients(self.network, self.optimizer, max_norm=recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._update_average()
        return float(loss.detach()), lr

    def _batch(self, crop: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        recipe = self.recipe
        from_scenes = int(
            (torch.rand(recipe.batch, generator=generator) < recipe.scene_share).sum()
        )
        parts = []
        for pairs, n in ((self.train, recipe.batch - from_scenes), (self.scenes, from_scenes)):
            if pairs is not None and n:
                index = torch.randint(len(pairs), (n,), generator=generator)
                parts.append(self.augment(pairs, index.to(pairs.images.device), crop, generator))
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        network: Any = self.average
        scale = network.stride // self.recipe.loss_stride
        logits = F.interpolate(logits, scale_factor=scale, mode="bilinear")
        return F.cross_entropy(logits, labels, self.weights, ignore_index=UNLABELLED)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential moving average of weights and statistics, short at the start."""
        decay = min(self.recipe.ema, (1 + self.state.step) / (10 + self.state.step))
        new = self.network.state_dict()
        for name, old in self.average.state_dict().items():
            if old.dtype.is_floating_point:
                old.lerp_(new[name], 1 - decay)
            else:
                old.copy_(new[name])

    @torch.no_grad()
    def evaluate(self, full_precision: bool = False) -> Scores:
        """Figures of the averaged weights on the validation split, one confusion matrix.

        In the recipe's precision while training, in float32 for what a model file states.
        """
        matrix = np.zeros((len(self.labels), len(self.labels) + 1), np.int64)
        autocast = nullcontext() if full_precision else self.fabric.autocast()
        with autocast:
            for image, truth in zip(self.val.images, self.val.labels):
                x = (image.float().div(255)[None] - self.mean) / self.std
                prediction = self.average(x).argmax(1)[0].to(torch.uint8)
                matrix += confusion_matrix(
                    truth.cpu().numpy(), prediction.cpu().numpy(), len(self.labels)
                )
        return scores(matrix)

    def _release(self, say: Callable[[str], None]) -> Path:
        """Evaluate the averaged weights and write them as a model file."""
        result = self.evaluate(full_precision=True)
        path = self.output / f"{self.recipe.name}.safetensors"
        info = ModelInfo(
            name=self.recipe.name,
            architecture=self.recipe.architecture,
            options=_structure_only(self.recipe.options),
            labels=self.labels,
            mean=MEAN,
            std=STD,
            size=self.size,
            license=self.recipe.license,
            provenance={
                "recipe": asdict(self.recipe),
                "steps": self.state.step,
                "seconds": round(self.state.elapsed),
                "device": str(self.fabric.device),
                "lrn_ros": __version__,
                "torch": torch.__version__,
            },
            metrics={
                "val": {
                    "miou": round(result.miou, 4),
                    "pixel_accuracy": round(result.pixel_accuracy, 4),
                    "iou": {n: round(v, 4) for n, v in zip(self.labels.names, result.iou)},
                }
            },
        )
        if self.fabric.is_global_zero:
            weights = {k: v.cpu().numpy() for k, v in self.average.state_dict().items()}
            save_model(path, info, weights)
        say(f"val mIoU {100 * result.miou:.2f} %, wrote {path}")
        return path


def _structure_only(options: dict[str, Any]) -> dict[str, Any]:
    """Dropout is a matter of training; a released model does not carry it."""
    return {k: v for k, v in options.items() if "dropout" not in k}


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, recipe.lr)


def _class_weights(pairs: Pairs, classes: int, recipe: Recipe) -> Tensor:
    """Per-class loss weights from pixel shares (ENet's logarithmic rule with c = 1.1)."""
    if recipe.class_weights == "none":
        return torch.ones(classes)
    shares = pairs.class_shares(classes)
    return (1 / torch.log(1.1 + shares)).pow(recipe.weight_power).float()
