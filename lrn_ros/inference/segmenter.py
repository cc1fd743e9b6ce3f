# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Segmenter: RGB frames to masks with one model on one backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import UserError
from lrn_ros.inference.backends import base
from lrn_ros.inference.geometry import Geometry, check_network_size, fit
from lrn_ros.inference.postprocess import upsample
from lrn_ros.inference.result import Result
from lrn_ros.inference.smoothing import Smooth
from lrn_ros.model.labels import LabelSet


class Segmenter:
    """Segments frames of any size; use `load` to make one. Not thread-safe.

    Attributes:
        info: what the model's file says of it.
        backend: the backend in use; its name, precision and device_name say which.
        passed_over: (backend, reason) of those that "auto" could not use.
        mapping: of the model's classes to those of the results; None: they are the same.
    """

    def __init__(self, choice: base.Choice, network_size: tuple[int, int] | None) -> None:
        if network_size is not None:
            check_network_size(network_size)
        self.info, self.backend = choice.info, choice.backend
        self.passed_over, self.mapping = choice.passed_over, choice.mapping
        fixed = self.info.export.size if self.info.export else None
        self._network_size = network_size or fixed

    @classmethod
    def load(
        cls,
        model: str | Path = "lrnnet_c_camvid",
        backend: str = "auto",
        precision: str = "auto",
        network_size: tuple[int, int] | None = None,
        threads: int | None = None,
        device: int = 0,
        cache_dir: str | Path | None = None,
        given_up: Mapping[str, str] | None = None,
        label_map: str = "",
    ) -> Segmenter:
        """Load a model.

        Args:
            model: a name under weights/, or a path to a .safetensors or .onnx model file.
            backend: "auto" or a backend's name. "auto" takes the first that also compiles the
                model for the trained size, or for `network_size`.
            precision: "auto", "fp32", "fp16", "bf16" or "int8".
            network_size: (height, width) the network runs at, multiples of 8; None: the only size
                of a model exported with one, else the frame's aspect ratio with the trained
                short side.
            threads: CPU threads; None: the backend's own choice.
            device: GPU index.
            cache_dir: folder for compiled engines; None: lrn_ros/ in the user's cache directory.
            given_up: backends that are passed over, with the reason.
            label_map: the classes of the results, see lrn_ros.model.label_mapping.find; "": the
                model's own.

        Raises:
            UserError: no such model, a damaged file, a bad value, or a backend that cannot work.
        """
        folder = None if cache_dir is None else Path(cache_dir).expanduser()
        options = base.BackendOptions(precision, device, threads or 0, folder)
        passed_over = dict(given_up or {})
        while True:
            choice = base.create(backend, model, options, passed_over, label_map)
            segmenter = cls(choice, network_size)
            if backend != "auto":
                return segmenter
            try:
                segmenter.backend.prepare(segmenter.geometry(*segmenter.info.size))
                return segmenter
            except base.BackendError as error:
                reason = {segmenter.backend.name: str(error)}
            passed_over = dict(segmenter.passed_over) | reason
            del choice, segmenter  # the next one needs its memory

    @property
    def batches(self) -> bool:
        """Whether several frames in one inference are possible, and faster."""
        fixed = self.info.export is not None and self.info.export.size is not None
        return self.backend.batches and not fixed

    @property
    def labels(self) -> LabelSet:
        """Names and colours of the classes of the results."""
        return self.mapping.target if self.mapping else self.info.labels

    @property
    def ids(self) -> tuple[int, ...]:
        """The id under which each class of `labels` is published: its position, or the target's."""
        mapped = self.mapping.target.ids if self.mapping else ()
        return mapped or tuple(range(len(self.labels)))

    def geometry(self, height: int, width: int, output: str = "input") -> Geometry:
        """How a frame of this size is scaled; see lrn_ros.inference.geometry."""
        return fit((height, width), self.info.size, self._network_size, output)

    def __call__(
        self,
        rgb: NDArray[np.uint8],
        confidence: bool = False,
        output: str = "input",
        smooth: Smooth | None = None,
    ) -> Result:
        """Segment a frame.

        Args:
            rgb: (H, W, 3) uint8, RGB.
            confidence: also return the probability of the chosen class.
            output: "input" for a mask of the frame's size, "network" for the size at which the
                network saw it.
            smooth: for a frame of a video: `at(seconds)` of its lrn_ros.inference.smoothing
                Smoother.

        Raises:
            UserError: `rgb` has another shape or dtype.
        """
        _check_frame(rgb)
        geometry = self.geometry(rgb.shape[0], rgb.shape[1], output)
        return self.run([rgb], geometry, confidence, [smooth] if smooth else [])[0]

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        geometry: Geometry,
        confidence: bool,
        smooth: Sequence[Smooth] = (),
    ) -> list[Result]:
        """Segment frames of one geometry in one inference; see Backend.run."""
        results = self.backend.run(frames, geometry, confidence, smooth)
        if self.mapping is None:
            return results
        return [replace(result, mask=self.mapping(result.mask)) for result in results]

    def scores(self, rgb: NDArray[np.uint8], scale: float = 1.0) -> NDArray[np.float32]:
        """Class scores of a frame, before softmax; slower than a mask.

        Args:
            rgb: (H, W, 3) uint8, RGB.
            scale: size of the network's input relative to the one that a mask is computed at.

        Returns:
            (K, H, W) float32, of the model's own classes.

        Raises:
            UserError: `rgb` has another shape or dtype.
        """
        _check_frame(rgb)
        geometry = self.geometry(rgb.shape[0], rgb.shape[1]).scaled(scale)
        return upsample(self.backend.logits(rgb, geometry), geometry, self.backend.stride)

    def warm_up(self, height: int, width: int, output: str = "input") -> None:
        """Run once on a grey frame of this size, so that the first real frame is not slow."""
        self(np.full((height, width, 3), 127, np.uint8), confidence=True, output=output)


def _check_frame(rgb: NDArray[np.uint8]) -> None:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise UserError(f"a frame is (H, W, 3) uint8 RGB, got {rgb.shape} {rgb.dtype}")
