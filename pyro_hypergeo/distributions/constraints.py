# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The supports: counts, soft counts, vectors that sum to zero, partitions and permutations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint, independent


class _OfUrn(Constraint):
    """A support that depends on the urn: see the subclasses.

    :param torch.Tensor group_sizes: number of elements in each group, of shape
        ``batch_shape + (G,)``.
    :param torch.Tensor total_count: number of elements drawn, of the batch shape.
    """

    event_dim = 1

    def __init__(self, group_sizes: Tensor, total_count: Tensor) -> None:
        self.group_sizes = group_sizes
        self.total_count = total_count
        super().__init__()


class _HypergeometricCounts(_OfUrn):
    """Integer counts that sum to the total: 0 <= x_i <= m_i and sum_i x_i = n.

    Cost of :meth:`check`: O(G) for each count vector.

    >>> import torch
    >>> from pyro_hypergeo.distributions import hypergeometric_counts
    >>> support = hypergeometric_counts(torch.tensor([5, 3, 2]), torch.tensor(4))
    >>> support.check(torch.tensor([[2.0, 1.0, 1.0], [2.0, 1.0, 2.0], [0.0, 4.0, 0.0]]))
    tensor([ True, False, False])

    :param torch.Tensor group_sizes: number of elements in each group, m, of shape
        ``batch_shape + (G,)``.
    :param torch.Tensor total_count: number of elements drawn, n, of the batch shape.
    """

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        """Whether each count vector is in the support.

        :param torch.Tensor value: counts, of shape ``sample_shape + batch_shape + (G,)``.
        :return: booleans of shape ``sample_shape + batch_shape``.
        """
        possible = (value % 1 == 0) & (value >= 0) & (value <= self.group_sizes)
        return possible.all(-1) & (value.double().sum(-1) == self.total_count)

    def __repr__(self) -> str:
        return "HypergeometricCounts()"


class _HypergeometricSoftCounts(_OfUrn):
    """Real counts that sum to the total: 0 <= x_i <= m_i and sum_i x_i = n, up to rounding.

    The tolerance is ``8 eps (1 + n)``, with ``eps`` of the dtype of the counts. Cost of
    :meth:`check`: O(G) for each vector.

    >>> import torch
    >>> from pyro_hypergeo.distributions import hypergeometric_soft_counts
    >>> support = hypergeometric_soft_counts(torch.tensor([5, 3, 2]), torch.tensor(4))
    >>> support.check(torch.tensor([[1.5, 1.5, 1.0], [1.5, 1.5, 1.5]]))
    tensor([ True, False])

    :param torch.Tensor group_sizes: number of elements in each group, m, of shape
        ``batch_shape + (G,)``.
    :param torch.Tensor total_count: number of elements drawn, n, of the batch shape.
    """

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector is in the support.

        :param torch.Tensor value: soft counts, of shape ``sample_shape + batch_shape + (G,)``.
        :return: booleans of shape ``sample_shape + batch_shape``.
        """
        slack = 8 * torch.finfo(value.dtype).eps * (1 + self.total_count)
        room = slack.unsqueeze(-1)
        bounded = ((value >= -room) & (value <= self.group_sizes + room)).all(-1)
        return bounded & ((value.double().sum(-1) - self.total_count).abs() <= slack)

    def __repr__(self) -> str:
        return "HypergeometricSoftCounts()"


class _ZeroSum(Constraint):
    """Real vectors that sum to zero, up to the rounding of their dtype.

    Cost of :meth:`check`: O(G) for each vector.

    >>> import torch
    >>> from pyro_hypergeo.distributions import zero_sum
    >>> zero_sum.check(torch.tensor([[1.0, -3.0, 2.0], [1.0, -3.0, 1.0]]))
    tensor([ True, False])
    """

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector is finite and sums to zero.

        :param torch.Tensor value: vectors, of shape ``batch_shape + (G,)``.
        :return: booleans of the batch shape.
        :raises ValueError: if a vector has no entry.
        """
        if value.dim() < 1 or value.shape[-1] < 1:
            raise ValueError(
                "Expected `value` to have at least one entry in its last dimension, "
                f"but got shape {tuple(value.shape)}."
            )
        exact = value.double()
        # A vector that is computed from coordinates has two rounding errors. One is that of their
        # sum. The other is common to all entries. If the coordinates are nearly equal, the entries
        # are sqrt(G) smaller than the coordinates, so this error is relatively larger.
        rounding = 16 * torch.finfo(value.dtype).eps * value.shape[-1] ** 0.5
        return exact.sum(-1).abs() <= rounding * exact.abs().sum(-1).clamp(max=_LARGEST)

    def __repr__(self) -> str:
        return "ZeroSum()"


class _PartitionOf(Constraint):
    """Partitions of given sizes: matrices of one-hot rows whose columns sum to the sizes.

    Cost of :meth:`check`: O(N K) for each matrix.

    >>> import torch
    >>> from pyro_hypergeo.distributions import partition_of
    >>> support = partition_of(torch.tensor([2, 1]))
    >>> support.check(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    tensor(True)
    >>> support.check(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    tensor(False)

    :param sizes: number of elements in each group, of shape ``batch_shape + (K,)``; or a constraint
        that says which sizes are possible.
    :type sizes: torch.Tensor or torch.distributions.constraints.Constraint
    """

    is_discrete = True
    event_dim = 2

    def __init__(self, sizes: Tensor | Constraint) -> None:
        self.sizes = sizes
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Whether each matrix is a partition of possible sizes.

        :param torch.Tensor value: matrices, of shape ``sample_shape + batch_shape + (N, K)``.
        :return: booleans of shape ``sample_shape + batch_shape``.
        """
        entries = ((value == 0) | (value == 1)).all(-1).all(-1)
        one_hot = entries & (value.sum(-1) == 1).all(-1)
        counts = value.sum(-2)
        if isinstance(self.sizes, Tensor):
            return one_hot & (counts == self.sizes).all(-1)
        return one_hot & self.sizes.check(counts)

    def __repr__(self) -> str:
        return "PartitionOf()"


class _Permutation(Constraint):
    """Permutations of 0, ..., N - 1.

    Cost of :meth:`check`: one sort of each vector.

    >>> import torch
    >>> from pyro_hypergeo.distributions import permutation
    >>> permutation.check(torch.tensor([[2, 0, 1], [2, 0, 2]]))
    tensor([ True, False])
    """

    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector is a permutation.

        :param torch.Tensor value: vectors, of shape ``batch_shape + (N,)``.
        :return: booleans of the batch shape.
        """
        place = torch.arange(value.shape[-1], device=value.device)
        return (value.sort(-1).values == place).all(-1)

    def __repr__(self) -> str:
        return "Permutation()"


class _LogWeight(Constraint):
    """A real number, or ``-inf`` for a weight of 0."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each entry is a log-weight; NaN and ``inf`` are none.

        :param torch.Tensor value: log-weights, of any shape.
        :return: booleans of that shape.
        """
        return value < torch.inf

    def __repr__(self) -> str:
        return "LogWeight()"


# Keeps the tolerance finite: an infinite sum must not pass.
_LARGEST = torch.finfo(torch.float64).max

hypergeometric_counts = _HypergeometricCounts
hypergeometric_soft_counts = _HypergeometricSoftCounts
log_weight = _LogWeight()
#: Vectors of log-weights. Every real vector is one, so ``transform_to`` gives the identity.
log_weights = independent(log_weight, 1)
partition_of = _PartitionOf
permutation = _Permutation()
zero_sum = _ZeroSum()

__all__ = [
    "hypergeometric_counts",
    "hypergeometric_soft_counts",
    "log_weight",
    "log_weights",
    "partition_of",
    "permutation",
    "zero_sum",
]
