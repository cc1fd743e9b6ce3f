# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Real-time video segmentation for ROS 2 with LRNNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["LabelSet", "Segmenter", "__version__"]

if TYPE_CHECKING:
    from lrn_ros.inference.segmenter import Segmenter
    from lrn_ros.model.labels import LabelSet


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import lrn_ros` stays light."""
    if name == "Segmenter":
        from lrn_ros.inference.segmenter import Segmenter

        return Segmenter
    if name == "LabelSet":
        from lrn_ros.model.labels import LabelSet

        return LabelSet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
