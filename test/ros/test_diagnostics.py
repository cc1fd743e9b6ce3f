# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The text of /diagnostics about a camera, with a known cause first, for given counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from lrn_ros.inference.supervisor import Status
from lrn_ros.ros.diagnostics import NO_CLOCK, camera_values, camera_verdict, supervisor_verdict
from lrn_ros.ros.health import Health
from lrn_ros.ros.parameters import SPECS, Settings, check_all
from lrn_ros.ros.statistics import CAUSES, Snapshot

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE
NONE = dict.fromkeys(CAUSES, 0)
WELL = Snapshot(
    received=100, published=100, idle=0, out_of_order=0, drops=NONE, recent=NONE,
    recent_received=100, age_s=0.1, faults={}, blocked=False, peers={}, timeless=False,
    health=None, input_hz=10.0, output_hz=10.0, percentiles={"inference_ms": (1.0, 2.0, 3.0)},
)  # fmt: skip
SILENT = replace(WELL, received=0, published=0, recent_received=0, age_s=None)
WRONG_TYPE = {"incompatible publishers": "/image: type CompressedImage instead of Image"}
DEPTH = {"unknown encoding": "invalid: encoding 32FC1 is not supported"}


@pytest.fixture
def settings() -> Settings:
    return check_all({name: spec.default for name, spec in SPECS.items()})


@pytest.mark.parametrize(
    ("snapshot", "options", "level", "message"),
    [
        (WELL, {}, OK, "10.0 of 10.0 Hz"),
        (
            SILENT, {"no_publisher": "nothing publishes /image"}, STALE,
            "no image yet: nothing publishes /image",
        ),
        (SILENT, {}, STALE, "no image yet, although somebody publishes the topic"),
        (
            replace(SILENT, peers=WRONG_TYPE), {}, WARN,
            "incompatible publishers: /image: type CompressedImage instead of Image; no image yet,"
            " although somebody publishes the topic",
        ),
        (
            SILENT, {"has_clock": False}, WARN,
            f"{NO_CLOCK}; no image yet, although somebody publishes the topic",
        ),
        (replace(WELL, age_s=3.0), {}, STALE, "no image for 3.0 s"),
        (
            replace(WELL, age_s=2.5, faults=DEPTH, blocked=True), {}, WARN,
            f"{DEPTH['unknown encoding']}; no image for 2.5 s",
        ),
        (
            replace(WELL, age_s=2.5, faults=DEPTH), {}, STALE, "no image for 2.5 s"
        ),  # usable images came after the fault
        (
            replace(WELL, age_s=60.0, faults=DEPTH, blocked=True), {}, STALE,
            f"no image for 60.0 s; the images before that: {DEPTH['unknown encoding']}",
        ),
        (
            replace(WELL, recent=NONE | {"invalid": 7}, faults=DEPTH), {}, WARN,
            f"drops: invalid 7; {DEPTH['unknown encoding']}; 10.0 of 10.0 Hz",
        ),
        (
            replace(WELL, recent=NONE | {"failed": 1}, faults={"RuntimeError": "failed: GPU lost"}),
            {}, ERROR, "failed: GPU lost",
        ),
        (
            replace(WELL, recent=NONE | {"superseded": 54}, output_hz=4.6), {}, WARN,
            "54 % of the images are superseded, as the node is slower than the camera: a smaller"
            " network_size, a faster backend or a lower camera rate helps; 4.6 of 10.0 Hz",
        ),
        (
            replace(WELL, recent=NONE | {"superseded": 49}, output_hz=5.1), {}, OK,
            "5.1 of 10.0 Hz",
        ),
        (
            replace(WELL, peers={"no CameraInfo": "/camera_info: none came"}), {}, WARN,
            "no CameraInfo: /camera_info: none came; 10.0 of 10.0 Hz",
        ),
        (
            replace(WELL, health=Health(12, 0.1, 0.2, 0.3, ("frozen: 13 alike",))), {}, WARN,
            "frozen: 13 alike; 10.0 of 10.0 Hz",
        ),
    ],
)  # fmt: skip
def test_verdict(
    settings: Settings, snapshot: Snapshot, options: dict[str, Any], level: bytes, message: str
) -> None:
    assert camera_verdict(snapshot, None, settings, **options) == (level, message)


def test_what_happened_since_the_last_report(settings: Settings) -> None:
    idle = replace(WELL, idle=3)
    assert camera_verdict(idle, WELL, settings) == (OK, "idle: no subscribers")
    assert camera_verdict(idle, idle, settings) == (OK, "10.0 of 10.0 Hz")
    back = replace(WELL, out_of_order=2)
    level, message = camera_verdict(back, WELL, settings)
    assert level == OK and message.endswith("; 2 images so far with stamps that went back")


def test_stale_after_is_the_user_s(settings: Settings) -> None:
    patient = replace(settings, stale_after_ms=5000.0)
    assert camera_verdict(replace(WELL, age_s=3.0), None, patient)[0] == OK


def test_values_have_every_cause_fault_and_figure() -> None:
    seen = replace(WELL, faults=DEPTH, peers=WRONG_TYPE, health=Health(1, 0.25, 0.5, 0.75, ()))
    values = camera_values(seen, "/cam/image_raw", "reliable")
    assert all(values[f"dropped_{cause}"] == "0" for cause in CAUSES)
    assert values["fault unknown encoding"] == DEPTH["unknown encoding"]
    assert values["inference_p95_ms"] == "2.00" and values["topic"] == "/cam/image_raw"
    assert (values["frozen"], values["dark"], values["blurred"]) == ("1", "0.250", "0.750")
    assert values.items() >= WRONG_TYPE.items()


def test_a_backend_that_is_not_simply_running() -> None:
    assert supervisor_verdict(Status()) == (OK, "")
    assert supervisor_verdict(Status(compiling="360x480 since 2 s"))[0] == WARN
    assert supervisor_verdict(Status(restarting="GPU lost", compiling="x"))[1].endswith("GPU lost")
    assert supervisor_verdict(Status(failure="none left", restarting="x")) == (ERROR, "none left")
