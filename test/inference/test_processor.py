# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The processor's instructions for small numbers, from /proc/cpuinfo and ONEDNN_MAX_CPU_ISA."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrn_ros.inference import backends as processor
from lrn_ros.inference.backends import MODULES

BOTH = "flags\t\t: fpu avx2 avx512_vnni avx512_bf16 amx_tile"
VNNI = "flags\t\t: fpu avx2 avx_vnni"


@pytest.mark.parametrize(
    ("flags", "limit", "bf16", "vnni", "file"),
    [
        (BOTH, "", True, True, ""),
        (BOTH, "AVX512_CORE_BF16", True, True, ""),
        (BOTH, "avx512_core_vnni", False, True, "int8"),
        (BOTH, "AVX512_CORE", False, False, ""),
        (BOTH, "AVX2", False, False, ""),
        (VNNI, "", False, True, "int8"),
        (VNNI, "AVX2_VNNI", False, True, "int8"),
        ("flags : fpu avx2", "", False, False, ""),
        ("Features : asimddp bf16", "", False, False, ""),  # of an Arm processor
    ],
)
def test_flags_and_limit(
    flags: str,
    limit: str,
    bf16: bool,
    vnni: bool,
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\n{flags}\nprocessor\t: 1\n")
    monkeypatch.setattr(processor, "_CPU_INFO", cpuinfo)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert (processor.has_bf16(), processor.has_vnni()) == (bf16, vnni)
    assert MODULES["openvino"].prefers() == file


def test_without_cpuinfo_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_CPU_INFO", tmp_path / "missing")
    assert not processor.has_bf16() and not processor.has_vnni()
