# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The interface every backend has, and the choice among them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lrn_ros.artifact import ModelInfo
from lrn_ros.errors import UserError
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.result import Result

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")


class BackendError(UserError):
    """A backend cannot work here: what is missing and how to get it."""


@dataclass(frozen=True)
class BackendOptions:
    """What a backend is built with.

    Attributes:
        precision: one of PRECISIONS.
        device: GPU index.
        threads: CPU threads; 0: the backend's own choice.
    """

    precision: str = "auto"
    device: int = 0
    threads: int = 0


class Backend(Protocol):
    """Runs one model; not thread-safe.

    A backend module has `NAME`, `SUFFIXES` (model files it reads) and
    `create(path, info, options) -> Backend`, which raises BackendError where it cannot work.
    """

    name: str
    precision: str
    device_name: str
    stride: int  # pixels of the network's input per coarse logit

    def run(self, rgb: NDArray[np.uint8], geometry: Geometry, confidence: bool) -> Result:
        """Segment one (H, W, 3) uint8 RGB frame of `geometry.frame` size."""

    def logits(self, rgb: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.float32]:
        """Coarse class scores of one such frame.

        Returns:
            (K, h, w) float32, h and w as `geometry.network` divided by `stride`.
        """


# In the order that "auto" tries; modules are imported when tried.
MODULES = {
    "cuda": "lrn_ros.inference.backends.cuda",
    "torch": "lrn_ros.inference.backends.torch",
}
SUFFIXES = (".safetensors",)


@dataclass(frozen=True)
class Choice:
    """A created backend and what was passed over on the way to it, as (name, reason)."""

    backend: Backend
    passed_over: tuple[tuple[str, str], ...]


def create(name: str, path: Path, info: ModelInfo, options: BackendOptions) -> Choice:
    """Create the named backend; "auto" takes the first that works.

    Raises:
        UserError: unknown backend or precision.
        BackendError: the named backend, or with "auto" every one, cannot work here.
    """
    if name != "auto" and name not in MODULES:
        raise UserError(f"backend {name!r}: available are auto, {', '.join(MODULES)}")
    if options.precision not in PRECISIONS:
        raise UserError(f"precision {options.precision!r} is not one of {', '.join(PRECISIONS)}")
    passed_over: list[tuple[str, str]] = []
    for candidate in MODULES if name == "auto" else (name,):
        try:
            module = importlib.import_module(MODULES[candidate])
            return Choice(module.create(path, info, options), tuple(passed_over))
        except BackendError as error:
            passed_over.append((candidate, str(error)))
        except ImportError as error:
            if (error.name or "").startswith("lrn_ros"):
                raise
            hint = f"{error}; install it with: pip install 'lrn_ros[torch]'"
            passed_over.append((candidate, hint))
    reasons = "; ".join(f"{n}: {reason}" for n, reason in passed_over)
    raise BackendError(f"no backend works here: {reasons}" if name == "auto" else reasons)
