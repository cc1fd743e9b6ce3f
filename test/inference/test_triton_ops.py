# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The Triton kernel, run by Triton's interpreter on the CPU, against NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

from lrn_ros.inference.geometry import Geometry, fit  # noqa: E402
from lrn_ros.inference.postprocess import upsample_argmax  # noqa: E402

GEOMETRIES = {
    "camera smaller": fit((18, 24), (96, 128)),
    "camera larger": Geometry((41, 53), (22, 30), (24, 32), (41, 53)),
    "border": Geometry((25, 75), (20, 60), (64, 64), (20, 60)),
    "one row": fit((1, 300), (96, 128)),
    "one score": Geometry((10, 12), (8, 8), (8, 8), (10, 12)),
}
KINDS = ("random", "ties", "rounding", "huge", "subnormal", "not numbers", "many classes")

# The interpreter is chosen when triton is imported, hence a process of its own.
SCRIPT = """
import sys
import numpy as np
import torch
from lrn_ros.inference.backends.torch_ops import device_axes
from lrn_ros.inference.backends.triton_ops import triton_classify
from lrn_ros.inference.geometry import Geometry

found = {}
for name, case in np.load(sys.argv[1], allow_pickle=False).items():
    if not name.endswith("sizes"):
        sizes = np.load(sys.argv[1])[name + " sizes"].tolist()
        geometry = Geometry(*map(tuple, sizes))
        coarse = torch.from_numpy(case).contiguous(memory_format=torch.channels_last)
        axes = device_axes(coarse.shape[2:], geometry, 8, torch.device("cpu"))
        mask, confidence = triton_classify(coarse, *axes, True, 1.7)
        again, nothing = triton_classify(torch.from_numpy(case), *axes, False)
        assert nothing is None and torch.equal(mask, again)
        found[name] = np.stack([mask.numpy(), confidence.numpy()])
np.savez(sys.argv[2], **found)
"""


def scores(kind: str, cells: tuple[int, int]) -> np.ndarray:
    """(2, K, h, w) float32 of one kind."""
    random = np.random.default_rng(len(kind))
    noise = random.normal(size=(2, 5, *cells)).astype(np.float32)
    if kind == "rounding":  # equal between cells by rounding alone, where the lower class wins
        low = random.uniform(1, 2, (2, 1, *cells)).astype(np.float32)
        return np.concatenate([low, np.nextafter(low, np.float32(3))], axis=1)
    if kind == "many classes":
        return random.normal(size=(2, 60, 1, 1)).astype(np.float32) + np.zeros(cells, np.float32)
    if kind == "not numbers":
        noise[:, 3, -1, -1] = np.nan
    factor = {"huge": 1e37, "subnormal": 1e-39}.get(kind, 1)
    return noise.round() if kind == "ties" else noise * np.float32(factor)


@pytest.fixture(scope="module")
def cases() -> dict[str, tuple[Geometry, np.ndarray]]:
    """Every kind at one geometry, every geometry with one kind."""
    pairs = [(kind, "one score") for kind in KINDS] + [("random", name) for name in GEOMETRIES]
    pairs += [("rounding", "camera larger"), ("not numbers", "camera smaller")]
    result = {}
    for kind, name in pairs:
        geometry = GEOMETRIES[name]
        cells = geometry.network[0] // 8, geometry.network[1] // 8
        result[f"{kind}, {name}"] = geometry, scores(kind, cells)
    return result


def test_equals_the_host(cases: dict[str, tuple[Geometry, np.ndarray]], tmp_path: Path) -> None:
    arrays = {name: coarse for name, (_, coarse) in cases.items()}
    sizes = {
        f"{name} sizes": np.array([g.frame, g.content, g.network, g.output])
        for name, (g, _) in cases.items()
    }
    np.savez(tmp_path / "cases.npz", **arrays, **sizes)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "cases.npz"), str(tmp_path / "out.npz")]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    assert set(found) == set(cases)
    for name, (geometry, coarse) in cases.items():
        masks, confidences = found[name].astype(int)
        assert (masks == 255).any() == name.startswith("not numbers"), name
        for n in (0, 1):
            expected, _ = upsample_argmax(coarse[n], geometry, 8, False)
            np.testing.assert_array_equal(masks[n], expected, err_msg=name)
            with np.errstate(invalid="ignore"):
                _, confidence = upsample_argmax(coarse[n], geometry, 8, True, temperature=1.7)
            number = masks[n] != 255
            assert confidence is not None
            assert np.abs(confidences[n] - confidence)[number].max(initial=0) <= 1, name
            assert not confidences[n][~number].any(), name
