# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Log records of the package reach the node's log at their level."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import logging
from rclpy.logging import get_logger
from lrn_ros.ros.node import log_to

log_to(get_logger("segmentation"))
log = logging.getLogger("lrn_ros")
for i in range(2):
    log.debug("detail")
    log.info("step %d of %d", i, 2)
    log.warning("not kept: %s", "no room")
    log.error("broken")
"""


def test_every_level_from_info_up() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    said = [(line.split("]")[0].strip("["), line.split("[segmentation]: ")[1]) for line in lines]
    assert said == [
        ("INFO", "step 0 of 2"),
        ("WARN", "not kept: no room"),
        ("ERROR", "broken"),
        ("INFO", "step 1 of 2"),
        ("WARN", "not kept: no room"),
        ("ERROR", "broken"),
    ]
