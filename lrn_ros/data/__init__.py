# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where frames and labels come from: data sets, videos, folders, bags, the rendered scene."""
