# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The processes of a real-time run: a player, the node, a recorder, and what watches them."""
