# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one exception that users see for bad input: what was given, where, what would work."""


class UserError(ValueError):
    """Bad input, file or setting; the message stands on its own in one line."""
