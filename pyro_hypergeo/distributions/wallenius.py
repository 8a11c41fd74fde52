# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions.utils import lazy_property

from .. import ops
from ..ops.tracing import largest
from ..ops.urn import Urn, make_urn
from ..ops.wallenius.density import wallenius_log_prob_given
from ..ops.wallenius.marginals import wallenius_log_marginal_given
from ..ops.wallenius.moments import wallenius_covariance64, wallenius_mean64
from ..ops.wallenius.sampling import wallenius_sample64
from ..ops.wallenius.snapshots import snapshots
from ._urn_law import UrnLaw

# Count vectors whose probabilities are found at a time.
_CHUNK = 5_000


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

    This is the law where elements compete for being drawn: choices without replacement, races,
    catches. :class:`FisherHypergeometric` is that of draws that are independent until their total
    is known. Both are the same for equal weights.

    :meth:`log_prob` costs :math:`O(G)` for each batch entry, :attr:`mean` as much some twenty times
    over, :attr:`covariance_matrix` and :attr:`variance` :math:`O(G^2)`, whatever the number of
    elements, all in float64 inside and differentiable in the weights: integrals over one variable
    by Gauss-Legendre rules with relative errors below 1e-10. :meth:`sample` is exact, never an
    approximation. :meth:`entropy` sums over the support.

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

    _derived = ("_mean", "_covariance")
    _without_enumeration = (
        "`log_prob`, `mean`, `covariance_matrix` and `marginal` need no enumeration."
    )

    @property
    def _urn(self) -> Urn:
        return make_urn(self._theta, self.group_sizes, self.total_count)

    @lazy_property
    def _mean(self) -> Tensor:
        urn = self._urn
        return wallenius_mean64(urn, snapshots(urn))

    @lazy_property
    def _covariance(self) -> Tensor:
        urn = self._urn
        at = snapshots(urn)
        # Nearly free beside the snapshots, which the mean would take once more.
        self.__dict__.setdefault("_mean", wallenius_mean64(urn, at))
        return wallenius_covariance64(urn, at)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Exact draws, of shape ``sample_shape + batch_shape + (G,)``.

        Without a clock for each element where there are many, but with one wherever PyTorch
        traces, compiles or vmaps; see :func:`~pyro_hypergeo.ops.wallenius_sample`.
        """
        with torch.no_grad():
            elements = largest(self.group_sizes.sum(-1))
            return self._out(wallenius_sample64(self._urn, Size(sample_shape), elements))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of the counts, of shape ``sample_shape + batch_shape``.

        Differentiable in the weights and, as the formula extends to real counts, in the value.
        Without validation it is ``-inf`` outside of the support. Cost: O(G).
        """
        if self._validate_args:
            self._validate_sample(value)
        return self._out(wallenius_log_prob_given(value, self._urn))

    @property
    def mean(self) -> Tensor:
        """Mean counts, of shape ``batch_shape + (G,)``. Cost: O(G)."""
        return self._out(self._mean)

    @property
    def variance(self) -> Tensor:
        """Variances of the counts, of shape ``batch_shape + (G,)``. Cost: O(G^2)."""
        return self._out(self._covariance.diagonal(dim1=-2, dim2=-1))

    @property
    def covariance_matrix(self) -> Tensor:
        """Covariance matrix of the counts, of shape ``batch_shape + (G, G)``. Cost: O(G^2)."""
        return self._out(self._covariance)

    @property
    def mode(self) -> Tensor:
        """A most probable count vector, of shape ``batch_shape + (G,)``.

        No exchange of one element makes it more probable. Cost: O(G^3).
        """
        return self._out(ops.wallenius_mode(self._theta, self.group_sizes, self.total_count))

    def _log_marginal(self, group: int, max_size: int) -> Tensor:
        return wallenius_log_marginal_given(self._urn, group, max_size)

    @staticmethod
    def _log_weights_from_mean(mean: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
        return ops.wallenius_log_weights_from_mean(mean, sizes, total)

    def entropy(self) -> Tensor:
        """Entropy in nats, of the batch shape, by summing over the support.

        :raises NotImplementedError: if the support is too large to be listed, or if totals or
            sizes differ within the batch.
        """
        try:
            support = self._list_support(expand=False)
        except (ValueError, NotImplementedError) as error:
            raise NotImplementedError(
                "The entropy of Wallenius' law has no closed form and is summed over the support, "
                f"which cannot be listed: {error}"
            ) from None
        result = torch.zeros(self.batch_shape, dtype=torch.float64, device=support.device)
        for counts in support.split(_CHUNK):
            log_probs = wallenius_log_prob_given(counts, self._urn)
            possible = log_probs > -torch.inf
            log_probs = torch.where(possible, log_probs, 0.0)
            result = result - (possible * log_probs.exp() * log_probs).sum(0)
        return self._out(result)
