# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The distribution of the count of a single group."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import Categorical
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from ..ops.count_table import CountTable
from ..ops.tracing import nan_if_table_is
from ..ops.urn import grow, log_of_weights
from .arrays import as_tensor
from .tails import Tails, log_tail_at, look_up, probabilities, quantile


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

    The log-probabilities of the possible counts are computed once, when the marginal is made. After
    that the costs are, with :math:`S` the largest number of possible counts in the batch, and
    :math:`m` the largest size:

    ========================================================  =====================================
    :meth:`log_prob`                                          :math:`O(1)` a value
    :meth:`sample`, :attr:`mean`, :attr:`variance`            :math:`O(S)` for each batch entry
    :meth:`cdf`, :meth:`sf`, :meth:`logcdf`, :meth:`logsf`    :math:`O(S)` for each batch entry, and
                                                              :math:`O(1)` a value
    :meth:`icdf`                                              :math:`O(S)` a value
    :attr:`logits`, :attr:`probs`                             :math:`O(m)` for each batch entry
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
    :param torch.Tensor first: the count of the first entry of the table, of the batch shape; 0 if
        not given. All counts outside of the table are impossible.
    :param int largest: the largest count, :math:`m`; needed with ``first``.
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
        first: Tensor | None = None,
        largest: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if (probs is None) == (logits is None):
            given = "neither" if probs is None else "both"
            raise ValueError(f"Expected exactly one of `probs` and `logits`, but got {given}.")
        if (first is None) != (largest is None):
            raise ValueError("Expected `first` and `largest` together, but got only one of them.")
        table = probs if logits is None else logits
        assert table is not None
        self.dtype = table.dtype if dtype is None else dtype
        table = table.double()
        table = log_of_weights(table) if logits is None else table
        if first is None:
            super().__init__(logits=table, validate_args=validate_args)
            first, largest = table.new_zeros(table.shape[:-1]), table.shape[-1] - 1
            self._table = CountTable(first, self.logits)
            return
        assert largest is not None
        # `Categorical` would check and normalise a table that also has the impossible counts.
        self._param, self._num_events = table, largest + 1
        super(torch.distributions.Categorical, self).__init__(
            table.shape[:-1], validate_args=validate_args
        )
        everything = table.logsumexp(-1, keepdim=True)
        if self._validate_args and not torch._is_all_true(everything.isfinite()):
            raise ValueError("Expected log-probabilities, but found a table that has no sum.")
        self._table = CountTable(first.double(), table - everything)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with a larger batch shape; nothing is computed again."""
        new: Any = type(self).__new__(type(self)) if _instance is None else _instance
        new.dtype = self.dtype
        batch_dim = len(self.batch_shape)
        new._table = CountTable(*grow(torch.Size(batch_shape), batch_dim, *self._table))
        new._param = new._table.logs
        return super().expand(batch_shape, new)

    @lazy_property
    def logits(self) -> Tensor:
        """Log-probabilities of the counts 0, ..., m, of shape ``batch_shape + (m + 1,)``."""
        table = self._table.spread(self._num_events - 1)
        return nan_if_table_is(self._table.logs, table)

    @property
    def param_shape(self) -> Size:
        """The shape of :attr:`logits`."""
        return self.batch_shape + (self._num_events,)

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
        first, logs = self._table
        index = count - first
        found = look_up(logs, index, self.batch_shape)
        possible = (index >= 0) & (index < logs.shape[-1]) & (count % 1 == 0)
        result = torch.where(possible, found, -torch.inf).to(self.dtype)
        return nan_if_table_is(logs, result)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Draws, of shape ``sample_shape + batch_shape``."""
        shape = self._extended_shape(sample_shape)
        probs = torch.softmax(self._table.logs, -1).to(self.dtype)
        probs = probs.reshape(-1, probs.shape[-1])
        index = torch.multinomial(probs, Size(sample_shape).numel(), True).T.reshape(shape)
        return index + self._table.first.long()

    def icdf(self, value: Tensor | float) -> Tensor:
        """Quantiles: the smallest count whose ``cdf`` is at least ``value``.

        :param value: probabilities, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: counts of the broadcast shape.
        :raises ValueError: if a value is not between 0 and 1.
        """
        first, logs = self._table
        value = probabilities(value, logs, self._validate_args)
        count = first + quantile(logs, value)
        # Below the first count of the table, the probability is 0.
        return torch.where(value > 0, count, 0.0 * count).to(self.dtype)

    @property
    def mean(self) -> Tensor:
        """Mean of the count, of the batch shape."""
        return (self._table.first + self._mean_index()).to(self.dtype)

    @property
    def variance(self) -> Tensor:
        """Variance of the count, of the batch shape."""
        away = self._indices() - self._mean_index().unsqueeze(-1)
        return (self._table.logs.exp() * away.square()).sum(-1).to(self.dtype)

    @property
    def mode(self) -> Tensor:
        """A most probable count, of the batch shape."""
        first, logs = self._table
        return nan_if_table_is(logs, logs.argmax(-1) + first.long())

    def entropy(self) -> Tensor:
        """Entropy in nats, of the batch shape."""
        logs = self._table.logs.clamp(min=torch.finfo(torch.float64).min)
        return -(torch.softmax(logs, -1) * logs).sum(-1).to(self.dtype)

    def _indices(self) -> Tensor:
        logs = self._table.logs
        return torch.arange(logs.shape[-1], dtype=logs.dtype, device=logs.device)

    def _mean_index(self) -> Tensor:
        return (self._table.logs.exp() * self._indices()).sum(-1)

    def log_tail(self, side: int, value: Tensor | float) -> Tensor:
        """The lower tail (side 0) or the upper one (side 1)."""
        first, logs = self._table
        index = as_tensor(value, logs.device).floor() + 1 - first
        return log_tail_at(logs, index, self.batch_shape)[side]
