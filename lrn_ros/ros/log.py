# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the package itself logs, such as the progress of a compilation, in a node's log."""

from __future__ import annotations

import logging
from typing import Any


class NodeHandler(logging.Handler):
    """Hands records on to a node's logger.

    Args:
        logger: of rclpy.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; rclpy takes one severity from each line of code."""
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def log_to(logger: Any) -> None:
    """Have this process log with a node's logger what the package logs, from level INFO up."""
    package = logging.getLogger("lrn_ros")
    package.setLevel(logging.INFO)
    package.addHandler(NodeHandler(logger))
