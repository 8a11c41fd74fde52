# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Wallenius' noncentral hypergeometric distribution."""

from __future__ import annotations

from ..ops.wallenius.law import WALLENIUS
from .urn_law import UrnLaw


class WalleniusHypergeometric(UrnLaw):
    r"""
    Counts of a draw one by one without replacement: Wallenius' multivariate noncentral
    hypergeometric distribution.

    An urn holds :math:`G` groups of :math:`m_i` elements of weight :math:`w_i`. :math:`n` elements
    are drawn one after the other, each with probability proportional to its weight among those
    that are left. The counts :math:`x_i` drawn from the groups then have the probability

    .. math::

        p(x) = \prod_{i=1}^G \binom{m_i}{x_i} \int_0^\infty D e^{-D u}
            \prod_{i=1}^G \bigl(1 - e^{-w_i u}\bigr)^{x_i} du,
        \qquad D = \sum_i w_i (m_i - x_i),

    with :math:`\sum_i x_i = n` and :math:`0 \le x_i \le m_i`. Only ratios of weights matter.
    Weights of 0, empty groups, and totals of 0 or of all elements are legal and exact.

    Use it where elements compete for being drawn: choices without replacement, races, catches.
    :class:`FisherHypergeometric` is for draws that are independent until their total is known. With
    equal weights the two are the same.

    All is float64 inside, and differentiable in the weights. Integrals over one variable are taken
    by Gauss-Legendre rules with relative errors below 1e-10: see
    :mod:`pyro_hypergeo.ops.wallenius`. Costs are for one batch entry, whatever the number of
    elements:

    ====================================================  =========================================
    :meth:`log_prob`                                      :math:`O(G)`, at 128 nodes
    :attr:`mean`                                          :math:`O(G)`, some twenty times as much
    :attr:`covariance_matrix`, :attr:`variance`           :math:`O(G^2)`
    :meth:`sample`, exact, by exponential clocks          :math:`O(G \log \log N)` a draw
    :attr:`mode`, by exchanges of one element             :math:`O(G^3)`
    :meth:`marginal`                                      :math:`O(G m_i)`, at 3000 nodes
    :meth:`entropy` of two groups                         :math:`O(m_i)`
    :meth:`entropy` of more groups                        a sum over the support
    ====================================================  =========================================

    :meth:`sample` needs no clock for each element of a large urn, but has one wherever PyTorch
    traces, compiles or vmaps.

    **References:**

    [1] Wallenius, K. T. (1963) "Biased sampling: the noncentral hypergeometric probability
        distribution", Stanford University.

    [2] Chesson, J. (1976) "A non-central multivariate hypergeometric distribution arising from
        biased sampling with application to selective predation", J. Applied Probability 13(4).

    [3] Fog, A. (2008) "Calculation methods for Wallenius' noncentral hypergeometric distribution",
        Communications in Statistics, Simulation and Computation 37(2).

    Example::

        >>> import torch
        >>> from pyro_hypergeo import WalleniusHypergeometric
        >>> race = WalleniusHypergeometric(4, group_sizes=[5, 3, 2], weights=[1.0, 2.0, 4.0])
        >>> race.mean
        tensor([1.2510, 1.3468, 1.4022])
        >>> race.log_prob(torch.tensor([2.0, 1.0, 1.0])).exp()
        tensor(0.1892)

    :param total_count: number of elements drawn, :math:`n`; of the batch shape.
    :type total_count: int or torch.Tensor
    :param group_sizes: number of elements in each group, :math:`m`; of shape
        ``batch_shape + (G,)``.
    :type group_sizes: list of int or torch.Tensor
    :param weights: weights of the elements of each group, not negative and not all 0; of shape
        ``batch_shape + (G,)``. Exactly one of ``weights`` and ``log_weights`` is given.
    :type weights: list of float or torch.Tensor
    :param log_weights: their logarithms; ``-inf`` is a weight of 0.
    :type log_weights: list of float or torch.Tensor
    :raises ValueError: if an argument is outside of what is said here, or shapes do not broadcast.
    """

    law = WALLENIUS
    without_enumeration = (
        "`log_prob`, `mean`, `covariance_matrix` and `marginal` need no enumeration."
    )
