# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions.utils import lazy_property

from .. import ops
from ..ops.fisher.bulk_marginals import entropy_given
from ..ops.fisher.density import log_prob_given
from ..ops.fisher.marginals import log_marginal_given
from ..ops.fisher.moments import covariance64, variance64
from ..ops.fisher.sampling import sample_given
from ..ops.fisher.state import Cumulants, cumulants
from ..ops.tracing import largest
from ._urn_law import UrnLaw


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

    With :math:`\theta_i = \log w_i`, the law is an exponential family in :math:`\theta` whose
    log-partition function :math:`\log P_0` is evaluated to rounding at a cost that does not depend
    on the number of elements. :meth:`log_prob`, :attr:`mean` and :attr:`variance` cost
    :math:`O(G)` for each batch entry, :attr:`covariance_matrix` :math:`O(G^2)`, :meth:`entropy`
    :math:`O(G (\max m + \sqrt N))` at most, all in float64 inside and differentiable in the
    weights. :meth:`sample` is exact, never an approximation.

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

    _derived = ("_known",)
    _without_enumeration = (
        "`log_prob`, `mean`, `marginal` and `entropy` need no enumeration, and `markov_counts` "
        "sums latent counts out group by group."
    )

    @lazy_property
    def _known(self) -> Cumulants:
        return cumulants(self._theta, self.group_sizes, self.total_count)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws, of shape ``sample_shape + batch_shape + (G,)``.

        By rejection or by inverse cdf down a tree of the groups' sums, whichever is faster for the
        sizes; by the latter, which has no loop that ends on data, wherever PyTorch traces,
        compiles or vmaps.
        """
        with torch.no_grad():
            return self._out(sample_given(self._known, Size(sample_shape), *self._table_sizes))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of the counts, of shape ``sample_shape + batch_shape``.

        Differentiable in the weights and, as the formula extends to real counts, in the value.
        Without validation it is ``-inf`` outside of the support. Cost: O(G).
        """
        if self._validate_args:
            self._validate_sample(value)
        return self._out(log_prob_given(value, self._known))

    @property
    def log_partition(self) -> Tensor:
        r""":math:`\log P_0`, of the batch shape; its gradient in ``log_weights`` is the mean."""
        return self._out(self._known.log_partition)

    @property
    def mean(self) -> Tensor:
        """Mean counts, of shape ``batch_shape + (G,)``. Cost: O(G)."""
        return self._out(self._known.mean)

    @property
    def variance(self) -> Tensor:
        """Variances of the counts, of shape ``batch_shape + (G,)``. Cost: O(G)."""
        return self._out(variance64(self._known))

    @property
    def covariance_matrix(self) -> Tensor:
        """Covariance matrix of the counts, of shape ``batch_shape + (G, G)``. Cost: O(G^2)."""
        return self._out(covariance64(self._known))

    @property
    def mode(self) -> Tensor:
        """A most probable count vector, of shape ``batch_shape + (G,)``. Cost: O(G)."""
        return self._out(ops.mode(self._theta, self.group_sizes, self.total_count))

    def entropy(self) -> Tensor:
        """Entropy in nats, of the batch shape, from the marginals and without enumeration."""
        max_size, _ = self._table_sizes
        return self._out(entropy_given(self._known, max_size, largest(self.group_sizes.sum(-1))))

    def _log_marginal(self, group: int, max_size: int) -> Tensor:
        return log_marginal_given(self._known, group, max_size)

    @staticmethod
    def _log_weights_from_mean(mean: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        return ops.log_weights_from_mean(mean, sizes, total)
