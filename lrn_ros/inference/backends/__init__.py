# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Backends, one file each, and the table of them; nothing is imported before a backend is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lrn_ros.inference.processor import has_bf16, has_vnni

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")


class BackendModule(NamedTuple):
    """Where a backend is and what it needs.

    Attributes:
        name: of its module.
        suffix: of the model files that it reads.
        extra: of the package; installs what the module imports.
        prefers: gives, for precision "auto", the precision of the file that it takes among those of
            a model's name; empty: the file without a precision in its name.
        needs_driver: it needs NVIDIA's driver.
    """

    name: str
    suffix: str
    extra: str
    prefers: Callable[[], str] = str
    needs_driver: bool = False


def _fp16() -> str:
    return "fp16"


def int8_instead_of_fp32() -> str:
    """On a CPU: "int8" where the processor has 8-bit products and no bfloat16, else empty."""
    return "int8" if has_vnni() and not has_bf16() else ""


# In the order that "auto" tries.
MODULES = {
    "tensorrt": BackendModule(f"{__name__}.tensorrt", ".onnx", "tensorrt", _fp16, True),
    "cuda": BackendModule(f"{__name__}.cuda", ".safetensors", "cuda", str, True),
    "openvino": BackendModule(f"{__name__}.openvino", ".onnx", "openvino", int8_instead_of_fp32),
    "onnxruntime": BackendModule(f"{__name__}.onnxruntime", ".onnx", "onnxruntime"),
    "torch": BackendModule(f"{__name__}.torch", ".safetensors", "torch"),
}
