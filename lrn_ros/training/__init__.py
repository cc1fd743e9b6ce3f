# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recipes, data, augmentation and the training loop."""
