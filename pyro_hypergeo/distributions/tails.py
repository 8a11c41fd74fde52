# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Both tails of a count, from a table of log-probabilities: exact also where float64 ends."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..ops.errors import check
from ..ops.tracing import may_branch, nan_if_table_is

# In a table, this stands for the logarithm of 0. Its sums and their derivatives are finite.
_LOWEST = -1e300
_LOG_HALF = math.log(0.5)
# Entries of one part of a table.
_CELLS = 1 << 16


class Tails:
    """Both tails of a count and their logarithms, for a class with the method :meth:`log_tail`."""

    def log_tail(self, side: int, value: Tensor | float) -> Tensor:
        """The logarithm of the lower tail (side 0) or of the upper one (side 1), in float64.

        :param int side: 0 for counts of at most ``value``, 1 for counts above ``value``.
        :param value: real numbers, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        """
        raise NotImplementedError

    def cdf(self, value: Tensor | float) -> Tensor:
        """Probability of a count of at most ``value``, in float64.

        :param value: real numbers, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: probabilities of the broadcast shape.
        """
        return self.logcdf(value).exp()

    def sf(self, value: Tensor | float) -> Tensor:
        """Probability of a count above ``value``, in float64.

        It keeps its accuracy in the upper tail.

        :param value: real numbers, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: probabilities of the broadcast shape.
        """
        return self.logsf(value).exp()

    def logcdf(self, value: Tensor | float) -> Tensor:
        """Logarithm of :meth:`cdf`, in float64; exact in both ends.

        :param value: real numbers, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: log-probabilities of the broadcast shape.
        """
        return self.log_tail(0, value)

    def logsf(self, value: Tensor | float) -> Tensor:
        """Logarithm of :meth:`sf`, in float64; exact in both ends.

        :param value: real numbers, of a shape that broadcasts with the batch shape.
        :type value: float or torch.Tensor
        :return: log-probabilities of the broadcast shape.
        """
        return self.log_tail(1, value)


def log_tails(log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of both tails of a table, without cancellation in either.

    Each tail is summed from its own end. Where a tail has more than half of the probability, it is
    the complement of the other one. Differentiable. Cost: O(M).

    :param Tensor log_probs: log-probabilities of M consecutive counts, ``(..., M)``, in float64.
    :return: two tables ``(..., M + 1)``: for k = 0, ..., M, the logarithm of the probability of the
        first k counts, and that of the others.

    >>> import torch
    >>> below, above = log_tails(torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64).log())
    >>> below.exp()
    tensor([0.0000, 0.1000, 0.3000, 1.0000], dtype=torch.float64)
    >>> above.exp()
    tensor([1.0000, 0.9000, 0.7000, 0.0000], dtype=torch.float64)
    """
    below = _cumulated(log_probs)
    above = _cumulated(log_probs.flip(-1)).flip(-1)
    return _checked(log_probs, _larger_by_rest(below, above), _larger_by_rest(above, below))


def _cumulated(log_probs: Tensor) -> Tensor:
    """The logarithms of the sums of the first 0, ..., M entries, (..., M + 1)."""
    none = torch.full_like(log_probs[..., :1], _LOWEST)
    table = torch.cat([none, log_probs.clamp(min=_LOWEST)], -1)
    return torch.logcumsumexp(table, -1)


def _larger_by_rest(tail: Tensor, other: Tensor) -> Tensor:
    large = tail > _LOG_HALF
    result = torch.where(large, torch.log1p(-torch.where(large, other, _LOG_HALF).exp()), tail)
    return torch.where(result <= _LOWEST / 2, -torch.inf, result + 0.0)  # not -0


def log_tail_at(log_probs: Tensor, index: Tensor, batch_shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Entries of both tables of :func:`log_tails` at indices that broadcast with the batch.

    One index for each table costs two sums over it, which are cheaper than two tables of sums.

    :param Tensor log_probs: as in :func:`log_tails`, of shape ``batch_shape + (M,)``.
    :param Tensor index: an index outside of 0, ..., M reads the first or the last entry.
    :return: two tensors of the broadcast shape.
    """
    if index.dim() > len(batch_shape) or index.numel() > math.prod(batch_shape):
        below, above = log_tails(log_probs)
        return look_up(below, index, batch_shape), look_up(above, index, batch_shape)
    width = log_probs.shape[-1]
    index = index.to(log_probs.device).expand(batch_shape).unsqueeze(-1)
    parts = [(log_probs, index)]
    if may_branch(log_probs) and log_probs.numel() > _CELLS:
        # A part stays in the cache of a processor.
        rows = max(1, _CELLS // width)
        flat = log_probs.reshape(-1, width), index.reshape(-1, 1)
        parts = list(zip(*(x.split(rows) for x in flat), strict=True))
    place = torch.arange(width, device=log_probs.device)
    sums = [_sums(*part, place) for part in parts]
    lower, upper = (torch.cat([s[i].reshape(-1) for s in sums]) for i in (0, 1))
    lower, upper = lower.reshape(batch_shape), upper.reshape(batch_shape)
    return _checked(log_probs, _larger_by_rest(lower, upper), _larger_by_rest(upper, lower))


def _sums(log_probs: Tensor, index: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    first = place < index
    below = torch.where(first, log_probs, _LOWEST).clamp(min=_LOWEST)
    above = torch.where(first, _LOWEST, log_probs).clamp(min=_LOWEST)
    return torch.logsumexp(below, -1), torch.logsumexp(above, -1)


def _checked(log_probs: Tensor, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    return nan_if_table_is(log_probs, below), nan_if_table_is(log_probs, above)


def look_up(table: Tensor, index: Tensor, batch_shape: torch.Size) -> Tensor:
    """Entries of tables ``batch_shape + (M + 1,)`` at indices that broadcast with the batch.

    An index outside of the table reads its first or last entry.
    """
    shape = torch.broadcast_shapes(index.shape, batch_shape)
    index = index.to(table.device).clamp(0, table.shape[-1] - 1).long()
    index = index.expand(shape).unsqueeze(-1)
    return table.expand(shape + table.shape[-1:]).gather(-1, index).squeeze(-1)


def quantile(log_probs: Tensor, value: Tensor) -> Tensor:
    """How many counts precede the smallest one up to which the probability is ``value``.

    Values that were rounded, as those of a cumulated probability in float32, find their count.

    :param Tensor log_probs: as in :func:`log_tails`.
    :param Tensor value: probabilities of a shape that broadcasts with the batch shape.
    :return: numbers of the broadcast shape, in float64.
    """
    below, _ = log_tails(log_probs)
    rounding = max(1e-12, 2 * torch.finfo(value.dtype).eps)
    lower = below[..., 1:-1].exp() * (1 + rounding) < value.double().unsqueeze(-1)
    return nan_if_table_is(log_probs, lower.sum(-1).to(log_probs.dtype))


def probabilities(value: Tensor | float, like: Tensor, validate: bool) -> Tensor:
    """The argument of a quantile as a tensor; numbers that are no tensor become float64.

    :raises ValueError: with validation, if a value is not between 0 and 1.
    """
    tensor = value if torch.is_tensor(value) else torch.as_tensor(value, dtype=torch.float64)
    tensor = tensor if tensor.is_floating_point() else tensor.double()
    tensor = tensor.to(like.device)
    if validate:
        allowed = (tensor >= 0) & (tensor <= 1)
        check("value", tensor, allowed, "probabilities between 0 and 1")
    return tensor
