# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Names and times in the bags that the fixture write_bag makes."""

STEP_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000
IMAGES, LABELS = "/camera/image_raw", "/camera/labels"
