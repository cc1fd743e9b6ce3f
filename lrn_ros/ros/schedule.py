# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decides which frame is processed next; there is one slot per camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lrn_ros.inference.geometry import Geometry
from lrn_ros.inference.smoothing import Smoother
from lrn_ros.ros.camera import Camera, ReceivedFrame
from lrn_ros.ros.health import HealthMonitor
from lrn_ros.ros.parameters import Settings

_SET_BACK_NS = 10**9  # after a longer step back a clock was set, or a bag starts again


@dataclass
class Slot:
    """The worker's place for one camera.

    Attributes:
        camera: the camera.
        waiting: the newest frame, until it is taken.
        behind_ns: how much older the stamp of that frame is than the newest stamp before it.
        served_at: monotonic seconds at which a frame was last taken.
        geometry: the geometry of the frame that was taken last.
        smoother, health: see lrn_ros.inference.smoothing and lrn_ros.ros.health.
        newest_ns: the newest stamp so far.
        said: the messages about stamps that were logged already.
    """

    camera: Camera
    waiting: ReceivedFrame | None = None
    behind_ns: int = 0
    served_at: float = 0.0
    geometry: Geometry | None = None
    smoother: Smoother = field(default_factory=Smoother)
    health: HealthMonitor = field(default_factory=HealthMonitor)
    newest_ns: int = 0
    said: set[str] = field(default_factory=set)

    def step_back_ns(self, stamp_ns: int) -> int:
        """How much older a stamp is than the newest stamp before it; 0 if it is not older.

        After a step back of more than a second, stamps are compared with this new time. A stamp of
        zero is unknown and gives 0.
        """
        if stamp_ns == 0:
            return 0
        behind_ns = max(0, self.newest_ns - stamp_ns)
        if behind_ns == 0 or behind_ns > _SET_BACK_NS:
            self.newest_ns = stamp_ns
        return behind_ns


class Schedule:
    """The frames that wait: only the newest frame of each camera. Not thread-safe.

    Args:
        cameras: the cameras; each gets one slot.
        say: writes a line to the log.
    """

    def __init__(self, cameras: Sequence[Camera], say: Callable[[str], object]) -> None:
        self._slots = {id(camera): Slot(camera) for camera in cameras}
        self._say = say

    def put(self, camera: Camera, frame: ReceivedFrame, settings: Settings) -> bool:
        """Take a received frame unless it is too old; it supersedes a frame that still waits.

        Returns:
            Whether the frame waits now.
        """
        slot = self._slots[id(camera)]
        if settings.max_age_ms and frame.age_ms > settings.max_age_ms:
            camera.report(
                "stale", "max_age_ms",
                f"the image is {frame.age_ms:.0f} ms old by its stamp, and max_age_ms is"
                f" {settings.max_age_ms:g}; do camera and node have the same clock?",
            )  # fmt: skip
            return False
        behind_ns = slot.step_back_ns(frame.stamp_ns)
        if behind_ns:
            camera.statistics.stamped_back()
            self._say_order(slot, behind_ns, settings.temporal_smoothing)
            if settings.temporal_smoothing and behind_ns <= _SET_BACK_NS:
                camera.statistics.dropped("stale")
                return False
        if slot.waiting is not None:
            camera.statistics.dropped("superseded")
        slot.waiting, slot.behind_ns = frame, behind_ns
        return True

    def take(self, count: int) -> list[tuple[Slot, ReceivedFrame, int]]:
        """Take the frame of the camera that was served longest ago, and frames like it.

        Frames of other cameras are taken too if the last frame of those cameras had the same
        geometry. The camera decides, and not the age of the frame: a newer frame replaces the
        oldest frame, so that a slow node would always serve the same camera.

        Args:
            count: the largest number of frames.

        Returns:
            Slot, frame, and how far the frame's stamp went back; empty if no frame waits.
        """
        waiting = [slot for slot in self._slots.values() if slot.waiting is not None]
        if not waiting:
            return []
        first, *others = sorted(waiting, key=lambda slot: slot.served_at)
        alike = [s for s in others if s.geometry is not None and s.geometry == first.geometry]
        taken = []
        for slot in (first, *alike[: count - 1]):
            if (frame := slot.waiting) is not None:
                slot.served_at, slot.waiting = time.monotonic(), None
                taken.append((slot, frame, slot.behind_ns))
        return taken

    def clear(self) -> None:
        """Drop the frames that wait, because the node becomes inactive."""
        for slot in self._slots.values():
            if slot.waiting is not None:
                slot.camera.statistics.dropped("inactive")
                slot.waiting = None

    def forget(self) -> None:
        """Forget earlier pictures, because the next frame may show another scene."""
        for slot in self._slots.values():
            slot.smoother.reset()
            slot.health = HealthMonitor()

    def _say_order(self, slot: Slot, behind_ns: int, smoothing: bool) -> None:
        if behind_ns > _SET_BACK_NS:
            text = "a clock was set, or a bag starts again"
        elif smoothing:
            text = "such images are dropped, as temporal_smoothing needs them in order"
        else:
            text = "such images are answered, and behind_ms in ~/latency marks them"
        if text in slot.said:
            return
        slot.said.add(text)
        self._say(
            f"{slot.camera.topic}: stamps went back by {behind_ns / 1e9:.3g} s; {text} (logged"
            " once; /diagnostics counts such images)"
        )
