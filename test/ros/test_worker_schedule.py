# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The schedule of the worker, also with stamps that go back, on plain objects."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lrn_ros.images.cdr import CompressedImageMessage, Header, Stamp
from lrn_ros.inference.geometry import fit
from lrn_ros.ros.camera import ReceivedFrame, Sequence
from lrn_ros.ros.parameters import SPECS, Settings, check_all
from lrn_ros.ros.schedule import Schedule, Slot
from lrn_ros.ros.statistics import Statistics

S = 10**9


class FakeCamera:
    """What the schedule uses of a Camera."""

    def __init__(self, name: str) -> None:
        self.topic, self.statistics, self.said = name, Statistics(), list[str]()

    def report(self, cause: str, kind: str, text: str) -> None:
        self.said.append(text)
        self.statistics.fault(cause, kind, text)


class Rig:
    """A schedule over so many cameras, and what it has logged."""

    def __init__(self, cameras: int = 1) -> None:
        self.cameras: list[Any] = [FakeCamera(f"/c{i}") for i in range(cameras)]
        self.said: list[str] = []
        self.schedule = Schedule(self.cameras, self.said.append)
        self.settings = check_all({name: spec.default for name, spec in SPECS.items()})

    def put(self, stamp_ns: int = 0, camera: int = 0, received_ns: int | None = None) -> bool:
        received = stamp_ns if received_ns is None else received_ns
        return self.schedule.put(self.cameras[camera], frame(stamp_ns, received), self.settings)

    def taken(self, count: int = 8) -> list[tuple[str, int, int]]:
        """Camera, stamp and step back of what is taken."""
        found = self.schedule.take(count)
        return [(slot.camera.topic, frame.stamp_ns, behind) for slot, frame, behind in found]

    def drops(self, camera: int = 0) -> dict[str, int]:
        counts = self.cameras[camera].statistics.snapshot().drops
        return {cause: n for cause, n in counts.items() if n}


def frame(stamp_ns: int, received_ns: int = 0) -> ReceivedFrame:
    header = Header(Stamp(*divmod(stamp_ns, S)), "camera")
    return ReceivedFrame(CompressedImageMessage(header, "jpeg", memoryview(b"")), received_ns, 0.0)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_newer_frame_replaces_the_one_that_waits(rig: Rig) -> None:
    assert rig.taken() == []
    assert [rig.put(S), rig.put(2 * S), rig.put(3 * S)] == [True] * 3
    assert rig.taken() == [("/c0", 3 * S, 0)] and rig.taken() == []
    assert rig.drops() == {"superseded": 2}


def test_the_camera_served_longest_ago_comes_first(rig: Rig) -> None:
    rig = Rig(3)
    order = []
    for i in range(1, 10):
        for camera in range(3):  # all have a new frame every time: a node that is too slow
            rig.put(i * S, camera)
        order += [name for name, _, _ in rig.taken(1)]
    assert sorted(order[:3]) == ["/c0", "/c1", "/c2"]
    assert order == order[:3] * 3, "they take turns"


def test_frames_of_one_geometry_go_together(rig: Rig) -> None:
    rig = Rig(4)
    sizes = [(480, 640), (480, 640), (720, 1280), (480, 640)]
    slots: list[Slot] = []
    for camera, _ in enumerate(sizes):
        rig.put(S, camera)
        slots += [slot for slot, _, _ in rig.schedule.take(1)]
    for slot, size in zip(slots, sizes):
        slot.geometry = fit(size, (360, 480))
    for camera in range(4):
        rig.put(2 * S, camera)
    assert [name for name, _, _ in rig.taken(2)] == ["/c0", "/c1"], "at most max_batch"
    assert [name for name, _, _ in rig.taken(4)] == ["/c2"], "no other has its geometry"
    assert [name for name, _, _ in rig.taken(4)] == ["/c3"]


@pytest.mark.parametrize("behind_ms", [1, 300, 999])
def test_a_stamp_that_goes_back_is_answered_and_marked(rig: Rig, behind_ms: int) -> None:
    """Two images that have changed places, a short loop, two clocks."""
    behind = behind_ms * 10**6
    assert rig.put(10 * S) and rig.taken()
    assert rig.put(10 * S - behind) and rig.taken() == [("/c0", 10 * S - behind, behind)]
    assert rig.put(10 * S + 1) and rig.taken() == [("/c0", 10 * S + 1, 0)]
    assert rig.put(10 * S - behind) and rig.taken() == [("/c0", 10 * S - behind, behind + 1)]
    assert rig.drops() == {} and rig.cameras[0].statistics.out_of_order == 2
    assert len(rig.said) == 1 and "stamps went back by" in rig.said[0]
    assert "answered" in rig.said[0] and "behind_ms" in rig.said[0]


def test_smoothing_needs_the_order(rig: Rig) -> None:
    rig.settings = replace(rig.settings, temporal_smoothing=True)
    assert rig.put(10 * S) and not rig.put(10 * S - 1) and rig.put(10 * S), "an equal one is fine"
    assert rig.drops() == {"stale": 1, "superseded": 1}
    assert "temporal_smoothing" in rig.said[0]
    assert rig.put(8 * S), "a clock that was set back, or a bag that starts again"
    assert rig.put(8 * S + 1), "time goes on from there"
    assert len(rig.said) == 2 and "a clock was set, or a bag starts again" in rig.said[1]


def test_half_of_a_short_loop_is_not_lost(rig: Rig) -> None:
    """A loop of half a second at 10 Hz: every stamp but the newest is behind."""
    answered = sum(rig.put(S + i % 5 * S // 10) and bool(rig.taken()) for i in range(50))
    assert answered == 50


def test_a_stamp_of_zero_is_unknown(rig: Rig) -> None:
    assert rig.put(10 * S) and rig.put(0) and rig.put(10 * S)
    assert rig.cameras[0].statistics.out_of_order == 0


def test_an_image_older_than_max_age(rig: Rig) -> None:
    rig.settings = replace(rig.settings, max_age_ms=500.0)
    assert rig.put(10 * S, received_ns=10 * S + 499_000_000)
    assert not rig.put(10 * S, received_ns=10 * S + 501_000_000)
    assert rig.drops() == {"stale": 1}
    assert rig.cameras[0].said == [
        "the image is 501 ms old by its stamp, and max_age_ms is 500; do camera and node have the"
        " same clock?"
    ]
    assert rig.put(0, received_ns=10 * S), "of unknown age"


def test_deactivation_drops_what_waits_and_forgets_the_past() -> None:
    rig = Rig(2)
    rig.put(S, 0)
    (slot,) = (slot for slot, _, _ in rig.schedule.take(1))
    reset = list[int]()
    slot.smoother = SimpleNamespace(reset=lambda: reset.append(1))  # type: ignore[assignment]
    before = slot.health
    rig.put(2 * S, 1)
    rig.schedule.clear()
    rig.schedule.forget()
    assert rig.taken() == [] and rig.drops(0) == {} and rig.drops(1) == {"inactive": 1}
    assert reset == [1] and slot.health is not before


def test_what_a_reader_overwrote_is_counted_by_its_numbers() -> None:
    sequence = Sequence()
    assert [sequence.missed(n) for n in (5, 6, 9)] == [0, 0, 2]
    sequence.lost(1)
    assert sequence.missed(12) == 1, "of two, one was lost on the way"
    assert [sequence.missed(n) for n in (None, 50, 3, 4)] == [0, 0, 0, 0], "others, or a new one"


def test_settings_are_those_of_the_moment(rig: Rig) -> None:
    assert isinstance(rig.settings, Settings)
    assert rig.put(10 * S)
    rig.settings = replace(rig.settings, temporal_smoothing=True)
    assert not rig.put(9 * S + S // 2)
