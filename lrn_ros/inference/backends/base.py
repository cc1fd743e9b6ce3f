# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of all backends, and the choice of a backend."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import BackendError, UserError, install
from lrn_ros.inference.backends import MODULES, PRECISIONS
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.result import Result
from lrn_ros.inference.smoothing import Smooth
from lrn_ros.model.artifact import SUFFIXES, ModelInfo, check_origin, read_info, resolve_model
from lrn_ros.model.labels import LabelMapping, find

LESS_MEMORY = "a smaller network_size or max_batch needs less"  # advice if GPU memory is short


@dataclass(frozen=True)
class BackendOptions:
    """The options of a backend.

    Attributes:
        precision: one of PRECISIONS.
        device: GPU index.
        threads: CPU threads; 0: the backend's own choice.
        cache_dir: folder for compiled engines; None: lrn_ros/ in the user's cache directory.
        merged: a number for every class of the model. Classes with the same number are merged by a
            mapping of labels, and their confidence is the sum of their probabilities. Empty: no
            classes are merged.
    """

    precision: str = "auto"
    device: int = 0
    threads: int = 0
    cache_dir: Path | None = None
    merged: tuple[int, ...] = ()


class Backend(Protocol):
    """Runs one model.

    A backend module has `create(path, info, options) -> Backend`, which raises BackendError if the
    backend cannot work here. One thread runs frames; meanwhile another thread may `prepare` a
    geometry that these frames do not use.
    """

    name: str
    precision: str
    device_name: str
    stride: int  # pixels of the network's input per coarse logit
    batches: bool  # whether several frames in one inference take less time than one by one

    def prepared(self, geometry: Geometry, batch: int = 1) -> bool:
        """Whether `batch` frames of this geometry run at once, with nothing left to compile."""

    def prepare(self, geometry: Geometry, batch: int = 1) -> None:
        """Compile what `batch` frames of this geometry need, unless it is compiled already.

        Raises:
            BackendError: the compilation is not possible here.
            UserError: the model cannot run at this size or batch.
        """

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth] = (),
    ) -> list[Result]:
        """Segment frames in one inference, after `prepare` if that is needed.

        Args:
            frames: images of shape (H, W, 3), uint8 RGB, of the size `geometry.frame`.
            geometry: the geometry of all frames.
            confidence: also give the probability of the chosen class.
            smooth: one function per frame, see lrn_ros.inference.smoothing; empty: no smoothing.

        Returns:
            One result per frame, in order; each has the timings of the whole batch.
        """

    def logits(self, rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.float32]:
        """The coarse class scores of one frame of the size `geometry.frame`.

        Returns:
            (K, h, w) float32, h and w as `geometry.network` divided by `stride`.
        """


_DRIVER = "libcuda.so.1"


@dataclass(frozen=True)
class Choice:
    """A created backend and its model.

    Attributes:
        backend: the backend; its masks hold the model's own classes.
        info: the description of the model.
        passed_over: (name, reason) of the backends that were tried before.
        mapping: maps the model's classes to those that are wanted; None: they are the same.
    """

    backend: Backend
    info: ModelInfo
    passed_over: tuple[tuple[str, str], ...]
    mapping: LabelMapping | None = None


def create(
    name: str,
    model: str | Path,
    options: BackendOptions,
    given_up: Mapping[str, str] | None = None,
    label_map: str = "",
) -> Choice:
    """Create the named backend; "auto" takes the first that works.

    Args:
        name: "auto" or one of MODULES.
        model: a name under weights/, a path, or the folder of a training run; every backend takes
            the file that it can read. For precision "fp16" a backend that reads .onnx takes
            NAME_fp16.onnx if that exists, and NAME.onnx otherwise; likewise for other precisions.
            An .onnx file that was not made from the .safetensors file beside it is not taken.
        options: see BackendOptions.
        given_up: backends that are passed over, with the reason.
        label_map: see lrn_ros.model.labels.find.

    Raises:
        UserError: backend, precision or model is unknown, or the model file is damaged.
        BackendError: the named backend cannot work here; with "auto", none can.
    """
    if name != "auto" and name not in MODULES:
        raise UserError(f"backend {name!r} is unknown; there are auto, {', '.join(MODULES)}")
    if options.precision not in PRECISIONS:
        raise UserError(f"precision {options.precision!r} is not one of {', '.join(PRECISIONS)}")
    resolve_model(model, SUFFIXES)
    passed_over = list((given_up or {}).items())
    for candidate in MODULES if name == "auto" else (name,):
        if candidate in (given_up or {}):
            continue
        try:
            path, info = _open(candidate, model, options.precision)
            if MODULES[candidate].needs_driver:
                _check_driver()
            module = importlib.import_module(MODULES[candidate].name)
            mapping = find(label_map, info.labels)
            own = replace(options, merged=mapping.classes if mapping else ())
            return Choice(module.create(path, info, own), info, tuple(passed_over), mapping)
        except BackendError as error:
            passed_over.append((candidate, str(error)))
        except ImportError as error:
            if (error.name or "").startswith("lrn_ros"):
                raise
            hint = f"{error}; install it with: {install(MODULES[candidate].extra)}"
            passed_over.append((candidate, hint))
    reasons = "; ".join(f"{n}: {reason}" for n, reason in passed_over)
    raise BackendError(f"no backend works here: {reasons}" if name == "auto" else reasons)


def _check_driver() -> None:
    """Refuse a machine without a GPU before seconds and 250 MB go into importing torch."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError as error:
        raise BackendError(
            f"no NVIDIA driver ({error}); nvidia-smi shows whether one works, and a container needs"
            " docker run --gpus all"
        ) from error


def _open(backend: str, model: str | Path, precision: str) -> tuple[Path, ModelInfo]:
    """The file of an existing model that a backend reads, and what the file says of itself.

    An export that is older than the weights beside it is not taken, see check_origin.
    """
    _, suffix, _, prefers, _ = MODULES[backend]
    wanted = prefers() if precision == "auto" else precision
    variants = dict.fromkeys((wanted, "") if suffix == ".onnx" else ("",))
    given, stale = Path(model).expanduser(), None
    for variant in variants:
        try:
            path = resolve_model(model, (suffix,), variant)
        except UserError:
            continue
        info = read_info(path)
        try:
            check_origin(path, info)
            if path.suffix != given.suffix == ".onnx":  # the weights that the given export is of
                check_origin(given, read_info(given))
        except UserError as error:
            stale = stale or error
        else:
            return path, info
    if stale is not None:
        raise BackendError(str(stale)) from None
    export = f"; write it with: lrn export {model} --format onnx"
    hint = export if suffix == ".onnx" else ""
    raise BackendError(f"model {str(model)!r} has no {suffix} file{hint}")
