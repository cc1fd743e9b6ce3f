# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Backends, one file each, and the table of them; nothing is imported before a backend is tried."""

from __future__ import annotations

from typing import NamedTuple

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")


class BackendModule(NamedTuple):
    """Where a backend is and what it needs.

    Attributes:
        name: of its module.
        suffix: of the model files that it reads.
        extra: of the package; installs what the module imports.
        prefers: with precision "auto", the precision of the file that it takes among those of a
            model's name; empty: the file without a precision in its name.
        needs_driver: it needs NVIDIA's driver.
    """

    name: str
    suffix: str
    extra: str
    prefers: str = ""
    needs_driver: bool = False


# In the order that "auto" tries.
MODULES = {
    "tensorrt": BackendModule(f"{__name__}.tensorrt", ".onnx", "tensorrt", "fp16", True),
    "cuda": BackendModule(f"{__name__}.cuda", ".safetensors", "torch", "", True),
    "openvino": BackendModule(f"{__name__}.openvino", ".onnx", "openvino"),
    "torch": BackendModule(f"{__name__}.torch", ".safetensors", "torch"),
}
