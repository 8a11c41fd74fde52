# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

r"""Estimators of gradients through counts.

A count is an integer and has no derivative. But the mean :math:`E[f(x)]` of a function of counts
has one. An estimator says how each draw moves with the log-weights. This is its *movement*. The
counts keep their value, exactly; they take over the gradient of the movement. Then
``f(x).backward()`` gives an estimate of the gradient of :math:`E[f(x)]`.

==================  ========================================================================
``"affine"``        moves the counts by the map that carries their mean and covariance
                    along; exact for every quadratic :math:`f`
``"mean"``          moves the counts as their mean moves; exact for linear :math:`f`
``"implicit"``      moves each count as its marginal law moves; exact for sums of quadratic
                    functions of single counts, except for a shift that keeps the total
``"gumbel"``        moves the counts as a Gumbel-softmax, one group after another; exact for
                    no class of functions
==================  ========================================================================

"Exact" means that the mean of the estimates is the gradient.

The files:

====================  ======================================================================
``straight_through``  how counts take over a gradient
``mean``              the estimator "mean"
``affine``            the estimator "affine"
``fisher_affine``     how "affine" moves the counts of Fisher's law
``implicit``          the estimator "implicit"
``gumbel``            the estimator "gumbel"
``gumbel_windows``    how "gumbel" moves the counts of Fisher's law
``gumbel_tables``     how "gumbel" moves the counts of any exponential family
``gumbel_softmax``    what "gumbel" and soft counts share
``soft_counts``       real-valued counts that tend to draws as the temperature falls to 0
``encodings``         counts as one-hot vectors and as masks, with gradients
``registry``          the estimators by name, and the laws that have them
====================  ======================================================================
"""
