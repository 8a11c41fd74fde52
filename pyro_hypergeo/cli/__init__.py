# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The command ``python -m pyro_hypergeo``."""

from .main import main

__all__ = ["main"]
