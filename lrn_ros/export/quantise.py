# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""8-bit integer convolutions in an ONNX graph: QuantizeLinear and DequantizeLinear pairs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from tqdm import tqdm

from lrn_ros.export.agreement import Image

# TensorRT's parser takes zero points of 0 and biases in float. Nothing is quantised after a
# convolution: pairs there, and around additions, concatenations and shuffles, were slower.
# Processor time of LRNNet-C in OpenVINO at 360x480, of that of bf16: so 0.85, with them 0.91 to
# 0.93. NNCF places its pairs better (0.79), but needs scikit-learn, scipy and a dozen others.
_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": ["Conv"],
}


class _CalibrationImages(CalibrationDataReader):
    def __init__(self, images: Iterable[Image]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Image] | None:
        """One image as a batch; None behind the last."""
        image = next(self._images, None)
        return None if image is None else {"image": image[None]}


def quantise(model: onnx.ModelProto, images: Iterable[Image]) -> onnx.ModelProto:
    """Inputs and weights of every convolution as symmetric int8, weights with a scale per channel.

    All else stays in floating point: the normalisation of the image, the SVN's core, biases, sums
    and scores; a pooling or sum beside a convolution reads the same rounded input. First and last
    convolution need no exception: without them 99.39 instead of 99.35 % of the pixels keep their
    label on every fourth image of CamVid val.

    Args:
        model: a float32 graph from `image`, (N, H, W, 3) uint8; not changed.
        images: what the scales are calibrated on, at least one: (H, W, 3) uint8 at a size that the
            graph takes. A scale is the largest magnitude seen over 127.

    Returns:
        The graph with the same input and output; shapes that were dynamic still are.
    """
    with tempfile.TemporaryDirectory(prefix="lrn_ros.") as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        ready = onnx.ModelProto()
        ready.CopyFrom(model)
        add_pre_process_metadata(ready)  # batch norms are folded: no advice to do so
        onnx.save(ready, source)
        quantize_static(
            source,
            target,
            _CalibrationImages(
                tqdm(images, "calibration", unit="image", disable=not sys.stderr.isatty())
            ),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options=_OPTIONS,
        )
        return onnx.load(target)
