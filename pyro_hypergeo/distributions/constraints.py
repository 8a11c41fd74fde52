# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint


class _OfUrn(Constraint):
    event_dim = 1

    def __init__(self, group_sizes: Tensor, total_count: Tensor) -> None:
        self.group_sizes = group_sizes
        self.total_count = total_count
        super().__init__()


class _HypergeometricCounts(_OfUrn):
    """Counts of integer value with 0 <= x_i <= m_i that sum to n."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        """Whether each count vector is in the support, of the batch shape."""
        integral = (value % 1 == 0).all(-1)
        bounded = ((value >= 0) & (value <= self.group_sizes)).all(-1)
        return integral & bounded & (value.double().sum(-1) == self.total_count)

    def __repr__(self) -> str:
        return "HypergeometricCounts()"


class _HypergeometricSoftCounts(_OfUrn):
    """Real counts with 0 <= x_i <= m_i that sum to n, to rounding."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector is in the support, of the batch shape."""
        slack = 8 * torch.finfo(value.dtype).eps * (1 + self.total_count)
        room = slack.unsqueeze(-1)
        bounded = ((value >= -room) & (value <= self.group_sizes + room)).all(-1)
        return bounded & ((value.double().sum(-1) - self.total_count).abs() <= slack)

    def __repr__(self) -> str:
        return "HypergeometricSoftCounts()"


class _ZeroSum(Constraint):
    """Real vectors of at least one entry that sum to zero, to the rounding of their dtype."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector is finite and sums to zero, of the batch shape."""
        if value.dim() < 1 or value.shape[-1] < 1:
            raise ValueError(
                "Expected `value` to have at least one entry in its last dimension, "
                f"but got shape {tuple(value.shape)}."
            )
        exact = value.double()
        # A vector made from coordinates carries the rounding of their sum and, where they are
        # alike, a common rounding of entries that are sqrt(G) smaller than the coordinates.
        rounding = 16 * torch.finfo(value.dtype).eps * value.shape[-1] ** 0.5
        return exact.sum(-1).abs() <= rounding * exact.abs().sum(-1).clamp(max=_LARGEST)

    def __repr__(self) -> str:
        return "ZeroSum()"


# So that an infinite sum is not within an infinite tolerance.
_LARGEST = torch.finfo(torch.float64).max

hypergeometric_counts = _HypergeometricCounts
hypergeometric_soft_counts = _HypergeometricSoftCounts
zero_sum = _ZeroSum()

__all__ = ["hypergeometric_counts", "hypergeometric_soft_counts", "zero_sum"]
