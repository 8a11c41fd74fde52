# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Runs the command: ``python -m pyro_hypergeo``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
