# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model on disk: its file and header, its ONNX form and its labels."""
