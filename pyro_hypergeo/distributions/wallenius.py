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

    An urn holds :math:`G` groups of :math:`m_i` elements. Each element of group :math:`i` has the
    weight :math:`w_i`. :math:`n` elements are drawn one after the other. Each time, the probability
    of an element is its weight divided by the sum of the weights that are left. Let :math:`x_i` be
    the number of drawn elements of group :math:`i`. These counts have the probability

    .. math::

        p(x) = \prod_{i=1}^G \binom{m_i}{x_i} \int_0^\infty D e^{-D u}
            \prod_{i=1}^G \bigl(1 - e^{-w_i u}\bigr)^{x_i} du,
        \qquad D = \sum_i w_i (m_i - x_i),

    with :math:`\sum_i x_i = n` and :math:`0 \le x_i \le m_i`. Only ratios of weights matter.
    Weights of 0, empty groups, and totals of 0 or of all elements are legal, and their results are
    exact.

    Use it if the elements compete to be drawn: choices without replacement, races, catches. Use
    :class:`FisherHypergeometric` if each element is taken or left on its own and the total is
    known only afterwards. With equal weights the two are the same.

    All computation is in float64, and results are differentiable in the weights. Integrals over one
    variable are computed by Gauss-Legendre rules, with relative errors below 1e-10: see
    :mod:`pyro_hypergeo.ops.wallenius`. Costs are for one batch entry, with :math:`N` elements in
    all:

    ============================================  =================================================
    :meth:`log_prob`                              :math:`O(G)` for each node
    :attr:`mean`                                  :math:`O(G)`, about 20 times a :meth:`log_prob`
    :attr:`covariance_matrix`, :attr:`variance`   :math:`O(G^2)`
    :meth:`sample`, exact                         :math:`O(G \log \log N)` a draw
    :attr:`mode`, by exchanges of one element     :math:`O(G^3)`
    :meth:`marginal` of group :math:`i`           :math:`O(G)` for each possible count, with 1000
                                                  nodes, or 5000 if weights differ by more than 100
    :meth:`marginal` of two groups                :math:`O(1)` for each possible count, 40 nodes
    :meth:`entropy` of two groups                 :math:`O(\max m)`, from a marginal
    :meth:`entropy` of more groups                :math:`O(G)` for each count vector of the support
    :meth:`from_mean`                             :math:`O(G^3)`, and some hundred :attr:`mean`
    ============================================  =================================================

    :meth:`sample` simulates exponential clocks that ring at random times; the elements of the first
    :math:`n` rings are drawn. In a large urn it counts rings by intervals of time, without a clock
    for each element. When PyTorch traces, compiles or vmaps, each element has its clock, at a cost
    of :math:`O(N \log N)` a draw.

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
    :param weights: weight of one element of each group, of shape ``batch_shape + (G,)``. Weights
        are finite and not negative, and at least one is above 0. Give either ``weights`` or
        ``log_weights``.
    :type weights: list of float or torch.Tensor
    :param log_weights: logarithms of the weights, of the same shape; ``-inf`` is a weight of 0.
    :type log_weights: list of float or torch.Tensor
    :raises ValueError: if an argument is not as said here, or if the shapes do not broadcast. Also
        if ``total_count`` is larger than the number of elements of positive weight.
    """

    law = WALLENIUS
    without_enumeration = (
        "`log_prob`, `mean`, `covariance_matrix` and `marginal` need no enumeration."
    )
