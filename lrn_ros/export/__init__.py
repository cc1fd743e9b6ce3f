# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Deployable files made from a model, and how far they agree with it."""
