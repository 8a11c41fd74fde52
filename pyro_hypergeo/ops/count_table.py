# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Log-probabilities of one count, from the smallest possible count on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .tracing import may_branch
from .urn import Urn


class CountTable(NamedTuple):
    """Log-probabilities of the counts first, first + 1, ...; all others are impossible."""

    first: Tensor  # (...), in float64
    logs: Tensor  # (..., S)

    def spread(self, max_size: int) -> Tensor:
        """The log-probabilities of the counts 0, ..., max_size: ``(..., max_size + 1)``."""
        first, logs = self
        width = logs.shape[-1]
        if may_branch(first):
            low = int(first.reshape(-1)[0])
            if low <= max_size and (first == low).all():
                logs = logs[..., : max_size + 1 - low]
                after = max_size + 1 - low - logs.shape[-1]
                return torch.nn.functional.pad(logs, (low, after), value=-torch.inf)
        k = torch.arange(max_size + 1, dtype=first.dtype, device=first.device)
        index = k - first.unsqueeze(-1)
        found = logs.gather(-1, index.clamp(0, width - 1).long())
        return torch.where((index >= 0) & (index < width), found, -torch.inf)


def count_range(urn: Urn, group: int) -> tuple[Tensor, Tensor]:
    """The smallest and the largest possible count of a group, each (...)."""
    size, edge = urn.sizes[..., group], urn.edge[..., group]
    others = urn.sizes.sum(-1) - size
    low = torch.where(urn.interior, (urn.total - others).clamp(min=0), edge)
    return low, torch.where(urn.interior, torch.minimum(size, urn.total), edge)


def table_width(low: Tensor, high: Tensor, max_size: int) -> int:
    """How many counts a table needs, if counts above ``max_size`` are left out.

    It is ``max_size + 1`` where Python must not look at values.
    """
    if not may_branch(low):
        return max_size + 1
    return max(1, int((high.clamp(max=max_size) - low).max()) + 1)
