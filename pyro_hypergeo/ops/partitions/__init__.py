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

Files for sums over labellings. All of them stand on tables in linear space:

=====================  =============================================================================
``assignments``        the sum for known counts, and the probability of each label
``assignment_sample``  draws of labels for known counts
``label_evidence``     the sum for counts that have Fisher's law
``bags``               bags with known counts become a problem
``label_problem``      a problem: shifted, sorted, and cut into chunks of similar counts
``label_shifts``       the column shifts at which no table underflows, and why
``label_tables``       forward and backward tables of a chunk
=====================  =============================================================================
"""
