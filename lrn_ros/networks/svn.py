# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""SVN, the reduced non-local module of LRNNet (section 3.4, Algorithm 1, Equation 4).

Keys and values are the dominant left singular vectors u_r of the regions of the feature map:
o_i = 1/S sum_r (q_i . u_r) u_r = M q_i with M = U U^T / S. Only u u^T occurs in the result. So the
matrix M (C' x C') is formed first and then applied to every pixel. This gives the same result as
the literal order for a fraction of its cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lrn_ros.networks.blocks import exactly

KEYS = ("singular", "average", "max", "nonlocal", "nonlocal_assoc", "nonlocal_softmax")
# The start vector is the mean of the region plus this much of the constant vector. The addition
# keeps a region whose mean is zero from starting with the zero vector.
_TILT = 0.1


def _slots(length: int, parts: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Divide an axis into parts: part i is [i*n//g, (i+1)*n//g).

    Returns (index, valid), both (parts, longest part): the positions of each part, and whether a
    slot holds a position of the part.
    """
    bounds = torch.arange(parts + 1, device=device) * length // parts
    longest = (length + parts - 1) // parts
    index = bounds[:-1, None] + torch.arange(longest, device=device)
    return index.clamp(max=length - 1), index < bounds[1:, None]


def regions(f: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Cut a map into grid x grid regions that tile it.

    Args:
        f: (B, C, h, w) features.
        grid: regions per axis. It may exceed h or w; some regions are then empty.

    Returns:
        (a, valid): a is (B, grid*grid, C, m) with zeros in the empty slots, valid is
        (grid*grid, m) bool.
    """
    b, c, h, w = f.shape
    rows, rows_valid = _slots(h, grid, f.device)
    cols, cols_valid = _slots(w, grid, f.device)
    mh, mw = rows.shape[1], cols.shape[1]
    a = f.index_select(2, rows.flatten()).index_select(3, cols.flatten())
    a = a.view(b, c, grid, mh, grid, mw).permute(0, 2, 4, 1, 3, 5)
    valid = rows_valid[:, None, :, None] & cols_valid[None, :, None, :]
    a = (a * valid[:, :, None]).reshape(b, grid * grid, c, mh * mw)
    return a, valid.reshape(grid * grid, mh * mw)


def _children(x: Tensor, grid: int, coarse: int) -> Tensor:
    """(B, grid*grid, ...) -> (B, coarse*coarse, k*k, ...): the regions inside each coarser one."""
    k = grid // coarse
    x = x.view(x.shape[0], coarse, k, coarse, k, *x.shape[2:]).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2)


def singular_keys(
    f: Tensor, grids: Sequence[int], iterations: int = 2, init: str = "mean"
) -> Tensor:
    """Dominant left singular vectors of the regions of every grid, by power iteration.

    The normalisations of Algorithm 1 only rescale, so its result is (A A^T)^T u0 at unit length.
    Each region's Gram matrix A A^T is formed once, on the finest grid, and summed for the coarser
    grids, whose regions are unions of finer ones. Every region is first divided by its largest
    value: no intermediate leaves the range of half precision, and a region far below the scale of
    the map has a key of unit length like the others.

    Args:
        f: (B, C, h, w) features.
        grids: regions per axis, each a divisor of the largest.
        iterations: T; 0 gives the region mean at unit length.
        init: start vector, "mean" (region mean over its rms, plus a small constant) or "const".

    Returns:
        (B, S, C), unit length; the zero vector for empty or all-zero regions.
    """
    _, c, h, w = f.shape
    finest = max(grids)
    area = h * w / finest**2
    a, _ = regions(f, finest)
    peaks = a.detach().abs().amax((2, 3))
    a = a / _or_one(peaks)[:, :, None, None] * area**-0.5
    grams, totals = a @ a.transpose(2, 3), a.sum(3)
    keys = []
    for grid in grids:
        inside = _children(peaks, finest, grid)
        shares = inside / _or_one(inside.amax(2, keepdim=True))
        total = (_children(totals, finest, grid) * shares[..., None]).sum(2)
        gram = (_children(grams, finest, grid) * shares[..., None, None].square()).sum(2)
        energy = gram.diagonal(dim1=2, dim2=3).sum(2, keepdim=True)
        tilt = _TILT / math.sqrt(c) if iterations else 0.0
        if init == "mean":
            pixels = h * w / grid**2
            u = total * (c / pixels) ** 0.5 / (energy + 1e-6).sqrt() + tilt
        else:
            u = torch.full_like(total, 1 / math.sqrt(c))
        gram = gram / (energy + 1e-6)[..., None]
        for _ in range(iterations):
            u = (gram @ u[..., None])[..., 0]
            u = u / (u.abs().amax(2, keepdim=True) + 1e-4)
        keys.append(u / (u.square().sum(2, keepdim=True) + 1e-6).sqrt())
    return torch.cat(keys, 1)


def _or_one(peaks: Tensor) -> Tensor:
    """Divisors: the largest values, and 1 for an all-zero region, which stays zero."""
    return torch.where(peaks > 0, peaks, 1.0)


def pooled_keys(f: Tensor, grid: int, kind: str) -> Tensor:
    """Average- or max-pooled regions, (B, grid*grid, C), for rows of Table 1; empty ones are 0."""
    a, valid = regions(f, grid)
    if kind == "average":
        return a.sum(3) / valid.sum(1).clamp(min=1)[:, None]
    a = a.masked_fill(~valid[:, None], float("-inf")).amax(3)
    return a.masked_fill(~valid.any(1)[:, None], 0.0)


class SVN(nn.Module):
    """out = x + Conv2(core(Conv1(x))), a non-local block whose keys summarise regions.

    Args:
        channels: channels of the input, C.
        width: channels of the bottleneck, C' (32 in the paper).
        grids: regions per axis of every scale; (8,) is model B and (8, 4) is model C.
        keys: how a region becomes a key, one of KEYS. The three "nonlocal" kinds use every pixel as
            a key: "nonlocal" literally with N x N scores, which is the cost that the paper gives,
            "nonlocal_assoc" by associativity, and "nonlocal_softmax" with a softmax of the scores.
        iterations: T of Algorithm 1.
        init: start vector of the power iteration, "mean" or "const".
        scale: divide by the number of keys, as Equation 3 does; False: as Equation 4, which does
            not.
        detach: let no gradient flow through the keys.

    Raises:
        ValueError: an argument outside what is listed here.
    """

    def __init__(
        self,
        channels: int = 128,
        width: int = 32,
        grids: Sequence[int] = (8, 4),
        keys: str = "singular",
        iterations: int = 2,
        init: str = "mean",
        scale: bool = True,
        detach: bool = False,
    ) -> None:
        super().__init__()
        if keys not in KEYS:
            raise ValueError(f"keys {keys!r} is not one of {', '.join(KEYS)}")
        if init not in ("mean", "const"):
            raise ValueError(f"init {init!r} is not 'mean' or 'const'")
        if any(g < 1 or max(grids) % g for g in grids):
            raise ValueError(f"grids {tuple(grids)}: each must divide the largest")
        if keys in ("average", "max") and len(grids) != 1:
            raise ValueError(f"keys {keys!r} takes one grid, got {tuple(grids)}")
        self.grids, self.keys, self.iterations = tuple(grids), keys, iterations
        self.init, self.scale, self.detach = init, scale, detach
        self.width = width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, channels, 1, bias=False)

    def reset_parameters(self) -> None:
        """Zero Conv2, so that the block starts as the identity."""
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return x + self.conv2(self.core(self.conv1(x)))

    def core(self, f: Tensor) -> Tensor:
        """Attend from every pixel of f (B, C', h, w) to the keys; same shape and dtype."""
        b, c, h, w = f.shape
        q = f.flatten(2)
        with exactly(f):
            if self.keys == "nonlocal_softmax":
                q32 = q.float()
                out = q32 @ torch.softmax(q32.transpose(1, 2) @ q32, dim=-1).transpose(1, 2)
            elif self.keys == "nonlocal":
                q32 = q.float()
                out = q32 @ (q32.transpose(1, 2) @ q32) * (1 / (h * w) if self.scale else 1.0)
            else:
                out = self._mixing(f.float()).to(f.dtype) @ q
        return out.to(f.dtype).view(b, c, h, w)

    def _mixing(self, f: Tensor) -> Tensor:
        """The matrix M (B, C', C') of the associative form."""
        if self.detach:
            f = f.detach()
        if self.keys == "nonlocal_assoc":
            u = f.flatten(2).transpose(1, 2)
        elif self.keys == "singular":
            u = singular_keys(f, self.grids, self.iterations, self.init)
        else:
            u = pooled_keys(f, self.grids[0], self.keys)
        if self.scale:
            return u.transpose(1, 2) @ (u / u.shape[1])
        return u.transpose(1, 2) @ u

    def literal_macs(self, h: int, w: int) -> int:
        """Multiply-adds of the core on an h x w map, counted as in section 4.3 of the paper."""
        pixels, mac_per_key = h * w, 2 * self.width * h * w
        if self.keys in ("nonlocal", "nonlocal_softmax"):
            return mac_per_key * pixels
        if self.keys == "nonlocal_assoc":
            return mac_per_key * self.width
        core = mac_per_key * sum(g * g for g in self.grids)
        if self.keys == "singular":
            core += mac_per_key * self.iterations * len(self.grids)
        return core
