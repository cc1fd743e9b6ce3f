# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: one table of names, defaults, meanings and what is allowed.

`Settings` is the table. config/segment.yaml, the table in docs/node.md and the arguments of the
launch files are made from it. This module imports no package from outside: launch files read it.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lrn_ros.errors import UserError
from lrn_ros.inference.backends import MODULES, PRECISIONS
from lrn_ros.inference.geometry import check_network_size

BACKENDS = ("auto", *MODULES)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*")
FLAGS = {"true": True, "false": False}
_SHOWN = 200  # characters of a value that is refused


@dataclass(frozen=True)
class Kind:
    """The values that a parameter takes.

    Attributes:
        allowed: the values in words, for error messages and documentation.
        convert: checks a value and converts it, also from a text with one meaning only ("true",
            "4", "0.5"). It raises ValueError, TypeError or AttributeError if the value is not
            allowed, or UserError with a text of its own.
        low, high: bounds of a number; None: there is no bound.
        whole: whether the number is an integer.
    """

    allowed: str
    convert: Callable[[Any], Any]
    low: float | None = None
    high: float | None = None
    whole: bool = False


def _one_of(*allowed: str) -> Kind:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError
        return value

    return Kind(f"one of {', '.join(allowed)}", convert)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _filled(value: Any) -> str:
    if not _string(value):
        raise ValueError
    return str(value)


def _boolean(value: Any) -> bool:
    text = str(value).strip().lower() if isinstance(value, (bool, str)) else ""
    if text not in FLAGS:
        raise ValueError
    return FLAGS[text]


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _integer(value: Any) -> int:
    number = _real(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _number(low: float, high: float | None = None, whole: bool = False) -> Kind:
    def convert(value: Any) -> float:
        number = _integer(value) if whole else _real(value)
        if number < low or (high is not None and number > high):
            raise ValueError
        return number

    what = "a whole number" if whole else "a number"
    bound = "up" if high is None else f"to {high:g}"
    return Kind(f"{what} from {low:g} {bound}", convert, low, high, whole)


def _network_size(value: Any) -> tuple[int, int] | None:
    sides = re.findall(r"[^\s\[\],]+", value) if isinstance(value, str) else list(value)
    height, width = (_integer(side) for side in sides)
    if (height, width) == (0, 0):
        return None
    check_network_size((height, width))
    return height, width


def _cameras(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [name.strip().strip("'\"") for name in value.strip().strip("[]").split(",")]
    names = tuple(name.strip("/") for name in value)
    if not all(not n or _NAME.fullmatch(n) for n in names):
        raise ValueError
    if len(set(names)) != len(names) or ("" in names and len(names) > 1):
        raise UserError("the prefixes must differ, and an empty prefix must be the only one")
    return names or ("",)


_FLAG = Kind("true or false", _boolean)
_PATH = Kind("a string", _string)
_MODEL = Kind("a model's name or the path of a model file", _filled)
_LABEL_MAP = Kind("the name of a label mapping, the path of a YAML file, or empty", _string)
_SIZE = Kind("[height, width], [0, 0] for automatic", _network_size)
_PREFIXES = Kind("a list of topic prefixes such as [front, left]", _cameras)


@dataclass(frozen=True)
class Spec:
    """One parameter of the node.

    Attributes:
        name: name of the parameter.
        default: the node's own default.
        meaning: one line for users.
        kind: the values that are allowed.
        live: whether it can be set in any state, or only while the node is not configured.
        details: a further text in docs/node.md, in Markdown.
    """

    name: str
    default: Any
    meaning: str
    kind: Kind
    live: bool
    details: str


def _parameter(
    default: Any, kind: Kind, meaning: str, *, live: bool = False, details: str = ""
) -> Any:
    """A field of Settings with its entry in SPECS."""
    spec = {"default": default, "kind": kind, "meaning": meaning}
    return field(metadata=spec | {"live": live, "details": details})


@dataclass(frozen=True)
class Settings:
    """Checked values of all parameters, and the table of them: SPECS is made from these fields."""

    model: str = _parameter(
        "lrnnet_c_camvid", _MODEL,
        "a name under weights/, or the path of a .safetensors or .onnx file",
    )  # fmt: skip
    backend: str = _parameter(
        "auto", _one_of(*BACKENDS),
        f"what runs the network: {', '.join(MODULES)};"
        " auto takes the first that works",
        details="The log says which backend `auto` took, and why it did not take the ones before.",
    )  # fmt: skip
    precision: str = _parameter(
        "auto", _one_of(*PRECISIONS),
        f"arithmetic of the network: {', '.join(PRECISIONS)}",
        details="`auto` is fp16 on a GPU; with openvino it is bf16 where the processor has it, else"
        " int8 where the processor has VNNI and the model has an int8 file; it is fp32 elsewhere.",
    )  # fmt: skip
    device: int = _parameter(0, _number(0, 255, whole=True), "index of the GPU")
    threads: int = _parameter(
        0, _number(0, 1024, whole=True), "CPU threads of the backend; 0: the backend's own choice"
    )
    network_size: tuple[int, int] | None = _parameter(
        [0, 0], _SIZE,
        "height and width at which the network runs; [0, 0]: the trained short side, with the"
        " camera's aspect ratio",
    )  # fmt: skip
    output_size: str = _parameter(
        "input", _one_of("input", "network"),
        "input: outputs have the size of the image; network: the size of the network's input",
    )  # fmt: skip
    image_transport: str = _parameter(
        "raw", _one_of("raw", "compressed", "foxglove", "ffmpeg"),
        "raw, compressed (jpeg and png), or video: foxglove (foxglove_msgs/CompressedVideo), ffmpeg"
        " (FFMPEGPacket); the topic is image for raw, and image/TRANSPORT for the others",
    )  # fmt: skip
    cameras: tuple[str, ...] = _parameter(
        [""], _PREFIXES, 'camera prefixes such as [front, left]; [""]: one camera without a prefix'
    )
    max_batch: int = _parameter(
        4, _number(1, 64, whole=True),
        "largest number of frames of several cameras in one inference",
        details="Only a GPU runs batches, in powers of two: 7 frames run as 4 + 2 + 1. On a CPU a"
        " batch would take as long as its frames one by one.",
    )  # fmt: skip
    autostart: bool = _parameter(
        False, _FLAG, "the node configures and activates itself at process start",
        details="segment.launch.py and config/segment.yaml set it to true.",
    )  # fmt: skip
    max_age_ms: float = _parameter(
        0.0, _number(0), "an image older than this on receipt is dropped and counted; 0: never",
        live=True,
    )  # fmt: skip
    confidence_threshold: float = _parameter(
        0.0, _number(0, 1), "pixels with a lower confidence become 255 (unlabelled) in the mask",
        live=True,
    )  # fmt: skip
    overlay_alpha: float = _parameter(
        0.5, _number(0, 1), "weight of the class colours in the overlay", live=True
    )
    palette: str = _parameter(
        "display", _one_of("display", "dataset"),
        "display: colours that everybody can tell apart, people the brightest; dataset: the"
        " colours of the data set",
        live=True,
        details="[viewers.md](viewers.md#colours) says how the colours are chosen.",
    )  # fmt: skip
    legend: bool = _parameter(
        False,
        _FLAG,
        "draw the class names on `~/overlay` too; `~/overlay/compressed` always has them",
        live=True,
    )
    lazy: bool = _parameter(
        True, _FLAG, "skip inference while nobody subscribes to any output", live=True
    )
    stale_after_ms: float = _parameter(
        1000.0, _number(1), "without an image for this long, /diagnostics says STALE", live=True
    )
    temporal_smoothing: bool = _parameter(
        False, _FLAG, "steadier masks: scores are averaged over time along the motion", live=True,
        details="40 to 44 % less flicker for about 1 ms per frame"
        " ([figures](performance.md#steady-video)).",
    )  # fmt: skip
    label_map: str = _parameter(
        "", _LABEL_MAP,
        "the classes that are published: cityscapes_trainids, cityscapes_labelids, drivable, or a"
        " YAML file; empty: the model's classes",
        details="The mask, `~/classes` and `~/label_info` then have the ids and names of the"
        " target; the confidence of merged classes is the sum of their confidences. See"
        " [label_map](#label_map).",
    )  # fmt: skip
    camera_health: bool = _parameter(
        True, _FLAG, "watch for a frozen, dark, overexposed or blurred picture", live=True,
        details="The masks go on; /diagnostics warns. See [what the figures mean](#camera-health).",
    )  # fmt: skip
    health_frozen_frames: int = _parameter(
        10, _number(0, 10_000, whole=True),
        "number of identical images in a row after which a camera is frozen; 0: never", live=True,
    )  # fmt: skip
    health_dark: float = _parameter(
        0.95, _number(0, 1), "share of nearly black pixels from which a picture is dark; 0: never",
        live=True,
    )  # fmt: skip
    health_saturated: float = _parameter(
        0.6, _number(0, 1),
        "share of nearly white pixels from which a picture is overexposed; 0: never", live=True,
    )  # fmt: skip
    health_blurred: float = _parameter(
        0.75, _number(0, 1), "blur, 0 to 1, from which a picture is out of focus; 0: never",
        live=True,
    )  # fmt: skip
    engine_cache_dir: str = _parameter(
        "", _PATH, "folder of compiled models; empty: the user's cache directory",
        details="The default is `~/.cache/lrn_ros`. A folder that other users can write is not"
        " used.",
    )  # fmt: skip


SPECS = {f.name: Spec(name=f.name, **f.metadata) for f in fields(Settings)}


def check(name: str, value: Any) -> Any:
    """Check and convert the value of one parameter.

    Raises:
        UserError: the value is not allowed; the message says what is allowed.
    """
    kind = SPECS[name].kind
    try:
        return kind.convert(value)
    except UserError as error:
        allowed = str(error)
    except (ValueError, TypeError, AttributeError):
        allowed = kind.allowed
    given = repr(list(value) if isinstance(value, array) else value)  # numbers as rclpy gives them
    if len(given) > _SHOWN:
        given = f"{given[:_SHOWN]}..."
    raise UserError(f"parameter '{name}': {given} is not allowed; {allowed}")


def check_all(values: Mapping[str, Any]) -> Settings:
    """Check the values of all parameters.

    Raises:
        UserError: a value is not allowed; the message names the first such parameter.
    """
    return Settings(**{name: check(name, values[name]) for name in SPECS})
