# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which instructions for small numbers the processor has: bfloat16 products and 8-bit products."""

from __future__ import annotations

import os
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
# Values of ONEDNN_MAX_CPU_ISA, by which users and tests have oneDNN, which OpenVINO computes with,
# do without newer instructions.
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
    """Linux's names of what the first core can do; empty where they are not known."""
    try:
        lines = _CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    found = next((line for line in lines if line.startswith("flags")), "")
    return set(found.partition(":")[2].split())
