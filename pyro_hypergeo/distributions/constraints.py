# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from torch import Tensor
from torch.distributions.constraints import Constraint


class _HypergeometricCounts(Constraint):
    """Counts of integer value with 0 <= x_i <= m_i that sum to n."""

    is_discrete = True
    event_dim = 1

    def __init__(self, group_sizes: Tensor, total_count: Tensor) -> None:
        self.group_sizes = group_sizes
        self.total_count = total_count
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Whether each count vector is in the support, of the batch shape."""
        integral = (value % 1 == 0).all(-1)
        bounded = ((value >= 0) & (value <= self.group_sizes)).all(-1)
        return integral & bounded & (value.double().sum(-1) == self.total_count)

    def __repr__(self) -> str:
        return "HypergeometricCounts()"


hypergeometric_counts = _HypergeometricCounts

__all__ = ["hypergeometric_counts"]
