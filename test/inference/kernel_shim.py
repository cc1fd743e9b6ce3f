# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU's kernels as C++ on the CPU, in place of the module cuda.bindings.driver."""

from __future__ import annotations

import ctypes
import inspect
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cuda.bindings import driver

from lrn_ros.inference import device_code

OK = driver.CUresult.CUDA_SUCCESS


@cache
def shim() -> ctypes.CDLL:
    """stages.cu compiled by g++, no product and sum contracted."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not there")
    folder = tempfile.mkdtemp(prefix="lrn_ros.")
    library = Path(folder, "shim.so")
    source = Path(__file__).with_name("kernel_shim.cpp")
    flags = ["-std=c++14", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-Wall", "-Werror"]
    define = f'-DSOURCE="{device_code.SOURCE}"'
    subprocess.run(["g++", *flags, define, str(source), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    shutil.rmtree(folder)  # the loaded file stays
    return loaded


class StandInDriver:
    """Loads what NVRTC compiled, and runs the same source on the CPU; signatures are the driver's.

    Attributes:
        takes: whether a module is accepted, by its bytes.
        enqueue: takes the work of a launch; at once unless a stand-in GPU has a queue for it.
        launches: names of the kernels, as enqueued.
        can_launch: whether a launch succeeds.
    """

    CUresult = driver.CUresult

    def __init__(self, enqueue: Callable[[Callable[[], None]], None] = lambda work: work()) -> None:
        self.takes: Callable[[bytes], bool] = lambda code: True
        self.enqueue, self.can_launch = enqueue, True
        self.launches: list[str] = []
        self.loaded: list[bytes] = []

    def cuModuleLoadData(self, code: bytes) -> Any:
        inspect.signature(driver.cuModuleLoadData).bind(code)
        assert code[:4] == b"\x7fELF" or b".version" in code
        if not self.takes(code):
            return driver.CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION, None
        self.loaded.append(code)
        return OK, code

    def cuModuleUnload(self, module: bytes) -> Any:
        self.loaded.remove(module)
        return (OK,)

    def cuModuleGetFunction(self, module: bytes, name: bytes) -> Any:
        inspect.signature(driver.cuModuleGetFunction).bind(module, name)
        assert name in module  # its symbol is in the compiled code
        return OK, name

    def cuLaunchKernel(self, function: bytes, *arguments: Any) -> Any:
        inspect.signature(driver.cuLaunchKernel).bind(function, *arguments)
        *sizes, shared, stream, (values, types), extra = arguments
        assert len(sizes) == 6 and (shared, extra) == (0, 0) and len(values) == len(types)
        assert all(0 < n < 65536 for n in sizes[1:3]) and sizes[3] * sizes[4] * sizes[5] <= 1024
        if not self.can_launch:
            return (driver.CUresult.CUDA_ERROR_LAUNCH_FAILED,)
        kept = [kind(value) for kind, value in zip(types, values)]
        self.launches.append(function.decode())

        def work() -> None:
            pointers = (ctypes.c_void_p * len(kept))(*(ctypes.addressof(one) for one in kept))
            grid, block = ((ctypes.c_int * 3)(*part) for part in (sizes[:3], sizes[3:]))
            assert shim().run(function, grid, block, pointers, len(kept)) == 0

        self.enqueue(work)
        return (OK,)
