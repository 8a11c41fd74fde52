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


hypergeometric_counts = _HypergeometricCounts
hypergeometric_soft_counts = _HypergeometricSoftCounts

__all__ = ["hypergeometric_counts", "hypergeometric_soft_counts"]
