# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX to a TensorRT engine: TensorRT 10 and 11, and TensorRT for RTX, which needs no GPU to build.

Networks are strongly typed: the types of the ONNX graph are those of the engine.
"""

from __future__ import annotations

import importlib
import logging
import time
from pathlib import Path
from typing import Any

from lrn_ros.errors import install
from lrn_ros.inference.backends.base import LESS_MEMORY, BackendError
from lrn_ros.inference.backends.host import Shape

_OTHER = (
    "for other GPUs: pip install tensorrt; on a Jetson: sudo apt install python3-libnvinfer, and a"
    " virtual environment with --system-site-packages"
)


def _import() -> Any:
    """The module tensorrt, or tensorrt_rtx where that is missing or of no use.

    Raises:
        BackendError: neither can be imported.
    """
    reasons = []
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: of a library that it loads
            reasons.append(f"{name}: {error}")
            continue
        if name == "tensorrt_rtx" or int(module.__version__.split(".")[0]) >= 10:
            return module
        reasons.append(f"{name}: {module.__version__} is too old, 10 or newer is needed")
    rtx = f"for GeForce RTX and RTX PRO: {install('tensorrt')}"
    raise BackendError(f"no TensorRT ({'; '.join(reasons)}); {rtx}; {_OTHER}")


trt = _import()
RTX = trt.__name__ == "tensorrt_rtx"
PRODUCT = f"TensorRT for RTX {trt.__version__}" if RTX else f"TensorRT {trt.__version__}"
RECIPE = 1  # part of a kept engine's key: one more with every change to what `build` makes
_LOG = logging.getLogger("lrn_ros")
_REPORT_S = 10.0  # between lines of progress


class _Logger(trt.ILogger):  # type: ignore[name-defined]
    """TensorRT's messages at level DEBUG; the first error waits to be put in an exception."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._error = ""

    def log(self, severity: Any, message: str) -> None:
        """Take a message, from any thread."""
        if severity <= trt.ILogger.ERROR:
            self._error = self._error or " ".join(message.split())
        _LOG.debug("%s: %s", PRODUCT, message)

    def take_error(self) -> str:
        """The first error since the last call, with what helps against it."""
        error, self._error = self._error[:500] or "no reason given", ""
        return f"{error}; {LESS_MEMORY}" if "memory" in error.lower() else error


class _Progress(trt.IProgressMonitor):  # type: ignore[name-defined]
    """Says in the log how far a build is, every _REPORT_S seconds."""

    def __init__(self, what: str) -> None:
        trt.IProgressMonitor.__init__(self)
        self._what, self._steps = what, {"": 0}
        self._start = self._said = time.monotonic()

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Remember how many steps a phase has."""
        self._steps[phase_name] = num_steps

    def phase_finish(self, phase_name: str) -> None:
        """Forget the phase."""
        self._steps.pop(phase_name, None)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Say so if it is time; the build goes on."""
        now = time.monotonic()
        if now - self._said >= _REPORT_S:
            self._said = now
            steps = f"{step + 1} of {self._steps.get(phase_name, 0)}"
            seconds = now - self._start
            _LOG.info("%s, %.0f s so far: %s, step %s", self._what, seconds, phase_name, steps)
        return True


LOGGER = _Logger()


def parse(model: Path, shape: Shape) -> tuple[Any, Any]:
    """Read an ONNX file for one input shape.

    Args:
        model: see lrn_ros.model.artifact.ExportInfo for its graph.
        shape: frames, height and width; a size that is free in the graph becomes this one, so that
            all that follows from it is a constant of the engine.

    Returns:
        TensorRT's builder and network definition.

    Raises:
        BackendError: TensorRT cannot read the file.
    """
    LOGGER.take_error()
    builder = trt.Builder(LOGGER)
    typed = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(typed))
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse(model.read_bytes()):
        reasons = [parser.get_error(i) for i in range(parser.num_errors)]
        reason = f"{reasons[0].node_name() or 'file'}: {reasons[0].desc()}" if reasons else ""
        raise BackendError(f"{PRODUCT} cannot read {model}: {reason or LOGGER.take_error()}")
    network.get_input(0).shape = (*shape, 3)
    return builder, network


def build(model: Path, shape: Shape, capability: tuple[int, int]) -> bytes:
    """Build an engine for exactly one input shape; says in the log what it does and how far it is.

    Args:
        model: see `parse`.
        shape: see `parse`.
        capability: compute capability of the GPU, (8, 9) say. TensorRT for RTX builds for any that
            it knows, TensorRT for the thread's current device, which has to be of this one.

    Returns:
        The serialised engine.

    Raises:
        BackendError: the file cannot be read, or the engine not be built.
    """
    size = "x".join(map(str, shape))
    what = f"{PRODUCT} compiles {model.name} for {size}"
    _LOG.info("%s: %s, only this once", what, "seconds" if RTX else "up to a few minutes")
    start = time.monotonic()
    builder, network = parse(model, shape)
    config = builder.create_builder_config()
    progress = _Progress(what)  # has to outlive the build
    config.progress_monitor = progress
    if RTX:
        config.num_compute_capabilities = 1
        config.set_compute_capability(_target(capability), 0)
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # a CUDA graph needs that
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        hint = f"; {_OTHER}" if RTX else ""
        raise BackendError(f"{PRODUCT} cannot compile {model}: {LOGGER.take_error()}{hint}")
    _LOG.info("%s: done in %.1f s", what, time.monotonic() - start)
    return bytes(engine)


def check_gpu(capability: tuple[int, int]) -> None:
    """Refuse a GPU that TensorRT for RTX does not build for; TensorRT says so when it builds.

    Args:
        capability: compute capability, (8, 9) say.

    Raises:
        BackendError: the message says which ones it knows and what else to install.
    """
    if RTX:
        _target(capability)


def _target(capability: tuple[int, int]) -> Any:
    name = "SM{}{}".format(*capability)
    known = {n: c for n, c in trt.ComputeCapability.__members__.items() if n.startswith("SM")}
    if name not in known:
        raise BackendError(f"{PRODUCT} has no {name}, only {', '.join(known)}; {_OTHER}")
    return known[name]
