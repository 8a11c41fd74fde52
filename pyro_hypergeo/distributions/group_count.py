# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The distribution of the count of a single group."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import Categorical
from torch import Tensor

from ..ops.errors import check

# `icdf` at a value of `cdf` must return the same count, although the value is rounded.
_ROUNDING = 1e-12


class GroupCount(Categorical):
    r"""
    Distribution of the count of one group: a marginal of a distribution of counts.

    It is made by the methods ``marginal`` and ``marginals`` of
    :class:`~pyro_hypergeo.FisherHypergeometric` and of the other distributions. The count
    :math:`x_i` of group :math:`i` has the probability

    .. math::

        p(x_i = k) = \sum_{x : \, x_i = k} p(x), \qquad k = 0, \dots, m_i .

    Under Fisher's distribution this is

    .. math::

        p(x_i = k) = \frac{1}{P_0} \binom{m_i}{k} w_i^k \, [z^{n - k}]
        \prod_{j \ne i} (1 + w_j z)^{m_j},

    where :math:`[z^{n - k}]` takes the coefficient of :math:`z^{n - k}`.

    It is a :class:`~pyro.distributions.Categorical` over :math:`0, \dots, m_i`, and adds both
    tails, quantiles and moments. If sizes differ within a batch, the table ends at the largest size
    and holds zeros above the others. Results have the dtype of the weights.

    The log-probabilities are computed once, when the marginal is made. After that the costs are,
    with :math:`m` the largest size:

    ========================================================  =====================================
    :meth:`log_prob`                                          :math:`O(1)` a value
    :meth:`sample`, :attr:`mean`, :attr:`variance`            :math:`O(m)` for each batch entry
    :meth:`cdf`, :meth:`sf`                                   :math:`O(m)` for each batch entry, and
                                                              :math:`O(1)` a value
    :meth:`icdf`                                              :math:`O(m)` a value
    ========================================================  =====================================

    Example::

        >>> from pyro_hypergeo import FisherHypergeometric
        >>> count = FisherHypergeometric(6, [5, 3, 2], weights=[1.0, 2.0, 4.0]).marginal(0)
        >>> count.cdf(2), count.icdf(0.5)
        (tensor(0.5720), tensor(2.))

    :raises ValueError: by :meth:`icdf`, if a probability is not between 0 and 1.
    """

    def cdf(self, value: Tensor | float) -> Tensor:
        """Probability of a count of at most ``value``.

        :param value: real numbers, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: probabilities of the broadcast shape.
        """
        return self._at(self._tables()[0], torch.as_tensor(value).floor() + 1)

    def sf(self, value: Tensor | float) -> Tensor:
        """Probability of a count above ``value``; it keeps its accuracy in the upper tail.

        :param value: real numbers, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: probabilities of the broadcast shape.
        """
        return self._at(self._tables()[1], torch.as_tensor(value).floor() + 1)

    def icdf(self, value: Tensor | float) -> Tensor:
        """Quantiles: the smallest count whose ``cdf`` is at least ``value``.

        :param value: probabilities, of shape ``sample_shape + batch_shape``.
        :return: counts of the same shape.
        :raises ValueError: if a value is not between 0 and 1.
        """
        value = torch.as_tensor(value, dtype=self.logits.dtype, device=self.logits.device)
        if self._validate_args:
            check("value", value, (value >= 0) & (value <= 1), "probabilities between 0 and 1")
        lower = self._tables()[0][..., 1:-1] * (1 + _ROUNDING)
        return (lower < value.unsqueeze(-1).double()).sum(-1).to(self.logits.dtype)

    @property
    def mean(self) -> Tensor:
        """Mean of the count, of the batch shape."""
        return (self.probs * self._counts()).sum(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of the count, of the batch shape."""
        return (self.probs * (self._counts() - self.mean.unsqueeze(-1)).square()).sum(-1)

    def _counts(self) -> Tensor:
        return torch.arange(self.logits.shape[-1]).to(self.logits)

    def _tables(self) -> tuple[Tensor, Tensor]:
        # Two tables for k = 0, ..., m + 1: the probability of fewer than k, and of at least k.
        probs = self.logits.double().exp()
        none = torch.zeros_like(probs[..., :1])
        lower = torch.cat([none, probs.cumsum(-1)], -1)
        upper = torch.cat([probs.flip(-1).cumsum(-1).flip(-1), none], -1)
        return lower, upper

    def _at(self, table: Tensor, index: Any) -> Tensor:
        index = index.to(table.device).clamp(0, table.shape[-1] - 1).long()
        shape = torch.broadcast_shapes(index.shape, self.batch_shape)
        table = table.expand(shape + table.shape[-1:])
        found = table.gather(-1, index.expand(shape).unsqueeze(-1)).squeeze(-1)
        return found.to(self.logits.dtype)
