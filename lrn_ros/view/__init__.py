# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Live pictures: feeds of segmented frames, and the two servers that show them."""
