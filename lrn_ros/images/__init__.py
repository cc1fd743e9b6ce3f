# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bytes to pixels and back: image messages, their serialized form, compressed pictures."""
