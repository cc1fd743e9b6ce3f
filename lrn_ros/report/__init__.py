# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a replay as one HTML file."""
