# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From RGB frames to masks: the Segmenter, its geometry and its backends. Never imports rclpy."""
