# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A rendered street scene with exact labels, for the demo, the training and bag tests."""

from lrn_ros.scene.street import StreetScene

__all__ = ["StreetScene"]
