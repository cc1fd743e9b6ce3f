# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The interface every backend has, and the choice among them."""

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

LESS_MEMORY = "a smaller network_size or max_batch needs less"  # where GPU memory is short


@dataclass(frozen=True)
class BackendOptions:
    """What a backend is built with.

    Attributes:
        precision: one of PRECISIONS.
        device: GPU index.
        threads: CPU threads; 0: the backend's own choice.
        cache_dir: folder for compiled engines; None: lrn_ros/ in the user's cache directory.
        merged: per class of the model a number that is the same for classes that a mapping of
            labels merges: the confidence is the sum of theirs. Empty: none are merged.
    """

    precision: str = "auto"
    device: int = 0
    threads: int = 0
    cache_dir: Path | None = None
    merged: tuple[int, ...] = ()


class Backend(Protocol):
    """Runs one model.

    A backend module has `create(path, info, options) -> Backend`, which raises BackendError where
    it cannot work. One thread runs frames; another may meanwhile `prepare` what these do not use.
    """

    name: str
    precision: str
    device_name: str
    stride: int  # pixels of the network's input per coarse logit
    batches: bool  # several frames in one inference take less time than one after the other

    def prepared(self, geometry: Geometry, batch: int = 1) -> bool:
        """Whether `batch` frames of this geometry run at once, with nothing left to compile."""

    def prepare(self, geometry: Geometry, batch: int = 1) -> None:
        """Compile what `batch` frames of this geometry need, unless it is there.

        Raises:
            BackendError: it cannot be compiled here.
            UserError: the model cannot run at this size or batch.
        """

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth] = (),
    ) -> list[Result]:
        """Segment frames in one inference, after `prepare` where that is needed.

        Args:
            frames: (H, W, 3) uint8 RGB each, of `geometry.frame` size.
            geometry: of all of them.
            confidence: also give the probability of the chosen class.
            smooth: one a frame, see lrn_ros.inference.smoothing; none: frames are on their own.

        Returns:
            One result a frame, in order; each has the timings of the whole batch.
        """

    def logits(self, rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.float32]:
        """Coarse class scores of one such frame.

        Returns:
            (K, h, w) float32, h and w as `geometry.network` divided by `stride`.
        """


_DRIVER = "libcuda.so.1"


@dataclass(frozen=True)
class Choice:
    """A created backend and its model.

    Attributes:
        backend: that works; its masks hold the model's own classes.
        info: of the model.
        passed_over: (name, reason) of the backends before it.
        mapping: of the model's classes to those that are asked for; None: they are the same.
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
            the file that it reads. One that reads .onnx takes NAME_fp16.onnx for precision "fp16"
            where that exists, and so on, else NAME.onnx. An .onnx file that was not made from the
            .safetensors file beside it is not taken.
        options: see BackendOptions.
        given_up: backends that are passed over, with the reason.
        label_map: see lrn_ros.model.labels.find.

    Raises:
        UserError: unknown backend, precision or model, or a damaged model file.
        BackendError: the named backend, or with "auto" every one, cannot work here.
    """
    if name != "auto" and name not in MODULES:
        raise UserError(f"backend {name!r}: available are auto, {', '.join(MODULES)}")
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
