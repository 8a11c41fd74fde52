# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fisher's noncentral hypergeometric distribution."""

from __future__ import annotations

from torch import Tensor

from ..ops.fisher.law import FISHER
from .urn_law import UrnLaw


class FisherHypergeometric(UrnLaw):
    r"""
    Counts of a biased draw without replacement: Fisher's multivariate noncentral hypergeometric
    distribution.

    An urn holds :math:`G` groups of :math:`m_i` elements. Each element of group :math:`i` has the
    weight (importance, odds) :math:`w_i`. A set of :math:`n` elements is drawn. The probability of
    a set is proportional to the product of the weights of its elements. Let :math:`x_i` be the
    number of drawn elements of group :math:`i`. These counts have the probability

    .. math::

        p(x) = \frac{1}{P_0} \prod_{i=1}^G \binom{m_i}{x_i} w_i^{x_i},
        \qquad \sum_i x_i = n, \quad 0 \le x_i \le m_i .

    Only ratios of weights matter. Weights of 0, empty groups, and totals of 0 or of all elements
    are legal, and their results are exact.

    With :math:`\theta_i = \log w_i`, the distribution is an exponential family in :math:`\theta`.
    Its log-partition function :math:`\log P_0` is computed to rounding, at a cost that does not
    depend on the number of elements: see :mod:`pyro_hypergeo.ops.saddlepoint`. All computation is
    in float64, and results are differentiable in the weights. Costs are for one batch entry, with
    :math:`N` elements in all:

    ======================================  =======================================================
    :meth:`log_prob`, :attr:`mean`          :math:`O(G)`
    :attr:`variance`, :attr:`mode`          :math:`O(G)`
    :attr:`covariance_matrix`               :math:`O(G^2)`
    :meth:`sample`                          :math:`O(G)` or :math:`O(G \log n)` a draw, exact
    :meth:`entropy`, from the marginals     :math:`O(G \sqrt N \log N)`
    :meth:`marginal` of group :math:`i`     :math:`O(G)` for each possible count
    :meth:`marginals` of all groups         :math:`O(G \max m)`
    :meth:`from_mean`                       :math:`O(G^3)`
    ======================================  =======================================================

    :meth:`sample` has two exact methods: rejection, and a tree of sums. It takes the faster one.
    When PyTorch traces, compiles or vmaps, it always takes the tree, which has no loop whose length
    depends on data.

    **References:**

    [1] Fisher, R. A. (1935) "The logic of inductive inference", Journal of the Royal Statistical
        Society 98(1).

    [2] McCullagh, P. and Nelder, J. A. (1989) "Generalized Linear Models", section 7.3.

    [3] Fog, A. (2008) "Sampling methods for Wallenius' and Fisher's noncentral hypergeometric
        distributions", Communications in Statistics, Simulation and Computation 37(2).

    Example::

        >>> import torch
        >>> from pyro_hypergeo import FisherHypergeometric
        >>> urn = FisherHypergeometric(4, group_sizes=[5, 3, 2], weights=[1.0, 2.0, 4.0])
        >>> urn.mean
        tensor([1.3697, 1.3494, 1.2809])
        >>> urn.log_prob(torch.tensor([2.0, 1.0, 1.0])).exp()
        tensor(0.2221)

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

    law = FISHER
    without_enumeration = (
        "`log_prob`, `mean`, `marginal` and `entropy` need no enumeration, and `markov_counts` "
        "sums latent counts out group by group."
    )

    @property
    def log_partition(self) -> Tensor:
        r""":math:`\log P_0`, of the batch shape. Its gradient in ``log_weights`` is the mean."""
        return self.to_dtype(self.state.log_partition)
