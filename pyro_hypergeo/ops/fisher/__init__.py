# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

r"""Fisher's noncentral hypergeometric law.

Every element is taken or left on its own, with odds proportional to its weight. The total is known
afterwards. The law is an exponential family in the log-weights:

.. math::

    p(x) = e^{-A(\theta)} \prod_i \binom{m_i}{x_i} e^{\theta_i x_i}, \qquad
    A(\theta) = \log \, [z^n] \prod_i (1 + e^{\theta_i} z)^{m_i} .

:mod:`pyro_hypergeo.ops.saddlepoint` computes :math:`A`. The rest follows from it:

==================  ================================================================================
log-probability     :math:`\sum_i \log \binom{m_i}{x_i} + \theta_i x_i - A(\theta)`
mean                the gradient of :math:`A`
covariance          the second derivative of :math:`A`
KL divergence       :math:`(\theta_p - \theta_q) \cdot \mu_p - A(\theta_p) + A(\theta_q)`
marginals           a binomial times :math:`\Pr[\text{the others sum to } n - k]`, which is an
                    :math:`A` as well
entropy             :math:`A(\theta) - \sum_i \theta_i E[x_i] + E \log \binom{m_i}{x_i}`, from the
                    marginals
==================  ================================================================================

The files:

========================  ==========================================================================
``state``                 one pass over the nodes: :math:`A`, the mean, and their derivatives
``density``               the log-probability of counts
``design``                the log-likelihood of coefficients of covariates, and its derivatives
``moments``               log-partition function, mean, variances, covariances
``marginals``             marginals of single groups, accurate far into the tails
``two_groups``            the same for two groups: each count from its neighbour
``bulk_marginals``        marginals where they have mass, by a Fourier transform; the entropy
``group_sums``            sums of groups by Fourier transforms, for tables that cover the mass
``modes``                 a most probable count vector
``inversion``             log-weights from means
``sampling``              draws, by the faster of two ways
``sampling_rejection``    draws by rejection from tilted binomials
``sampling_tree``         draws by inverse cdf down a tree of sums
``terms``                 the factors of the law, and log-partition functions of the last groups
``evidence``              evidence and posterior of the counts, from observations of each group
``elementary_symmetric``  elementary symmetric polynomials: groups of one element
``subsets``               evidence and posterior of a random subset of unknown size
``law``                   the law as an object, which the other packages use
========================  ==========================================================================
"""
