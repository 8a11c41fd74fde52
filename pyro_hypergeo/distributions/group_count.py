# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The distribution of the count of a single group."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import Categorical
from torch import Tensor
from torch.distributions import constraints

from ..ops.tracing import nan_if_table_is
from ..ops.urn import log_of_weights
from .arrays import as_tensor
from .tails import Tails, log_tails, look_up, probabilities, quantile


class GroupCount(Tails, Categorical):
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
    tails, their logarithms, quantiles and moments. If sizes differ within a batch, the table ends
    at the largest size and holds zeros above the others.

    The table :attr:`logits` is in float64, whatever the dtype of the weights. So are both tails and
    their logarithms: float32 would show a tail of less than 1e-45 as 0. Other results have the
    dtype of the weights. Each tail is summed from its own end, so :meth:`logcdf` and :meth:`logsf`
    are exact in both ends, also where :meth:`cdf` and :meth:`sf` are below 1e-308.

    The log-probabilities are computed once, when the marginal is made. After that the costs are,
    with :math:`m` the largest size:

    ========================================================  =====================================
    :meth:`log_prob`                                          :math:`O(1)` a value
    :meth:`sample`, :attr:`mean`, :attr:`variance`            :math:`O(m)` for each batch entry
    :meth:`cdf`, :meth:`sf`, :meth:`logcdf`, :meth:`logsf`    :math:`O(m)` for each batch entry, and
                                                              :math:`O(1)` a value
    :meth:`icdf`                                              :math:`O(m)` a value
    ========================================================  =====================================

    Example::

        >>> from pyro_hypergeo import FisherHypergeometric
        >>> count = FisherHypergeometric(6, [5, 3, 2], weights=[1.0, 2.0, 4.0]).marginal(0)
        >>> count.cdf(2), count.icdf(0.5)
        (tensor(0.5720, dtype=torch.float64), tensor(2.))
        >>> few = FisherHypergeometric(300, [50, 1550], weights=[1.0, 1.0]).marginal(0)
        >>> few.logcdf(40), few.logsf(40)
        (tensor(-7.5651e-23, dtype=torch.float64), tensor(-50.9359, dtype=torch.float64))

    :param torch.Tensor probs: probabilities, of shape ``batch_shape + (m + 1,)``. Give either
        ``probs`` or ``logits``.
    :param torch.Tensor logits: their logarithms, of the same shape.
    :param torch.dtype dtype: the dtype of results; that of ``probs`` or ``logits`` if not given.
    :raises ValueError: by :meth:`log_prob`, if a value is not a count of the table; by
        :meth:`icdf`, if a probability is not between 0 and 1.
    """

    arg_constraints = {"logits": constraints.real_vector}

    def __init__(
        self,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        *,
        dtype: torch.dtype | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if (probs is None) == (logits is None):
            given = "neither" if probs is None else "both"
            raise ValueError(f"Expected exactly one of `probs` and `logits`, but got {given}.")
        table = probs if logits is None else logits
        assert table is not None
        self.dtype = table.dtype if dtype is None else dtype
        table = table.double()
        table = log_of_weights(table) if logits is None else table
        super().__init__(logits=table, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with a larger batch shape; nothing is computed again."""
        new: Any = type(self).__new__(type(self)) if _instance is None else _instance
        new.dtype = self.dtype
        return super().expand(batch_shape, new)

    @property
    def probs(self) -> Tensor:
        """Probabilities of the counts 0, ..., m, of shape ``batch_shape + (m + 1,)``."""
        return torch.softmax(self.logits, -1).to(self.dtype)

    def log_prob(self, value: Tensor | float) -> Tensor:
        """Log-probability of a count.

        Without validation it is ``-inf`` for numbers that are no count of the table.

        :param value: counts, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: log-probabilities of the broadcast shape.
        :raises ValueError: with validation, if a value is not one of 0, ..., m.
        """
        count = as_tensor(value, self.logits.device)
        if getattr(count, "_pyro_categorical_support", None) == id(self):  # no need to look it up
            return super().log_prob(count).to(self.dtype)
        if self._validate_args:
            self._validate_sample(count)
        found = look_up(self.logits, count, self.batch_shape)
        possible = (count >= 0) & (count < self.logits.shape[-1]) & (count % 1 == 0)
        result = torch.where(possible, found, -torch.inf).to(self.dtype)
        return nan_if_table_is(self.logits, result)

    def icdf(self, value: Tensor | float) -> Tensor:
        """Quantiles: the smallest count whose ``cdf`` is at least ``value``.

        :param value: probabilities, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: counts of the broadcast shape.
        :raises ValueError: if a value is not between 0 and 1.
        """
        value = probabilities(value, self.logits, self._validate_args)
        return quantile(self.logits, value).to(self.dtype)

    @property
    def mean(self) -> Tensor:
        """Mean of the count, of the batch shape."""
        return self._mean().to(self.dtype)

    @property
    def variance(self) -> Tensor:
        """Variance of the count, of the batch shape."""
        away = self._counts() - self._mean().unsqueeze(-1)
        return (self.logits.exp() * away.square()).sum(-1).to(self.dtype)

    @property
    def mode(self) -> Tensor:
        """A most probable count, of the batch shape."""
        return nan_if_table_is(self.logits, self.logits.argmax(-1))

    def entropy(self) -> Tensor:
        """Entropy in nats, of the batch shape."""
        logits = self.logits.clamp(min=torch.finfo(self.logits.dtype).min)
        return -(torch.softmax(self.logits, -1) * logits).sum(-1).to(self.dtype)

    def _counts(self) -> Tensor:
        return torch.arange(self.logits.shape[-1]).to(self.logits)

    def _mean(self) -> Tensor:
        return (self.logits.exp() * self._counts()).sum(-1)

    def log_tail(self, side: int, value: Tensor | float) -> Tensor:
        """The lower tail (side 0) or the upper one (side 1)."""
        index = as_tensor(value, self.logits.device).floor() + 1
        return look_up(log_tails(self.logits)[side], index, self.batch_shape)
