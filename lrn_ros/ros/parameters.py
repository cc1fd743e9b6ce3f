# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: one table of names, defaults, meanings and what is allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lrn_ros.errors import UserError
from lrn_ros.inference.backends.base import PRECISIONS
from lrn_ros.inference.geometry import check_network_size

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*")
BACKENDS = ("auto", "tensorrt", "cuda", "openvino", "torch")


def _one_of(*allowed: str) -> Callable[[Any], Any]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return value

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def _model(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a model's name or the path of a model file")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _integer(low: int, high: int) -> Callable[[Any], Any]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def _number(low: float, high: float = math.inf) -> Callable[[Any], Any]:
    def check(value: Any) -> float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high or math.isinf(value):
            bound = "up" if high == math.inf else f"to {high:g}"
            raise ValueError(f"a number from {low:g} {bound}")
        return float(value)

    return check


def _network_size(value: Any) -> tuple[int, int] | None:
    try:
        height, width = (int(v) for v in value)
    except (TypeError, ValueError) as error:
        raise ValueError("[height, width], [0, 0] for automatic") from error
    if (height, width) == (0, 0):
        return None
    try:
        check_network_size((height, width))
    except UserError as error:
        raise ValueError(str(error)) from error
    return height, width


def _cameras(value: Any) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, (list, tuple)) else ("/",)
    if not all(isinstance(n, str) and (not n or _NAME.fullmatch(n)) for n in names):
        raise ValueError("a list of topic prefixes such as [front, left]")
    if len(set(names)) != len(names) or ("" in names and len(names) > 1):
        raise ValueError("distinct prefixes; the empty one only alone")
    return names or ("",)


@dataclass(frozen=True)
class Spec:
    """One parameter: its default, whether it can be set in any state, meaning, and check."""

    name: str
    default: Any
    live: bool
    meaning: str
    check: Callable[[Any], Any]


SPECS = {
    s.name: s
    for s in (
        Spec("model", "lrnnet_c_camvid", False, "a name under weights/, or a model file", _model),
        Spec("backend", "auto", False, "what runs the network", _one_of(*BACKENDS)),
        Spec("precision", "auto", False, "arithmetic of the network", _one_of(*PRECISIONS)),
        Spec("device", 0, False, "GPU index", _integer(0, 255)),
        Spec("threads", 0, False, "CPU threads of the backend, 0: its choice", _integer(0, 1024)),
        Spec("network_size", [0, 0], False, "height, width the network runs at", _network_size),
        Spec("output_size", "input", False, "size of the outputs", _one_of("input", "network")),
        Spec("image_transport", "raw", False, "input type", _one_of("raw", "compressed")),
        Spec("cameras", [""], False, "camera prefixes", _cameras),
        Spec("max_batch", 4, False, "most frames in one inference", _integer(1, 64)),
        Spec("autostart", False, False, "configure and activate at start", _flag),
        Spec("max_age_ms", 0.0, True, "older images are dropped, 0: never", _number(0)),
        Spec("confidence_threshold", 0.0, True, "below it the mask is 255", _number(0, 1)),
        Spec("overlay_alpha", 0.5, True, "weight of the colours", _number(0, 1)),
        Spec("legend", False, True, "class names on the overlay", _flag),
        Spec("lazy", True, True, "no inference when nobody listens", _flag),
        Spec("stale_after_ms", 1000.0, True, "no image for this long is STALE", _number(1)),
        Spec("temporal_smoothing", False, True, "smoothing between frames", _flag),
        Spec("engine_cache_dir", "", False, "compiled engines; empty: user's cache", _text),
    )
}


@dataclass(frozen=True)
class Settings:
    """Checked values of all parameters; fields as in SPECS."""

    model: str
    backend: str
    precision: str
    device: int
    threads: int
    network_size: tuple[int, int] | None
    output_size: str
    image_transport: str
    cameras: tuple[str, ...]
    max_batch: int
    autostart: bool
    max_age_ms: float
    confidence_threshold: float
    overlay_alpha: float
    legend: bool
    lazy: bool
    stale_after_ms: float
    temporal_smoothing: bool
    engine_cache_dir: str


def check(name: str, value: Any) -> Any:
    """The checked value of one parameter.

    Raises:
        UserError: names the parameter, the value and what is allowed.
    """
    try:
        return SPECS[name].check(value)
    except ValueError as error:
        raise UserError(f"parameter '{name}': {value!r} is not allowed; {error}") from error


def check_all(values: Mapping[str, Any]) -> Settings:
    """Check the values of all parameters.

    Raises:
        UserError: for the first bad one.
    """
    return Settings(**{name: check(name, values[name]) for name in SPECS})
