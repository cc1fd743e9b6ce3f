# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Coarse scores to classes on a GPU in one Triton kernel: full-size scores never reach memory.

The arithmetic of lrn_ros.inference.postprocess in its order. Float32 products and sums are rounded
one by one, since contraction to fused multiply-adds is switched off at the launch; so the mask
equals that of postprocess bit for bit. The confidence is rounded from an approximate exponential.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from lrn_ros.inference.backends.torch_ops import DeviceAxis

_BLOCK = 512  # pixels of a program


@triton.jit
def _score(corner, step_x, step_y, left, right, above, below):  # type: ignore[no-untyped-def]
    """One class at a block of pixels, from its score at the upper left `corner` of each."""
    top = tl.load(corner) * left + tl.load(corner + step_x) * right
    bottom = tl.load(corner + step_y) * left + tl.load(corner + step_y + step_x) * right
    return top * above + bottom * below


@triton.jit
def _classify(  # type: ignore[no-untyped-def]
    coarse,
    mask,
    confidence,
    row_low,
    row_high,
    row_weight_low,
    row_weight_high,
    column_low,
    column_high,
    column_weight_low,
    column_weight_high,
    stride_frame,
    stride_class,
    stride_y,
    stride_x,
    height,
    width,
    classes,
    sharpness,
    WITH_CONFIDENCE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A block of pixels, `program_id(0)`, of one frame, `program_id(1)`."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < height * width
    y, x = pixel // width, pixel % width
    low_y = tl.load(row_low + y, mask=inside, other=0)
    low_x = tl.load(column_low + x, mask=inside, other=0)
    step_y = (tl.load(row_high + y, mask=inside, other=0) - low_y) * stride_y
    step_x = (tl.load(column_high + x, mask=inside, other=0) - low_x) * stride_x
    above = tl.load(row_weight_low + y, mask=inside, other=0.0)
    below = tl.load(row_weight_high + y, mask=inside, other=0.0)
    left = tl.load(column_weight_low + x, mask=inside, other=0.0)
    right = tl.load(column_weight_high + x, mask=inside, other=0.0)
    frame = tl.program_id(1).to(tl.int64)
    first = coarse + frame * stride_frame + low_y * stride_y + low_x * stride_x

    top = tl.full((BLOCK,), float("-inf"), tl.float32)
    winner = tl.zeros((BLOCK,), tl.int32)
    not_a_number = pixel < 0
    for k in range(classes):
        score = _score(first + k * stride_class, step_x, step_y, left, right, above, below)
        winner = tl.where(score > top, k, winner)  # not >=: the lowest class wins a tie
        top = tl.where(score > top, score, top)
        not_a_number = not_a_number | (score != score)
    winner = tl.where(not_a_number, 255, winner)
    out = frame * height * width + pixel
    tl.store(mask + out, winner.to(tl.uint8), mask=inside)

    if WITH_CONFIDENCE:
        total = tl.zeros((BLOCK,), tl.float32)
        for k in range(classes):
            score = _score(first + k * stride_class, step_x, step_y, left, right, above, below)
            total += tl.exp((score - top) * sharpness)
        share = tl.where(total >= 1.0, 255.0 / total, 0.0)  # 0 where it is not a number
        tl.store(confidence + out, (share + 0.5).to(tl.uint8), mask=inside)


def triton_classify(
    coarse: Tensor,
    rows: DeviceAxis,
    columns: DeviceAxis,
    confidence: bool,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor | None]:
    """See lrn_ros.inference.backends.torch_ops.torch_classify."""
    frames, classes = coarse.shape[:2]
    height, width = len(rows.low), len(columns.low)
    mask = torch.empty((frames, height, width), dtype=torch.uint8, device=coarse.device)
    probability = torch.empty_like(mask) if confidence else None
    _classify[(triton.cdiv(height * width, _BLOCK), frames)](
        coarse,
        mask,
        mask if probability is None else probability,
        *rows,
        *columns,
        *coarse.stride(),
        height,
        width,
        classes,
        1 / temperature,
        WITH_CONFIDENCE=confidence,
        BLOCK=_BLOCK,
        enable_fp_fusion=False,
    )
    return mask, probability
