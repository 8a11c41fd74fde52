# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Code that several notebooks share, or that is too long for a cell."""
