# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the papers report of the architectures here: parameters and multiply-adds, 19 classes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """A row of a paper's table.

    Attributes:
        source: where it stands.
        architecture: name in the registry.
        size: (height, width) of the input.
        parameters: in millions; None where it gives none.
        multiply_adds: in billions; what the papers call FLOPs.
        convention: of lrn_ros.networks.counting, the one that the source used or that comes
            closest.
    """

    source: str
    architecture: str
    size: tuple[int, int]
    parameters: float | None
    multiply_adds: float
    convention: str


def _rows(
    source: str,
    size: tuple[int, int],
    convention: str,
    figures: dict[str, tuple[float | None, float]],
) -> list[Reported]:
    return [Reported(source, name, size, *pair, convention) for name, pair in figures.items()]


# The pooling rows leave out the core, unlike those of the other keys.
REPORTED = [
    *_rows("LRNNet table 1", (512, 1024), "ptflops", {
        "lrnnet_ssnbt": (0.95, 11.7), "lrnnet_a": (0.67, 8.48),
        "lrnnet_max": (0.68, 8.54), "lrnnet_avg": (0.68, 8.54),
    }),
    *_rows("LRNNet table 1", (512, 1024), "ptflops + core", {
        "lrnnet_b": (0.68, 8.57), "lrnnet_c": (0.68, 8.58),
    }),
    *_rows("LRNNet table 2", (512, 1024), "ptflops + core", {
        "lrnnet_nonlocal": (None, 12.5), "lrnnet_ss16": (None, 8.68),
        "lrnnet_ss4": (None, 8.51), "lrnnet_ms3": (None, 8.59),
    }),
    *_rows("LRNNet table 3", (512, 1024), "ptflops", {"lednet": (0.94, 11.5)}),
    # Parameters from the table, multiply-adds from the logs of the official repository.
    *_rows("NDNet table II, logs", (1024, 2048), "ptflops", {
        "ndnet29": (0.515, 2.84), "ndnet45": (0.386, 2.09),
        "ndnet61": (0.292, 1.72), "ndnet29w": (3.505, 17.41),
    }),
    *_rows("FRM", (1024, 2048), "conv", {
        "frm_ppm": (15.23, 213.21), "frm_dappm": (15.98, 214.81), "frm": (16.48, 214.82),
    }),
    *_rows("FRM", (720, 1280), "conv", {"frm": (16.48, 94.55)}),
]  # fmt: skip
