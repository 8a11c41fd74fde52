# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

r"""Who is in which group: sums over labellings, and laws of partitions.

:math:`N` elements have labels :math:`z_1, \dots, z_N` among :math:`K` groups. ``log_scores`` has
the shape ``(..., N, K)``: how well each element fits each group, as a logarithm. ``sizes`` has the
shape ``(..., K)``: how many elements each group has. They sum to :math:`N`.
"""
