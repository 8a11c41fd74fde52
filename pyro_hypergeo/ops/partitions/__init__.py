# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

r"""Who is in which group: sums over labellings, and laws of partitions.

:math:`N` elements have labels :math:`z_1, \dots, z_N` among :math:`K` groups. ``log_scores`` has
the shape ``(..., N, K)``: how well each element fits each group, as a logarithm. ``sizes`` has the
shape ``(..., K)``: how many elements each group has. They sum to :math:`N`.

Files for laws of partitions:

=====================  =============================================================================
``chain``              Fisher's: each group is a subset of those left, with tilted scores
``race``               Wallenius': group after group picks, element by element
``race_mean``          where the elements of a race go on average
``plackett_luce``      orders of all elements
``labels``             labels and one-hot matrices, and which of them are possible
``tilt``               the shifts of scores with which independent labels have the sizes on average
``mean_field``         these independent labels
=====================  =============================================================================
"""
