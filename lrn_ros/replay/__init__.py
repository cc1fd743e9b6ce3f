# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Replay of recordings: ground truth, counts, figures, results, comparison of two runs."""
