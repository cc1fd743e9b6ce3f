# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The SVN against Algorithm 1 and Equation 4 taken literally in float64, and against SVD."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lrn_ros.networks.svn import SVN, pooled_keys, regions, singular_keys

TILT = 0.1


def literal_regions(f: np.ndarray, grid: int) -> list[np.ndarray]:
    """Region matrices (C, pixels) by plain slicing at floor(i*n/g)."""
    c, h, w = f.shape
    rows = [i * h // grid for i in range(grid + 1)]
    cols = [i * w // grid for i in range(grid + 1)]
    return [
        f[:, rows[i] : rows[i + 1], cols[j] : cols[j + 1]].reshape(c, -1)
        for i in range(grid)
        for j in range(grid)
    ]


def literal_power_iteration(a: np.ndarray, iterations: int, pixels: float) -> np.ndarray:
    """Algorithm 1: normalise u, v = A^T u, normalise v, u = A v; from the mean-plus-tilt start."""
    c = a.shape[0]
    rms = np.sqrt((a**2).sum() / (c * pixels))
    u = a.sum(1) / pixels / rms + TILT / np.sqrt(c)
    for _ in range(iterations):
        u = u / np.linalg.norm(u)
        v = a.T @ u
        v = v / np.linalg.norm(v)
        u = a @ v
    return u / np.linalg.norm(u)


def literal_svn(f: np.ndarray, grids: tuple[int, ...], iterations: int = 2) -> np.ndarray:
    """Equation 4 in the literal order: scores of every pixel with every key, then values."""
    c, h, w = f.shape
    keys = np.stack(
        [
            literal_power_iteration(a, iterations, h * w / g**2)
            for g in grids
            for a in literal_regions(f, g)
        ]
    )
    q = f.reshape(c, -1).T
    scores = q @ keys.T
    return ((scores @ keys) / len(keys)).T.reshape(c, h, w)


def features(h: int, w: int, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(mean, 1.0, (32, h, w)) * rng.uniform(0.2, 3.0, (32, 1, 1))


def core(f: np.ndarray, **options: object) -> np.ndarray:
    module = SVN(128, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        return module.core(torch.from_numpy(f).float()[None])[0].double().numpy()


@pytest.mark.parametrize("size", [(64, 128), (45, 60), (47, 156), (17, 9)])
@pytest.mark.parametrize("grids", [(8,), (8, 4), (8, 4, 2), (4,)])
def test_equals_the_literal_algorithm(size: tuple[int, int], grids: tuple[int, ...]) -> None:
    f = features(*size, mean=0.5)
    expected = literal_svn(f, grids)
    error = np.abs(core(f, grids=grids) - expected).max() / np.abs(expected).max()
    assert error < 1e-5


def test_equation_4_has_no_division_by_the_number_of_keys() -> None:
    f = features(45, 60, mean=0.5)
    expected = literal_svn(f, (8, 4)) * (64 + 16)
    error = np.abs(core(f, grids=(8, 4), scale=False) - expected).max() / np.abs(expected).max()
    assert error < 1e-5


@pytest.mark.parametrize("factor", [1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("grids", [(8,), (8, 4), (4,)])
def test_weak_regions_keep_a_key_of_unit_length(factor: float, grids: tuple[int, ...]) -> None:
    """The left half of the map is far below the scale of the right half."""
    f = features(48, 64, mean=0.5)
    f[:, :, :32] *= factor
    keys = singular_keys(torch.from_numpy(f).float()[None], grids)[0].double().numpy()
    np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1, atol=1e-3)
    expected = [
        literal_power_iteration(a, 2, 48 * 64 / g**2) for g in grids for a in literal_regions(f, g)
    ]
    np.testing.assert_allclose(keys, expected, atol=2e-3)


def test_a_weak_part_of_a_region_counts_by_its_strength() -> None:
    """A coarse region over a weak and a strong fine one: as if it was never divided."""
    f = features(48, 64, mean=0.5)
    f[:, :, ::2] *= 0.01
    f[:, :6] *= 1e-4
    found = singular_keys(torch.from_numpy(f)[None], (8, 4, 2))[0, 64:].numpy()
    alone = [singular_keys(torch.from_numpy(f)[None], (g,))[0].numpy() for g in (4, 2)]
    np.testing.assert_allclose(found, np.concatenate(alone), atol=1e-4)


def test_many_iterations_give_the_dominant_left_singular_vector() -> None:
    f = features(45, 60, mean=0.3, seed=3)
    keys = singular_keys(torch.from_numpy(f)[None], (8,), iterations=400)[0].numpy()
    for a, u in zip(literal_regions(f, 8), keys):
        singular = np.linalg.svd(a, full_matrices=False)[0][:, 0]
        assert abs(singular @ u) == pytest.approx(1, abs=1e-4)


def test_two_iterations_come_close_to_the_singular_vector() -> None:
    f = features(45, 60, mean=1.0, seed=4)  # features with a mean, as behind ReLUs
    keys = singular_keys(torch.from_numpy(f)[None], (8,), iterations=2)[0].numpy()
    cosines = [
        abs(np.linalg.svd(a, full_matrices=False)[0][:, 0] @ u)
        for a, u in zip(literal_regions(f, 8), keys)
    ]
    assert min(cosines) > 0.99


def test_regions_tile_the_map_as_slicing_does() -> None:
    f = features(45, 60)
    a, valid = regions(torch.from_numpy(f)[None], 8)
    for mine, mask, expected in zip(a[0].numpy(), valid.numpy(), literal_regions(f, 8)):
        assert mask.sum() == expected.shape[1]
        np.testing.assert_array_equal(mine[:, mask], expected)
        assert not mine[:, ~mask].any()


def test_pooled_keys_ignore_the_empty_slots() -> None:
    f = features(17, 9) - 5.0  # negative, so that a zero slot would win the maximum
    expected = literal_regions(f, 8)
    x = torch.from_numpy(f)[None]
    np.testing.assert_allclose(pooled_keys(x, 8, "average")[0], [a.mean(1) for a in expected])
    np.testing.assert_allclose(pooled_keys(x, 8, "max")[0], [a.max(1) for a in expected])


@pytest.mark.parametrize("kind", ["average", "max"])
def test_pooled_keys_follow_the_literal_order(kind: str) -> None:
    f = features(24, 32)
    reduce = np.mean if kind == "average" else np.max
    keys = np.stack([reduce(a, axis=1) for a in literal_regions(f, 8)])
    q = f.reshape(32, -1).T
    expected = ((q @ keys.T) @ keys / 64).T.reshape(f.shape)
    np.testing.assert_allclose(core(f, grids=(8,), keys=kind), expected, rtol=1e-4, atol=1e-4)


def test_nonlocal_by_associativity_equals_the_literal_order() -> None:
    f = features(24, 32)
    literal = core(f, keys="nonlocal")
    np.testing.assert_allclose(core(f, keys="nonlocal_assoc"), literal, rtol=1e-4, atol=1e-4)
    q = f.reshape(32, -1)
    expected = (q @ (q.T @ q) / q.shape[1]).reshape(f.shape)
    np.testing.assert_allclose(literal, expected, rtol=1e-4, atol=1e-4)


def test_softmax_nonlocal_is_a_convex_combination() -> None:
    f = features(8, 8)
    q = f.reshape(32, -1)
    scores = q.T @ q
    attention = np.exp(scores - scores.max(1, keepdims=True))
    attention /= attention.sum(1, keepdims=True)
    expected = (q @ attention.T).reshape(f.shape)
    np.testing.assert_allclose(core(f, keys="nonlocal_softmax"), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3])
def test_keys_do_not_depend_on_the_features_scale(scale: float) -> None:
    f = torch.from_numpy(features(45, 60, mean=0.5)).float()[None]
    keys, scaled = singular_keys(f, (8, 4)), singular_keys(f * scale, (8, 4))
    # Signs never matter, and do not flip here.
    torch.testing.assert_close(keys, scaled, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_zero_map_stays_finite(dtype: torch.dtype) -> None:
    keys = singular_keys(torch.zeros(1, 32, 45, 60, dtype=dtype), (8, 4))
    assert torch.isfinite(keys).all() and not keys.any()


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2, 1e3])
def test_half_precision_keys_stay_finite_and_close(scale: float) -> None:
    f = torch.from_numpy(features(45, 60, mean=0.5)).float()[None] * scale
    half = singular_keys(f.half(), (8, 4)).float()
    assert torch.isfinite(half).all()
    full = singular_keys(f, (8, 4))
    projectors = [k[0].T @ k[0] / k.shape[1] for k in (half, full)]
    assert (projectors[0] - projectors[1]).abs().max() < 2e-3


@pytest.mark.parametrize("iterations", [0, 2])
def test_more_regions_than_rows_gives_zero_keys(iterations: int) -> None:
    keys = singular_keys(torch.randn(1, 32, 3, 20), (8,), iterations)
    norms = keys.norm(dim=2)[0].view(8, 8)
    assert torch.isfinite(keys).all()
    assert ((norms.max(dim=1).values > 0.9).sum()) == 3


def test_gradient_is_bounded_where_svd_explodes() -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(32, 64, dtype=torch.double), full_matrices=False)
    s = torch.linspace(1, 0.1, 32, dtype=torch.double)
    s[1] = s[0] - 1e-6
    a = (u * s @ v).view(1, 32, 8, 8).requires_grad_()
    keys = singular_keys(a, (1,))
    (keys @ torch.randn(32, dtype=torch.double)).sum().backward()
    assert a.grad is not None and a.grad.abs().max() < 10


@pytest.mark.parametrize(
    "options", [{"keys": "median"}, {"init": "random"}, {"grids": (8, 3)},
                {"keys": "max", "grids": (8, 4)}],
)  # fmt: skip
def test_bad_options_are_refused(options: dict) -> None:
    with pytest.raises(ValueError):
        SVN(128, **options)
