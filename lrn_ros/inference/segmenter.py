# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Segmenter: RGB frames to masks with one model on one backend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lrn_ros.errors import BackendError, UserError
from lrn_ros.images.compressed import read_image
from lrn_ros.inference.backends import base
from lrn_ros.inference.geometry import Geometry, check_network_size, fit
from lrn_ros.inference.postprocess import upsample
from lrn_ros.inference.preprocess import resize
from lrn_ros.inference.result import Result
from lrn_ros.inference.smoothing import Smooth
from lrn_ros.model.artifact import ModelInfo
from lrn_ros.model.labels import LabelSet

_MAX_KNOWN = 32  # compiled geometries that a Segmenter remembers


@dataclass(frozen=True)
class LoadedModel:
    """A description of a Segmenter in plain values, which any thread may keep.

    Attributes:
        info: the description of the model in its file.
        backend, precision, device: the backend that runs the model, its precision and its device.
        passed_over: (backend, reason) of the backends that "auto" could not use.
        batches: whether several frames in one inference are possible, and faster.
        network_size: (height, width) at which the network runs; None: it follows the frame's size.
        labels: names and colours of the classes of the results.
        ids: the id under which each class of `labels` is published.
    """

    info: ModelInfo
    backend: str
    precision: str
    device: str
    passed_over: tuple[tuple[str, str], ...]
    batches: bool
    network_size: tuple[int, int] | None
    labels: LabelSet
    ids: tuple[int, ...]

    def geometry(self, height: int, width: int, output: str = "input") -> Geometry:
        """How a frame of this size is scaled; see lrn_ros.inference.geometry."""
        return fit((height, width), self.info.size, self.network_size, output)


class Segmenter:
    """Segments frames of any size; use `load` to make one.

    One thread at a time may run frames. Another thread may meanwhile prepare other geometries.

    Attributes:
        loaded: a description of the model and the backend in plain values.
        info: the description of the model in its file.
        backend: the backend in use.
        passed_over: (backend, reason) of the backends that "auto" could not use.
        mapping: maps the model's classes to those of the results; None: they are the same.
    """

    def __init__(self, choice: base.Choice, network_size: tuple[int, int] | None) -> None:
        if network_size is not None:
            check_network_size(network_size)
        self.info, self.backend = choice.info, choice.backend
        self.passed_over, self.mapping = choice.passed_over, choice.mapping
        fixed = self.info.export.size if self.info.export else None
        labels = self.mapping.target if self.mapping else self.info.labels
        mapped = labels.ids if self.mapping else ()
        self.loaded = LoadedModel(
            self.info, self.backend.name, self.backend.precision, self.backend.device_name,
            choice.passed_over, self.backend.batches and fixed is None, network_size or fixed,
            labels, mapped or tuple(range(len(labels))),
        )  # fmt: skip
        self._known: dict[Geometry, None] = {}  # compiled at some time, the most recent last

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
            backend: "auto" or a backend's name. "auto" takes the first backend that also compiles
                the model for the trained size, or for `network_size`.
            precision: "auto", "fp32", "fp16", "bf16" or "int8".
            network_size: (height, width) at which the network runs, multiples of 8; None: the size
                of a model that was exported for one size, otherwise the trained short side with the
                frame's aspect ratio.
            threads: CPU threads; None: the backend's own choice.
            device: GPU index.
            cache_dir: folder for compiled engines; None: lrn_ros/ in the user's cache directory.
            given_up: backends that are passed over, with the reason.
            label_map: the classes of the results, see lrn_ros.model.labels.find; "": the
                model's own.

        Raises:
            UserError: there is no such model, its file is damaged, or a value is bad.
            BackendError: the backend cannot work on this machine.
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
                segmenter.prepare(segmenter.geometry(*segmenter.info.size))
                return segmenter
            except BackendError as error:
                reason = {segmenter.backend.name: str(error)}
            passed_over = dict(segmenter.passed_over) | reason
            del choice, segmenter  # the next backend needs this memory

    @property
    def labels(self) -> LabelSet:
        """Names and colours of the classes of the results."""
        return self.loaded.labels

    def geometry(self, height: int, width: int, output: str = "input") -> Geometry:
        """How a frame of this size is scaled; see lrn_ros.inference.geometry."""
        return self.loaded.geometry(height, width, output)

    def prepared(self, geometry: Geometry, batch: int = 1) -> bool:
        """Whether `batch` frames of this geometry run at once, with nothing left to compile."""
        return self.backend.prepared(geometry, batch)

    def prepare(self, geometry: Geometry, batch: int = 1) -> None:
        """Compile what `batch` frames of this geometry need; errors as Backend.prepare."""
        self.backend.prepare(geometry, batch)
        self._remember(geometry)

    def stand_in(self, geometry: Geometry) -> Geometry | None:
        """A compiled geometry that can run in place of a geometry that is not compiled; see `run`.

        It has the same frame and mask and another network size if the backend can run that, and is
        a geometry of other frames otherwise. Of several such geometries it is the one that shows
        the frame at the most similar scale. None: nothing is compiled.
        """
        known = list(self._known)
        fitted = [fit(geometry.frame, self.info.size, known_one.network) for known_one in known]
        own = [replace(candidate, output=geometry.output) for candidate in fitted]

        def distance(candidate: Geometry) -> tuple[float, tuple[int, int]]:
            shown = candidate.scale[0] * _inside(geometry.frame, candidate.frame)
            return round(abs(math.log(shown / geometry.scale[0])), 6), candidate.network

        for candidates in (own, known):
            if compiled := [c for c in dict.fromkeys(candidates) if self.prepared(c)]:
                return min(compiled, key=distance)
        return None

    def run(
        self,
        frames: Sequence[NDArray[np.uint8]],
        geometry: Geometry,
        confidence: bool = False,
        smooth: Sequence[Smooth] = (),
        through: Geometry | None = None,
    ) -> list[Result]:
        """Segment several frames of one geometry in one inference; see Backend.run.

        Args:
            frames: images of shape (H, W, 3), uint8 RGB.
            geometry: the geometry of all frames.
            confidence: also give the probability of the chosen class.
            smooth: one function per frame, or none.
            through: another geometry from `stand_in`, which runs in place of `geometry`. If it is
                for frames of another size, the frames are scaled into that size with their aspect
                ratio kept, and the masks are scaled back.

        Returns:
            One result per frame, of the size `geometry.output`.
        """
        through = through or geometry
        if through.frame == geometry.frame:
            results = self.backend.run(frames, through, confidence, smooth)
        else:
            inner = _fit_into(geometry.frame, through.frame)
            images = [resize(rgb, inner) for rgb in frames]
            results = self.backend.run(images, through, confidence, smooth)
            results = [_cut_out(r, inner.content, through, geometry.output) for r in results]
        self._remember(through)
        if self.mapping is None:
            return results
        return [replace(result, mask=self.mapping(result.mask)) for result in results]

    def _remember(self, geometry: Geometry) -> None:
        known = dict(self._known)
        known.pop(geometry, None)
        oldest = next(iter(known), None)
        if oldest is not None and len(known) >= _MAX_KNOWN:
            del known[oldest]
        self._known = known | {geometry: None}  # as a whole: another thread may be reading it

    def __call__(
        self,
        image: NDArray[np.uint8] | str | Path | Any,
        confidence: bool = False,
        output: str = "input",
        smooth: Smooth | None = None,
    ) -> Result:
        """Segment an image.

        Args:
            image: (H, W, 3) uint8, RGB; or the path of an image file, or a PIL image. The EXIF
                orientation of these is not applied.
            confidence: also return the probability of the chosen class.
            output: "input" for a mask of the frame's size, "network" for the size at which the
                network saw it.
            smooth: for a frame of a video: the result of `at(seconds)` of the video's
                lrn_ros.inference.smoothing.Smoother.

        Raises:
            UserError: `image` is an array of another shape or dtype, or a file that is no image.
            TypeError: `image` is something else.
        """
        rgb = _to_rgb(image)
        geometry = self.geometry(rgb.shape[0], rgb.shape[1], output)
        return self.run([rgb], geometry, confidence, [smooth] if smooth else [])[0]

    def scores(
        self, image: NDArray[np.uint8] | str | Path | Any, scale: float = 1.0
    ) -> NDArray[np.float32]:
        """Class scores of an image, before softmax; slower than a mask.

        Args:
            image: as in a call.
            scale: size of the network's input, relative to the size at which a mask is computed.

        Returns:
            (K, H, W) float32 for the model's own classes.

        Raises:
            UserError, TypeError: as in a call.
        """
        rgb = _to_rgb(image)
        geometry = self.geometry(rgb.shape[0], rgb.shape[1]).scaled(scale)
        return upsample(self.backend.logits(rgb, geometry), geometry, self.backend.stride)

    def warm_up(self, height: int, width: int, output: str = "input") -> None:
        """Run once on a grey frame of this size, so that the first real frame is not slow."""
        self(np.full((height, width, 3), 127, np.uint8), confidence=True, output=output)


def _inside(frame: tuple[int, int], other: tuple[int, int]) -> float:
    """The scale at which a frame fits into a frame of another size."""
    return min(other[0] / frame[0], other[1] / frame[1])


def _fit_into(frame: tuple[int, int], other: tuple[int, int]) -> Geometry:
    """How a frame is scaled into the place of a frame of another size."""
    scale = _inside(frame, other)
    height, width = (max(1, min(o, round(n * scale))) for n, o in zip(frame, other))
    return Geometry(frame, (height, width), other, other)


def _cut_out(
    result: Result, content: tuple[int, int], through: Geometry, output: tuple[int, int]
) -> Result:
    """The part of a result that shows the frame, scaled to `output` without mixing classes.

    Args:
        result: the result of a frame of the size `through.frame`, whose first rows and columns show
            the wanted frame.
        content: (height, width) of these rows and columns.
        through: the geometry that gave the result.
        output: the (height, width) that is wanted.
    """
    rows, columns = (
        max(1, round(n * o / f)) for n, o, f in zip(content, through.output, through.frame)
    )

    def scaled(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shown = plane[:rows, :columns]
        return np.asarray(
            cv2.resize(shown, output[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8
        )

    confidence = None if result.confidence is None else scaled(result.confidence)
    return replace(result, mask=scaled(result.mask), confidence=confidence)


def _to_rgb(image: Any) -> NDArray[np.uint8]:
    """The pixels of an image that is given as an array, a path or a PIL image."""
    if isinstance(image, (str, Path)):
        return read_image(Path(image))
    if type(image).__module__.partition(".")[0] == "PIL":
        return np.asarray(image.convert("RGB"), np.uint8)
    if not isinstance(image, np.ndarray):
        raise TypeError(
            "an image must be an (H, W, 3) uint8 array in RGB, the path of an image file or a PIL"
            f" image, not {type(image).__module__}.{type(image).__qualname__}"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UserError(f"a frame must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    return image
