# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m lrn_ros` is the command `lrn`."""

import sys

from lrn_ros.cli import main

if __name__ == "__main__":
    sys.exit(main())
