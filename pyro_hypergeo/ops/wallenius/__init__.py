# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Wallenius."""

from .density import wallenius_log_prob as wallenius_log_prob
