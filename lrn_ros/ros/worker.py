# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The inference thread: newest frames of the cameras served longest ago, segmented, published."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from lrn_ros.errors import RunError
from lrn_ros.images.cdr import CompressedImageMessage
from lrn_ros.images.compressed import compressed_to_rgb
from lrn_ros.images.encodings import ImageError, message_to_rgb
from lrn_ros.inference.frame_sizes import FrameSizes
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.result import Result
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.inference.smoothing import Smooth
from lrn_ros.inference.supervisor import NotReady, Supervisor
from lrn_ros.model.labels import UNLABELLED
from lrn_ros.ros.camera import Camera, Frame
from lrn_ros.ros.parameters import Settings

_OTHER_CLOCK_NS = 60 * 10**9  # a stamp longer ago than this is no measure of latency


@dataclass(frozen=True)
class _Job:
    """A decoded frame with the monotonic times at which it was taken and decoded."""

    camera: Camera
    frame: Frame
    rgb: NDArray[np.uint8]
    taken: float
    decoded: float

    def smooth(self) -> Smooth:
        """What smooths it, by its stamp; by its receipt where that is zero: unknown."""
        return self.camera.smoother.at((self.frame.stamp_ns or self.frame.received_ns) / 1e9)


@dataclass(frozen=True)
class _Answer:
    """A result with the mask as published, and when: monotonic seconds, and by the node's clock."""

    result: Result
    mask: NDArray[np.uint8]
    start: float
    published: float
    published_ns: int


class Worker:
    """Runs the Supervisor on a thread of its own behind one slot per camera.

    Args:
        node: for clock, log and name.
        supervisor: used by this thread alone.
        cameras: whose `waiting` frames are processed in turn.
        settings: gives the present settings.
        sizes: is told the size of every frame.
    """

    def __init__(
        self,
        node: Node,
        supervisor: Supervisor,
        cameras: list[Camera],
        settings: Callable[[], Settings],
        sizes: FrameSizes,
    ) -> None:
        self._node, self._supervisor, self._sizes = node, supervisor, sizes
        self._cameras, self._settings = cameras, settings
        self._condition = threading.Condition()
        self._active = self._busy = self._stopped = False
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def deliver(self, camera: Camera, frame: Frame) -> None:
        """Take a received frame; one that still waits is superseded by it."""
        max_age_ms = self._settings().max_age_ms
        with self._condition:
            if not self._active:
                camera.statistics.dropped("inactive")
            elif camera.is_behind(frame) or (max_age_ms and frame.age_ms > max_age_ms):
                camera.statistics.dropped("stale")
            else:
                if camera.waiting is not None:
                    camera.statistics.dropped("superseded")
                camera.waiting = frame
                self._condition.notify()

    def activate(self) -> None:
        """Accept frames from now on."""
        with self._condition:
            self._active = True

    def deactivate(self) -> None:
        """Stop; returns when the frames in work are published and nothing follows."""
        with self._condition:
            self._active = False
            for camera in self._cameras:
                if camera.waiting is not None:
                    camera.statistics.dropped("inactive")
                    camera.waiting = None
            self._condition.wait_for(lambda: not self._busy)
            for camera in self._cameras:
                camera.smoother.reset()

    def stop(self, timeout: float = 1.5) -> None:
        """End the thread, waiting at most `timeout` seconds for the frames in work."""
        with self._condition:
            self._active, self._stopped = False, True
            self._condition.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while frames := self._next():
            self._serve(frames)

    def _next(self) -> list[tuple[Camera, Frame]]:
        """Wait for frames that may run together; empty when stopped."""
        with self._condition:
            self._busy = False
            self._condition.notify_all()
            while not self._stopped:
                waiting = [c for c in self._cameras if c.waiting is not None]
                if waiting:
                    self._busy = True
                    return self._take(waiting)
                self._condition.wait()
        return []

    def _take(self, waiting: list[Camera]) -> list[tuple[Camera, Frame]]:
        """The frame of the camera served longest ago, and those that had its geometry last time.

        Not the oldest frame: a newer one replaces it, so a slow node would serve the same camera
        for ever.
        """
        waiting.sort(key=lambda c: c.served_at)
        first = waiting[0]
        alike = [c for c in waiting[1:] if c.geometry is not None and c.geometry == first.geometry]
        taken = []
        for camera in (first, *alike[: self._max_batch() - 1]):
            camera.served_at = time.monotonic()
            frame, camera.waiting = camera.waiting, None
            taken.append((camera, frame))
        return taken  # type: ignore[return-value]

    def _max_batch(self) -> int:
        try:
            return self._settings().max_batch if self._supervisor.segmenter.batches else 1
        except (NotReady, RunError):
            return 1

    def _serve(self, frames: list[tuple[Camera, Frame]]) -> None:
        """Decode, segment, publish; what fails is counted and said, and never ends the thread."""
        settings = self._settings()
        groups: dict[Geometry, list[_Job]] = {}
        for camera, frame in frames:
            if settings.lazy and not camera.outputs.wanted():
                camera.statistics.idled()
                continue
            with self._reporting([camera]):
                job = _decode(camera, frame)
                size = job.rgb.shape[0], job.rgb.shape[1]
                segmenter = self._supervisor.segmenter
                camera.geometry = segmenter.geometry(*size, settings.output_size)
                self._sizes.saw(size)
                groups.setdefault(camera.geometry, []).append(job)
        for geometry, jobs in groups.items():
            with self._reporting([job.camera for job in jobs]):
                self._segment(jobs, geometry, settings)

    def _segment(self, jobs: list[_Job], geometry: Geometry, settings: Settings) -> None:
        segmenter = self._supervisor.segmenter
        confidence = settings.confidence_threshold > 0 or any(
            job.camera.outputs.wants_confidence() for job in jobs
        )
        smooth = [job.smooth() for job in jobs] if settings.temporal_smoothing else []
        results = self._supervisor.run([job.rgb for job in jobs], geometry, confidence, smooth)
        answers = []
        for job, result in zip(jobs, results):
            with self._reporting([job.camera]):
                answers.append((job, self._publish_mask(job, result, settings)))
        for job, answer in answers:
            with self._reporting([job.camera]):
                self._publish_rest(job, answer, segmenter, settings)

    @contextlib.contextmanager
    def _reporting(self, cameras: list[Camera]) -> Iterator[None]:
        """Count whatever goes wrong inside as the fate of one frame of each camera."""
        try:
            yield
        except NotReady:
            for camera in cameras:
                camera.statistics.dropped("compiling")
        except ImageError as error:
            self._report(cameras, "invalid", error.cause, str(error))
        except Exception as error:
            self._report(cameras, "failed", type(error).__name__, str(error))

    def _report(self, cameras: list[Camera], cause: str, key: str, text: str) -> None:
        if not self._node.context.ok():
            return  # interrupted by shutdown, no fault of the frame's
        for camera in cameras:
            camera.report(cause, key, text)

    def _publish_mask(self, job: _Job, result: Result, settings: Settings) -> _Answer:
        """The mask goes out before anything that is made of it."""
        start = time.perf_counter()
        threshold, mask = settings.confidence_threshold, result.mask
        if threshold > 0 and result.confidence is not None:
            mask = np.where(result.confidence < threshold * 255, UNLABELLED, mask).astype(np.uint8)
        job.camera.outputs.publish_mask(mask, job.frame.header)
        now_ns = self._node.get_clock().now().nanoseconds
        return _Answer(result, mask, start, time.perf_counter(), now_ns)

    def _publish_rest(
        self, job: _Job, answer: _Answer, segmenter: Segmenter, settings: Settings
    ) -> None:
        camera, frame, header = job.camera, job.frame, job.frame.header
        start = time.perf_counter()
        outputs, result, mask = camera.outputs, answer.result, answer.mask
        outputs.publish_info(camera.info, (mask.shape[0], mask.shape[1]), header)
        outputs.publish_pictures(
            job.rgb, mask, result.confidence, header, segmenter.labels, settings
        )
        timings, publishing = result.timings, answer.published - answer.start
        stages = {
            "transport_ms": latency_ms(frame.stamp_ns, frame.received_ns),
            "queue_ms": (job.taken - frame.received_at) * 1e3,
            "decode_ms": (job.decoded - job.taken) * 1e3,
            "preprocess_ms": timings.preprocess_ms,
            "inference_ms": timings.inference_ms,
            "postprocess_ms": timings.postprocess_ms,
            "publish_ms": (publishing + time.perf_counter() - start) * 1e3,
            "processing_ms": (answer.published - frame.received_at) * 1e3,
            "end_to_end_ms": latency_ms(frame.stamp_ns, answer.published_ns),
        }
        camera.statistics.completed(stages)
        values = {k: f"{v:.3f}" for k, v in stages.items()}
        values |= {
            "frames": str(camera.statistics.published),
            "dropped": str(camera.statistics.total_dropped()),
            "backend": f"{segmenter.backend.name} {segmenter.backend.precision}",
            "batch": str(timings.batch),
            "fused": ",".join(timings.fused),
        }
        outputs.publish_latency(f"{self._node.get_name()}: {camera.name}", header, values)


def _decode(camera: Camera, frame: Frame) -> _Job:
    taken, message = time.perf_counter(), frame.message
    if isinstance(message, CompressedImageMessage):
        rgb = compressed_to_rgb(message.data, message.format)
    else:
        rgb = message_to_rgb(message)
    return _Job(camera, frame, rgb, taken, time.perf_counter())


def latency_ms(stamp_ns: int, now_ns: int) -> float:
    """Milliseconds since an image's stamp.

    NaN where that is unknown: the stamp is zero, in the future, or so old that it is of another
    clock, as with a bag that is played without simulated time.
    """
    if stamp_ns <= 0 or not 0 <= now_ns - stamp_ns <= _OTHER_CLOCK_NS:
        return math.nan
    return (now_ns - stamp_ns) / 1e6
