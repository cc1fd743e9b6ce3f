# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Side-by-side measurement of models, backends, precisions and sizes."""
