# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The package's Fast DDS profile, which gives images room in shared memory: where it is set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Jazzy and older releases read the first variable. Later releases read the second one, and warn
# where the first one is set.
_OLD, _NEW = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
VARIABLES = (_OLD, _NEW)
_READ_THE_OLD = ("humble", "iron", "jazzy")


def profile_environment(profile: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that make Fast DDS load `profile`; none where the user has chosen a profile.

    Args:
        profile: the XML file.
        environment: of the process that is to be started; ROS_DISTRO says which release it is,
            and without it the release is taken for Jazzy, whose wheels do not set it.
    """
    if any(environment.get(name) for name in VARIABLES):
        return {}
    old = environment.get("ROS_DISTRO", "jazzy") in _READ_THE_OLD
    return dict.fromkeys(VARIABLES if old else (_NEW,), str(profile))
