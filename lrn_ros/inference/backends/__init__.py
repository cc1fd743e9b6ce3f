# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The table of backends, one file each, and the processor's instructions for small numbers.

A backend's file is imported when the backend is tried, and not before.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
_CPU_INFO = Path("/proc/cpuinfo")
# OpenVINO computes with oneDNN. These values of ONEDNN_MAX_CPU_ISA, which users and tests may set,
# keep oneDNN from using newer instructions.
_WITHOUT_VNNI = ("SSE41", "AVX", "AVX2", "AVX512_CORE")
_WITHOUT_BF16 = (*_WITHOUT_VNNI, "AVX2_VNNI", "AVX512_CORE_VNNI")


def has_bf16() -> bool:
    """Whether x86 instructions for bfloat16 products are there and oneDNN may use them."""
    return instruction_limit() not in _WITHOUT_BF16 and bool(_flags() & {"avx512_bf16", "amx_bf16"})


def has_vnni() -> bool:
    """Whether x86 instructions for 8-bit products are there and oneDNN may use them."""
    return instruction_limit() not in _WITHOUT_VNNI and bool(_flags() & {"avx512_vnni", "avx_vnni"})


def instruction_limit() -> str:
    """The value of ONEDNN_MAX_CPU_ISA; empty where nothing is limited."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()


def _flags() -> set[str]:
    """The features of the first core, by Linux's names; empty where they are not known."""
    try:
        lines = _CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    found = next((line for line in lines if line.startswith("flags")), "")
    return set(found.partition(":")[2].split())


class BackendModule(NamedTuple):
    """The module of a backend, and what the backend needs.

    Attributes:
        name: name of the module.
        suffix: suffix of the model files that the backend reads.
        extra: the extra of the package that installs what the module imports.
        prefers: gives the precision of the file that the backend takes with precision "auto";
            empty: the file without a precision in its name.
        needs_driver: whether the backend needs NVIDIA's driver.
    """

    name: str
    suffix: str
    extra: str
    prefers: Callable[[], str] = str
    needs_driver: bool = False


def _fp16() -> str:
    return "fp16"


def int8_instead_of_fp32() -> str:
    """On a CPU: "int8" if the processor has 8-bit products and no bfloat16, otherwise empty."""
    return "int8" if has_vnni() and not has_bf16() else ""


# In the order in which "auto" tries them.
MODULES = {
    "tensorrt": BackendModule(f"{__name__}.tensorrt", ".onnx", "tensorrt", _fp16, True),
    "cuda": BackendModule(f"{__name__}.cuda", ".safetensors", "cuda", str, True),
    "openvino": BackendModule(f"{__name__}.openvino", ".onnx", "openvino", int8_instead_of_fp32),
    "onnxruntime": BackendModule(f"{__name__}.onnxruntime", ".onnx", "onnxruntime"),
    "torch": BackendModule(f"{__name__}.torch", ".safetensors", "torch"),
}
