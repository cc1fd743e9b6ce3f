# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The inference thread: takes the newest frames of the cameras in turn, segments, publishes."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from lrn_ros.errors import RunError
from lrn_ros.images.cdr import CompressedImageMessage
from lrn_ros.images.compressed import compressed_to_rgb
from lrn_ros.images.encodings import ImageError, message_to_rgb
from lrn_ros.inference.cache import FrameSizes
from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.result import Result
from lrn_ros.inference.segmenter import LoadedModel
from lrn_ros.inference.smoothing import Smooth
from lrn_ros.inference.supervisor import NotReady, Supervisor
from lrn_ros.model.labels import UNLABELLED
from lrn_ros.ros.camera import Camera, ReceivedFrame
from lrn_ros.ros.guard import Exceptions
from lrn_ros.ros.health import Health, HealthLimits
from lrn_ros.ros.parameters import Settings
from lrn_ros.ros.schedule import Schedule, Slot
from lrn_ros.ros.transports import Picture

_OTHER_CLOCK_NS = 60 * 10**9  # an older stamp is from another clock and gives no latency


@dataclass(frozen=True)
class _Job:
    """A decoded frame with the monotonic times at which it was taken and decoded.

    Attributes:
        behind_ns: how much older the stamp is than the newest stamp of an earlier frame.
    """

    slot: Slot
    frame: ReceivedFrame
    behind_ns: int
    rgb: NDArray[np.uint8]
    taken: float
    decoded: float

    @property
    def camera(self) -> Camera:
        """The camera of the frame."""
        return self.slot.camera

    def smooth(self) -> Smooth:
        """The function that smooths this frame at its stamp, or at its receipt if that is zero."""
        return self.slot.smoother.at((self.frame.stamp_ns or self.frame.received_ns) / 1e9)


@dataclass(frozen=True)
class _Answer:
    """A result, the published mask, and the time of publishing.

    Attributes:
        start, published: monotonic seconds before and after the mask was published.
        published_ns: time of the node's clock after the mask was published.
    """

    result: Result
    mask: NDArray[np.uint8]
    start: float
    published: float
    published_ns: int


class Worker:
    """Runs the Supervisor on a thread of its own behind one slot per camera.

    Args:
        node: gives clock, log and name.
        supervisor: runs the frames; only this thread calls it.
        cameras: the cameras, whose newest frames are processed in turn.
        settings: the settings at the start.
        sizes: remembers the size of every frame.
        exceptions: counts the exceptions that do not belong to one frame.

    Attributes:
        settings: the present settings; replaced as a whole.
    """

    def __init__(
        self,
        node: Node,
        supervisor: Supervisor,
        cameras: Sequence[Camera],
        settings: Settings,
        sizes: FrameSizes,
        exceptions: Exceptions,
    ) -> None:
        self._node, self._supervisor, self._sizes = node, supervisor, sizes
        self.settings, self._exceptions = settings, exceptions
        self._schedule = Schedule(cameras, node.get_logger().info)
        self._condition = threading.Condition()
        self._active = self._busy = self._stopped = False
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def deliver(self, camera: Camera, frame: ReceivedFrame) -> None:
        """Take a received frame; it supersedes a frame of the camera that still waits."""
        with self._condition:
            if not self._active:
                camera.statistics.dropped("inactive")
            elif self._schedule.put(camera, frame, self.settings):
                self._condition.notify()

    def activate(self) -> None:
        """Accept frames from now on."""
        with self._condition:
            self._active = True

    def deactivate(self) -> None:
        """Stop; return when the frames in work are published and no frame follows."""
        with self._condition:
            self._active = False
            self._schedule.clear()
            self._condition.wait_for(lambda: not self._busy)
            self._schedule.forget()

    def stop(self, timeout: float = 1.5) -> None:
        """End the thread, waiting at most `timeout` seconds for the frames in work."""
        with self._condition:
            self._active, self._stopped = False, True
            self._condition.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while frames := self._next():
            try:
                self._serve(frames)
            except Exception as error:  # exceptions of one frame are counted in _reporting
                self._exceptions.add(error, "the worker")

    def _next(self) -> list[tuple[Slot, ReceivedFrame, int]]:
        """Wait for frames that may run together; empty when the worker is stopped."""
        with self._condition:
            self._busy = False
            self._condition.notify_all()
            while not self._stopped:
                if frames := self._schedule.take(self._max_batch()):
                    self._busy = True
                    return frames
                self._condition.wait()
        return []

    def _max_batch(self) -> int:
        try:
            return self.settings.max_batch if self._supervisor.model.batches else 1
        except (NotReady, RunError):
            return 1

    def _serve(self, frames: list[tuple[Slot, ReceivedFrame, int]]) -> None:
        """Decode, segment and publish; a failure is counted and logged, and the thread goes on."""
        settings = self.settings
        groups: dict[Geometry, list[_Job]] = {}
        for slot, frame, behind_ns in frames:
            camera = slot.camera
            if settings.lazy and not camera.outputs.is_wanted():
                camera.statistics.idled()
                continue
            with self._reporting([camera]):
                job = _decode(slot, frame, behind_ns)
                size = job.rgb.shape[0], job.rgb.shape[1]
                slot.geometry = self._supervisor.model.geometry(*size, settings.output_size)
                self._sizes.remember(size)
                groups.setdefault(slot.geometry, []).append(job)
        for geometry, jobs in groups.items():
            with self._reporting([job.camera for job in jobs]):
                self._segment(jobs, geometry, settings)

    def _segment(self, jobs: list[_Job], geometry: Geometry, settings: Settings) -> None:
        model = self._supervisor.model
        confidence = settings.confidence_threshold > 0 or any(
            job.camera.outputs.is_listened("confidence") for job in jobs
        )
        smooth = [job.smooth() for job in jobs] if settings.temporal_smoothing else []
        results = self._supervisor.run([job.rgb for job in jobs], geometry, confidence, smooth)
        answers = []
        for job, result in zip(jobs, results):
            with self._reporting([job.camera]):
                answers.append((job, self._publish_mask(job, result, settings)))
        for job, answer in answers:
            with self._reporting([job.camera]):
                self._publish_rest(job, answer, model, settings)

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

    def _report(self, cameras: list[Camera], cause: str, kind: str, text: str) -> None:
        if self._stopped or not self._node.context.ok():
            return  # the publishers may be gone, which is no fault of the frame
        for camera in cameras:
            camera.report(cause, kind, text)

    def _publish_mask(self, job: _Job, result: Result, settings: Settings) -> _Answer:
        """Publish the mask, before anything that is made from it."""
        start = time.perf_counter()
        threshold, mask = settings.confidence_threshold, result.mask
        if threshold > 0 and result.confidence is not None:
            mask = np.where(result.confidence < threshold * 255, UNLABELLED, mask).astype(np.uint8)
        job.camera.outputs.publish_mask(mask, job.frame.header)
        now_ns = self._node.get_clock().now().nanoseconds
        return _Answer(result, mask, start, time.perf_counter(), now_ns)

    def _publish_rest(
        self, job: _Job, answer: _Answer, model: LoadedModel, settings: Settings
    ) -> None:
        camera, header = job.camera, job.frame.header
        start = time.perf_counter()
        outputs, result, mask = camera.outputs, answer.result, answer.mask
        if outputs.is_listened("camera_info") and (info := camera.info()) is not None:
            size = (mask.shape[0], mask.shape[1]) if settings.output_size == "network" else None
            outputs.publish_info(info, size, header)
        outputs.publish_pictures(job.rgb, mask, result.confidence, header, model.labels, settings)
        health = self._look(job, settings)
        publish_ms = (answer.published - answer.start + time.perf_counter() - start) * 1e3
        stages = stage_times(job.frame, job.taken, job.decoded, answer, publish_ms)
        camera.statistics.completed(stages)
        outputs.publish_times(stages["processing_ms"], stages["end_to_end_ms"], header)
        values = {k: f"{v:.3f}" for k, v in stages.items()}
        values |= {
            "frames": str(camera.statistics.published),
            "dropped": str(camera.statistics.total_dropped()),
            "behind_ms": f"{job.behind_ns / 1e6:.3f}",
            "backend": f"{model.backend} {model.precision}",
            "batch": str(result.timings.batch),
            "fused": ",".join(result.timings.fused),
        }
        if health is not None:
            values |= health.values()
        name = self._node.get_name()
        identity = f"{self._node.get_fully_qualified_name()} {camera.name}"
        outputs.publish_latency(f"{name}: {camera.name}", identity, header, values)

    def _look(self, job: _Job, settings: Settings) -> Health | None:
        """Check how the picture looks, if that is wanted; the mask is published already."""
        health = None
        if settings.camera_health:
            limits = HealthLimits(
                settings.health_frozen_frames, settings.health_dark,
                settings.health_saturated, settings.health_blurred,
            )  # fmt: skip
            message = job.frame.message
            # The packets of a video differ even if the picture stands still.
            data = job.rgb.data if isinstance(message, Picture) else message.data
            health = job.slot.health.look(data, job.rgb, limits)
        job.camera.statistics.looked_at(health)
        return health


def _decode(slot: Slot, frame: ReceivedFrame, behind_ns: int) -> _Job:
    taken, message = time.perf_counter(), frame.message
    if isinstance(message, Picture):
        rgb = message.to_rgb()
        taken -= message.decoding_s  # the codec has decoded the frame when the message came
    elif isinstance(message, CompressedImageMessage):
        rgb = compressed_to_rgb(message.data, message.format)
    else:
        rgb = message_to_rgb(message)
    return _Job(slot, frame, behind_ns, rgb, taken, time.perf_counter())


def stage_times(
    frame: ReceivedFrame, taken: float, decoded: float, answer: _Answer, publish_ms: float
) -> dict[str, float]:
    """The durations of lrn_ros.inference.result.STAGES for one frame, in milliseconds."""
    timings = answer.result.timings
    return {
        "transport_ms": latency_ms(frame.stamp_ns, frame.received_ns),
        "queue_ms": (taken - frame.received_at) * 1e3,
        "decode_ms": (decoded - taken) * 1e3,
        "preprocess_ms": timings.preprocess_ms,
        "inference_ms": timings.inference_ms,
        "postprocess_ms": timings.postprocess_ms,
        "publish_ms": publish_ms,
        "processing_ms": (answer.published - frame.received_at) * 1e3,
        "end_to_end_ms": latency_ms(frame.stamp_ns, answer.published_ns),
    }


def latency_ms(stamp_ns: int, now_ns: int) -> float:
    """Milliseconds since an image's stamp.

    The value is NaN if the latency is unknown, because the stamp is zero, in the future, or so old
    that it comes from another clock, as with a bag that is played without simulated time.
    """
    if stamp_ns <= 0 or not 0 <= now_ns - stamp_ns <= _OTHER_CLOCK_NS:
        return math.nan
    return (now_ns - stamp_ns) / 1e6
