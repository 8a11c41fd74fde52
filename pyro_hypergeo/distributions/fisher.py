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

    An urn holds :math:`G` groups of :math:`m_i` elements; each element of group :math:`i` has the
    weight (importance, odds) :math:`w_i`. Of all ways to draw :math:`n` elements, each is taken
    with probability proportional to the product of the weights of its elements. The counts
    :math:`x_i` drawn from the groups then have the probability

    .. math::

        p(x) = \frac{1}{P_0} \prod_{i=1}^G \binom{m_i}{x_i} w_i^{x_i},
        \qquad \sum_i x_i = n, \quad 0 \le x_i \le m_i .

    Only ratios of weights matter. Weights of 0, empty groups, and totals of 0 or of all elements
    are legal and exact.

    With :math:`\theta_i = \log w_i`, the distribution is an exponential family in :math:`\theta`.
    Its log-partition function :math:`\log P_0` is evaluated to rounding at a cost that does not
    depend on the number of elements: see :mod:`pyro_hypergeo.ops.saddlepoint`. All is float64
    inside, and differentiable in the weights. Costs are for one batch entry, with the sizes
    :math:`m` and :math:`N` elements:

    =============================================================  ================================
    :meth:`log_prob`, :attr:`mean`, :attr:`variance`, :attr:`mode`  :math:`O(G)`
    :attr:`covariance_matrix`                                      :math:`O(G^2)`
    :meth:`sample`, exact: by rejection, or down a tree of sums     :math:`O(G \log n)` a draw
    :meth:`entropy`, from the marginals                            :math:`O(G (\max m + \sqrt N)
                                                                   \log N)`
    :meth:`marginal`                                               :math:`O(G m_i)`
    =============================================================  ================================

    :meth:`sample` takes the faster of its two ways. Wherever PyTorch traces, compiles or vmaps, it
    takes the tree, which has no loop that ends on data.

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
    :param weights: weights of the elements of each group, not negative and not all 0; of shape
        ``batch_shape + (G,)``. Exactly one of ``weights`` and ``log_weights`` is given.
    :type weights: list of float or torch.Tensor
    :param log_weights: their logarithms; ``-inf`` is a weight of 0.
    :type log_weights: list of float or torch.Tensor
    :raises ValueError: if an argument is outside of what is said here, or shapes do not broadcast.
    """

    law = FISHER
    without_enumeration = (
        "`log_prob`, `mean`, `marginal` and `entropy` need no enumeration, and `markov_counts` "
        "sums latent counts out group by group."
    )

    @property
    def log_partition(self) -> Tensor:
        r""":math:`\log P_0`, of the batch shape; its gradient in ``log_weights`` is the mean."""
        return self.to_dtype(self.state.log_partition)
