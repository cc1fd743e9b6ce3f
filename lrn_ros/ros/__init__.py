# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 side: the only room that imports rclpy and message types. Never imports torch."""
