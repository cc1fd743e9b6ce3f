# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far an exported model agrees with torch in float32, on images; and those to calibrate on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrn_ros.data.datasets import read_image, read_pair
from lrn_ros.data.layouts import find_files
from lrn_ros.inference.postprocess import upsample_argmax
from lrn_ros.inference.preprocess import resize
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.metrics.confusion import confusion_matrix, scores
from lrn_ros.model.labels import LabelSet
from lrn_ros.scene import StreetScene

SCENES = 4  # rendered ones, where no data set is given
CALIBRATION = 32  # images that int8 is calibrated on, of a training split or rendered
_A_SCENE, _APART = 4, 25  # rendered ones of one street, and frames between them

Image = NDArray[np.uint8]
# (N, H, W, 3) uint8 -> (N, K, h, w) float32
RunModel = Callable[[Image], NDArray[np.float32]]


def scene_images(size: tuple[int, int]) -> Iterator[tuple[Image, None]]:
    """Rendered street scenes of (height, width) pixels, without labels."""
    height, width = (max(64, n) for n in size)
    for seed in range(SCENES):
        yield StreetScene(seed=seed, height=height, width=width).frame(0)[0], None


def calibration_scenes(size: tuple[int, int]) -> Iterator[Image]:
    """Rendered street scenes of (height, width) pixels, none of them among `scene_images`."""
    height, width = (max(64, n) for n in size)
    for seed in range(SCENES, SCENES + CALIBRATION // _A_SCENE):
        scene = StreetScene(seed=seed, height=height, width=width)
        yield from (scene.frame(_APART * i)[0] for i in range(_A_SCENE))


def calibration_images(data: Path) -> Iterator[Image]:
    """Images spread evenly over a data set's training split.

    Raises:
        UserError: see lrn_ros.data.datasets.find_files and read_image.
    """
    files = find_files(data, "train")
    count = min(CALIBRATION, len(files))
    return (read_image(files[i * len(files) // count].image) for i in range(count))


def data_images(data: Path, labels: LabelSet) -> Iterator[tuple[Image, Image]]:
    """The images of a data set's validation split, with labels.

    Raises:
        UserError: see lrn_ros.data.datasets.find_files and read_pair.
    """
    pairs = (read_pair(files, labels) for files in find_files(data, "val"))
    return ((pair.rgb, pair.label) for pair in pairs)


def measure(
    reference: Segmenter, run: RunModel, images: Iterable[tuple[Image, Image | None]]
) -> dict[str, Any]:
    """Compare masks of an exported model with those of the reference, pixel by pixel.

    Args:
        reference: torch in float32.
        run: the exported model; its input is the frame as the reference's network sees it.
        images: (H, W, 3) uint8 RGB images, each with its (H, W) uint8 label or None.

    Returns:
        "images": how many; "same_label": share of the pixels with the same label, 0-1; and where
        the images have labels "miou" of the exported model and "torch_miou", 0-1.
    """
    classes = len(reference.labels)
    matrices = np.zeros((2, classes, classes + 1), np.int64)
    count = same = pixels = 0
    for rgb, label in images:
        geometry = reference.geometry(rgb.shape[0], rgb.shape[1])
        coarse = run(resize(rgb, geometry)[None])[0], reference.backend.logits(rgb, geometry)
        ours, torchs = (
            upsample_argmax(c, geometry, reference.backend.stride, False)[0] for c in coarse
        )
        count, same, pixels = count + 1, same + int((ours == torchs).sum()), pixels + ours.size
        if label is not None:
            for matrix, mask in zip(matrices, (ours, torchs)):
                matrix += confusion_matrix(label, mask, classes)
    figures: dict[str, Any] = {"images": count, "same_label": same / max(1, pixels)}
    if matrices.any():
        figures["miou"], figures["torch_miou"] = (scores(m).miou for m in matrices)
    return figures
