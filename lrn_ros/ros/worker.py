# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The inference thread: newest frame of the camera served longest ago, segmented, published."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node

from lrn_ros.images import ImageError, compressed_to_rgb, message_to_rgb
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.labels import UNLABELLED
from lrn_ros.ros.camera import Camera, Frame
from lrn_ros.ros.parameters import Settings


class Worker:
    """Runs the Segmenter on a thread of its own behind one slot per camera.

    Args:
        node: for clock, log and name.
        segmenter: used by this thread alone.
        cameras: whose `waiting` frames are processed in turn.
        settings: gives the present settings.
    """

    def __init__(
        self,
        node: Node,
        segmenter: Segmenter,
        cameras: list[Camera],
        settings: Callable[[], Settings],
    ) -> None:
        self._node, self._segmenter = node, segmenter
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
            elif max_age_ms and (frame.received_ns - frame.stamp_ns) / 1e6 > max_age_ms:
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
        """Stop; returns when the frame in work is published and nothing follows."""
        with self._condition:
            self._active = False
            for camera in self._cameras:
                if camera.waiting is not None:
                    camera.statistics.dropped("inactive")
                    camera.waiting = None
            self._condition.wait_for(lambda: not self._busy)

    def stop(self, timeout: float = 1.5) -> None:
        """End the thread, waiting at most `timeout` seconds for the frame in work."""
        with self._condition:
            self._active, self._stopped = False, True
            self._condition.notify_all()
        self._thread.join(timeout)

    def _next(self) -> tuple[Camera, Frame] | None:
        """Wait for a frame; None when stopped."""
        with self._condition:
            self._busy = False
            self._condition.notify_all()
            while not self._stopped:
                waiting = [c for c in self._cameras if c.waiting is not None]
                if waiting:
                    # Not the oldest frame: a newer one replaces it, so a slow node would serve
                    # the same camera for ever.
                    camera = min(waiting, key=lambda c: c.served_at)
                    camera.served_at = time.monotonic()
                    frame, camera.waiting = camera.waiting, None
                    self._busy = True
                    return camera, frame  # type: ignore[return-value]
                self._condition.wait()
        return None

    def _run(self) -> None:
        while (job := self._next()) is not None:
            camera, frame = job
            try:
                self._process(camera, frame)
            except ImageError as error:
                self._report(camera, "invalid", error.cause, str(error))
            except Exception as error:  # a frame that fails must never end the thread
                self._report(camera, "failed", type(error).__name__, f"{error}")

    def _report(self, camera: Camera, cause: str, key: str, text: str) -> None:
        if not self._node.context.ok():
            return  # interrupted by shutdown, no fault of the frame's
        if camera.statistics.fault(cause, key, f"{cause}: {text}"):
            self._node.get_logger().error(
                f"{camera.topic}: frame dropped as {cause}: {text} (said once per cause;"
                " /diagnostics counts them)"
            )

    def _process(self, camera: Camera, frame: Frame) -> None:
        taken = time.perf_counter()
        settings, outputs = self._settings(), camera.outputs
        if settings.lazy and not outputs.wanted():
            camera.statistics.idled()
            return
        message = frame.message
        if settings.image_transport == "compressed":
            rgb = compressed_to_rgb(message.data, message.format)
        else:
            rgb = message_to_rgb(message)
        decoded = time.perf_counter()
        threshold = settings.confidence_threshold
        need_confidence = threshold > 0 or outputs.confidence.get_subscription_count() > 0
        result = self._segmenter(rgb, confidence=need_confidence, output=settings.output_size)
        mask = result.mask
        if threshold > 0 and result.confidence is not None:
            mask = np.where(result.confidence < threshold * 255, UNLABELLED, mask).astype(np.uint8)
        segmented = time.perf_counter()
        header = message.header
        outputs.publish_mask(mask, header)
        published = time.perf_counter()
        published_ns = self._node.get_clock().now().nanoseconds
        outputs.publish_info(camera.info, (mask.shape[0], mask.shape[1]), header)
        outputs.publish_pictures(
            rgb, mask, result.confidence, header, self._segmenter.labels, settings
        )
        stages = {
            "transport_ms": _since_stamp(frame, frame.received_ns),
            "queue_ms": (taken - frame.received_at) * 1e3,
            "decode_ms": (decoded - taken) * 1e3,
            "preprocess_ms": result.timings.preprocess_ms,
            "inference_ms": result.timings.inference_ms,
            "postprocess_ms": result.timings.postprocess_ms,
            "publish_ms": (time.perf_counter() - segmented) * 1e3,
            "processing_ms": (published - frame.received_at) * 1e3,
            "end_to_end_ms": _since_stamp(frame, published_ns),
        }
        camera.statistics.completed(stages)
        self._publish_latency(camera, header, stages, result.timings.fused)

    def _publish_latency(
        self, camera: Camera, header: Any, stages: dict[str, float], fused: tuple[str, ...]
    ) -> None:
        statistics = camera.statistics
        values = {k: f"{v:.3f}" for k, v in stages.items()}
        values |= {
            "frames": str(statistics.published),
            "dropped": str(statistics.total_dropped()),
            "backend": f"{self._segmenter.backend.name} {self._segmenter.backend.precision}",
            "batch": "1",
            "fused": ",".join(fused),
        }
        camera.outputs.publish_latency(f"{self._node.get_name()}: {camera.name}", header, values)


def _since_stamp(frame: Frame, now_ns: int) -> float:
    """Milliseconds since the image's stamp; NaN where the stamp is zero or in the future."""
    if frame.stamp_ns <= 0 or now_ns < frame.stamp_ns:
        return float("nan")
    return (now_ns - frame.stamp_ns) / 1e6
