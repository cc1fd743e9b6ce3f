# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measures of masks and of time: numbers in, numbers out, no files."""
