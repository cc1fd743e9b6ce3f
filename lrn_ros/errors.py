# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The exceptions that users see as one line: bad input, and a run that failed."""


class UserError(ValueError):
    """Bad input, file or setting; the message stands on its own in one line."""


class RunError(RuntimeError):
    """Right input, but the run failed; the message stands on its own in one line."""
