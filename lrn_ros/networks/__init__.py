# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Network architectures (torch modules) and their registry."""

# Each of these modules registers its family.
from lrn_ros.networks import efficientnet as _efficientnet  # noqa: F401
from lrn_ros.networks import frm as _frm  # noqa: F401
from lrn_ros.networks import lednet as _lednet  # noqa: F401
from lrn_ros.networks import lrnnet as _lrnnet  # noqa: F401
from lrn_ros.networks import ndnet as _ndnet  # noqa: F401
from lrn_ros.networks.registry import architectures, build

__all__ = ["architectures", "build"]
