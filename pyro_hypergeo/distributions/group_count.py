# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import Categorical
from torch import Tensor

from ..ops.errors import check

# So that a quantile asked for at a value of the cdf is not missed by rounding.
_ROUNDING = 1e-12


class GroupCount(Categorical):
    r"""
    Law of the count of one group, :math:`p(x_i = k)` for :math:`k = 0, \dots, m_i`.

    Made by the ``marginal`` method of a law of counts. Besides what a
    :class:`~pyro.distributions.Categorical` has there are both tails, quantiles and moments.

    Example::

        >>> from pyro_hypergeo import FisherHypergeometric
        >>> count = FisherHypergeometric(6, [5, 3, 2], weights=[1.0, 2.0, 4.0]).marginal(0)
        >>> count.cdf(2), count.icdf(0.5)
        (tensor(0.5720), tensor(2.))
    """

    def cdf(self, value: Tensor | float) -> Tensor:
        """Probability of at most ``value``, any real number. Cost: O(m)."""
        return self._at(self._tables()[0], torch.as_tensor(value).floor() + 1)

    def sf(self, value: Tensor | float) -> Tensor:
        """Probability of more than ``value``, accurate in the upper tail. Cost: O(m)."""
        return self._at(self._tables()[1], torch.as_tensor(value).floor() + 1)

    def icdf(self, value: Tensor | float) -> Tensor:
        """The smallest count whose ``cdf`` is at least ``value``. Cost: O(m) each.

        :param value: probabilities, of shape ``sample_shape + batch_shape``.
        :raises ValueError: if one is not between 0 and 1.
        """
        value = torch.as_tensor(value, dtype=self.logits.dtype, device=self.logits.device)
        if self._validate_args:
            check("value", value, (value >= 0) & (value <= 1), "probabilities between 0 and 1")
        lower = self._tables()[0][..., 1:-1] * (1 + _ROUNDING)
        return (lower < value.unsqueeze(-1).double()).sum(-1).to(self.logits.dtype)

    @property
    def mean(self) -> Tensor:
        """Expected count."""
        return (self.probs * self._counts()).sum(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of the count."""
        return (self.probs * (self._counts() - self.mean.unsqueeze(-1)).square()).sum(-1)

    def _counts(self) -> Tensor:
        return torch.arange(self.logits.shape[-1]).to(self.logits)

    def _tables(self) -> tuple[Tensor, Tensor]:
        # Probabilities of fewer than k, and of k or more, for k = 0, ..., m + 1.
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
