# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Distributions that say who is in which group, and distributions of counts of hidden labels."""
