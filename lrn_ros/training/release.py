# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a finished run: the model, its curve as a picture, and its card."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from lrn_ros import __version__
from lrn_ros.errors import RunError
from lrn_ros.metrics.calibration import (
    LEVELS,
    Reliability,
    TemperatureFit,
    calibration_counts,
    reliability,
)
from lrn_ros.metrics.confusion import Scores
from lrn_ros.metrics.machine import describe
from lrn_ros.model.artifact import (
    ModelInfo,
    not_finite,
    read_info,
    resolve_model,
    save_model,
    write_atomically,
)
from lrn_ros.training.pretrained import IMAGENET, SUFFIXES
from lrn_ros.training.recipe import Recipe
from lrn_ros.training.trainer import Trainer

_SAMPLING = 4  # every fourth row and column of the validation images is used for the temperature
_WEAK = 0.3  # a class below this IoU is named among the known failures
_SHOWN_POINTS = 25.0  # the picture of a run shows so many points of mIoU below the best


@dataclass(frozen=True)
class Release:
    """Files of a finished run and its figures on the validation split."""

    model: Path
    curve: Path
    card: Path
    scores: Scores


def release(trainer: Trainer) -> Release:
    """Evaluate the averaged weights in float32, and write model file, curve and card.

    Every process of the run calls it; the first one writes.
    """
    if trainer.recipe.keep_best and trainer.best:
        trainer.average.load_state_dict(trainer.best)
    weights = _stored(trainer)
    if bad := not_finite(weights):
        raise RunError(f"nothing is released: {bad[0]} holds NaN or infinity; a lower lr helps")
    result = trainer.evaluate(full_precision=True)
    recipe = trainer.recipe
    model, curve, text = (
        trainer.output / f"{recipe.name}{suffix}" for suffix in (".safetensors", ".png", ".md")
    )
    found = Release(model, curve, text, result)
    if not trainer.fabric.is_global_zero:
        return found
    calibration = calibrate(trainer)
    machine = describe()
    on_gpu = trainer.fabric.device.type == "cuda"
    device = torch.cuda.get_device_name() if on_gpu else f"{machine.cores} cores of {machine.cpu}"
    info = ModelInfo(
        name=recipe.name,
        architecture=recipe.architecture,
        options={k: v for k, v in recipe.options.items() if "drop" not in k},  # training only
        labels=trainer.labels,
        mean=(recipe.mean[0], recipe.mean[1], recipe.mean[2]),
        std=(recipe.std[0], recipe.std[1], recipe.std[2]),
        size=trainer.size,
        license=recipe.license,
        temperature=calibration.temperature,
        provenance={
            "recipe": asdict(recipe),
            "init_license": start_license(recipe),
            "images": len(trainer.train),
            "steps": trainer.state.step,
            "skipped_steps": trainer.state.skipped,
            "seconds": round(trainer.state.elapsed),
            "device": device,
            "devices": trainer.fabric.world_size,
            "lrn_ros": __version__,
            "torch": torch.__version__,
        },
        metrics={
            "val": {
                "images": len(trainer.val),
                "pixels": sum(result.pixels),
                "miou": round(result.miou, 4),
                "pixel_accuracy": round(result.pixel_accuracy, 4),
                "iou": _by_class(trainer, result.iou),
                "precision": _by_class(trainer, result.precision),
                "recall": _by_class(trainer, result.recall),
                "ece_uncalibrated": round(calibration.before.ece, 4),
                "ece": round(calibration.after.ece, 4),
            }
        },
    )
    save_model(found.model, info, weights)
    draw_curve(read_log(trainer.output / "log"), found.curve, recipe.name)
    parameters = sum(p.numel() for p in trainer.average.parameters())
    write_atomically(found.card, card(info, parameters, found.curve.name).encode())
    return found


def _stored(trainer: Trainer) -> dict[str, NDArray[Any]]:
    """The averaged weights as the model file holds them; the network itself is rounded likewise."""
    state = trainer.average.state_dict()
    if trainer.recipe.storage == "float16":
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        trainer.average.load_state_dict(state)
    return {k: v.cpu().numpy() for k, v in state.items()}


@dataclass(frozen=True)
class Calibration:
    """The temperature of a model's confidence, and its reliability on the validation set.

    Attributes:
        temperature: that of the recipe, or a fitted one.
        before: reliability at temperature 1.
        after: reliability at `temperature`.
    """

    temperature: float
    before: Reliability
    after: Reliability


def calibrate(trainer: Trainer) -> Calibration:
    """Fit the temperature if the recipe gives none, and measure the reliability with it."""
    sampled = list(trainer.sampled_scores(_SAMPLING))
    temperature = trainer.recipe.temperature
    if not temperature:
        fit = TemperatureFit()
        for scores, truth in sampled:
            fit.add(scores, truth)
        temperature = round(fit.best(), 3)

    def measure(divisor: float) -> Reliability:
        counts = np.zeros((LEVELS, 2), np.int64)
        for scores, truth in sampled:
            chances = 255 / np.exp((scores - scores.max(0)) / np.float32(divisor)).sum(0)
            prediction, confidence = scores.argmax(0).astype(np.uint8), np.rint(chances)
            counts += calibration_counts(
                truth, prediction, confidence.astype(np.uint8), len(scores)
            )
        return reliability(counts)

    return Calibration(temperature, measure(1.0), measure(temperature))


def _by_class(trainer: Trainer, values: Sequence[float]) -> dict[str, float]:
    return {n: round(v, 4) for n, v in zip(trainer.labels.names, values, strict=True)}


def _share(value: float) -> str:
    """A share in percent; NaN stands for a class that does not occur, or was never the answer."""
    return f"{100 * value:.1f}" if value == value else "none"


def start_license(recipe: Recipe) -> str:
    """The licence of the model that the recipe starts from; empty if there is no such model."""
    if not recipe.init or recipe.init == IMAGENET or recipe.init.endswith(SUFFIXES):
        return ""
    return read_info(resolve_model(recipe.init)).license


def read_log(folder: Path) -> list[dict[str, float]]:
    """Rows of a run's CSV logs by step; if a resumed run repeated steps, the later rows count."""
    rows: dict[int, dict[str, float]] = {}
    versions = sorted(folder.glob("version_*/metrics.csv"), key=lambda p: int(p.parent.name[8:]))
    for path in versions:
        with path.open(newline="", encoding="utf-8") as file:
            found = [row for row in map(_numbers, csv.DictReader(file)) if "step" in row]
        if found:
            first = min(row["step"] for row in found)
            rows = {step: row for step, row in rows.items() if step < first}
        for row in found:
            rows[int(row["step"])] = rows.get(int(row["step"]), {}) | row
    return [rows[step] for step in sorted(rows)]


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """A row of a log; empty for a line that a killed process has not finished."""
    try:
        return {k: float(v) for k, v in row.items() if v}
    except (TypeError, ValueError):
        return {}


def draw_curve(rows: list[dict[str, float]], path: Path, title: str) -> None:
    """Draw validation mIoU and training loss over the steps as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    upper.set(ylabel="validation mIoU, %", title=title.replace("$", r"\$"))
    miou = [(r["step"], 100 * r["val_miou"]) for r in rows if "val_miou" in r]
    if miou:
        steps, values = zip(*miou)
        upper.plot(steps, values, color="tab:blue", marker="o", markersize=3)
        upper.annotate(
            f"{values[-1]:.1f}", (steps[-1], values[-1]), (4, 4), textcoords="offset points"
        )
        # Values far below the best are cut off, so that a difference of one point can be seen.
        upper.set_ylim(max(min(values), max(values) - _SHOWN_POINTS) - 1, max(values) + 2)
    upper.yaxis.set_minor_locator(MultipleLocator(1))
    upper.grid(which="both", axis="y", color="0.9")
    lower.set(xlabel="step", ylabel="training loss")
    loss = [(r["step"], r["loss"]) for r in rows if "loss" in r]
    lower.plot(*zip(*loss), color="0.5", linewidth=0.7) if loss else None
    picture = io.BytesIO()
    figure.savefig(picture, dpi=100, format="png")
    write_atomically(path, picture.getvalue())


def card(info: ModelInfo, parameters: int, curve: str) -> str:
    """The card of a trained model in Markdown, made from the model file's header alone."""
    made, val = info.provenance, info.metrics["val"]
    recipe: dict[str, Any] = made["recipe"]
    minutes, images = made["seconds"] / 60, recipe["batch"] * made["devices"]
    drawn = recipe["scene_share"]
    weak = [f"{n} ({100 * v:.0f} %)" for n, v in val["iou"].items() if v < _WEAK]
    figures = [[_share(val[key][n]) for key in ("iou", "precision", "recall")] for n in val["iou"]]
    rows = "\n".join(f"| {n} | {' | '.join(row)} |" for n, row in zip(val["iou"], figures))
    start = f"the weights of {recipe['init']}" if recipe["init"] else "random weights"
    scenes = f"; {100 * drawn:.0f} % of the images are rendered street scenes" if drawn else ""
    budget = f" --set max_minutes={recipe['max_minutes']:g}" if recipe["max_minutes"] else ""
    failures = f"- Weak in validation: {', '.join(weak)}." if weak else "- No class below 30 % IoU."
    fitted = "the recipe gives" if recipe["temperature"] else "was fitted on them"
    start_terms = made.get("init_license", "")
    other_terms = start_terms and start_terms != info.license
    inherited = f"; the weights it started from: {start_terms}" if other_terms else ""
    chosen = "the averaged weights at\nthe end of the run, no step picked by its figure."
    if recipe.get("keep_best"):
        chosen = (
            "the averaged weights of\nthe best evaluation: a figure that was chosen by flatters."
        )
    held_out = ", ".join(recipe["holdout"])
    validation = f"Sequences {held_out}, held out of training" if held_out else "Validation split"
    return f"""\
# {info.name}

| | |
|---|---|
| architecture | `{info.architecture}`, {parameters:,} parameters |
| input | RGB, any size; trained at {info.size[0]}x{info.size[1]} |
| classes | {len(info.labels)}, {info.labels.name}: {", ".join(info.labels.names)} |
| training | {made["images"]} images, from {start}{scenes} |
| schedule | {made["steps"]:,} steps of {images} images, {minutes:.0f} minutes |
| seed | {recipe["seed"]} |
| machine | {made["device"]}, torch {made["torch"]}, lrn_ros {made["lrn_ros"]} |
| licence | {info.license}{inherited} |

![training loss and validation mIoU]({curve})

## Figures

{validation}, {val["images"]} images, float32, one confusion matrix; {chosen}

| class | IoU % | precision % | recall % |
|---|---|---|---|
{rows}
| **mean** | **{100 * val["miou"]:.1f}** | | |

Pixel accuracy {_share(val["pixel_accuracy"])} %. Expected calibration error of the confidence on
these images: {_share(val["ece"])} %, and {_share(val["ece_uncalibrated"])} % without the model's
temperature of {info.temperature:g}, which {fitted}.

## Known failures

{failures}
- Figures hold for images like those of the data set; expect less with another camera or city.
- Not for anything that people's safety depends on.

## Recipe

`lrn train {recipe["name"]}{budget}`, with

```yaml
{yaml.safe_dump(recipe, sort_keys=False, width=90).strip()}
```
"""
