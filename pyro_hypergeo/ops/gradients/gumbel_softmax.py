# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Steps of a Gumbel-softmax over counts: remainders, tables at remainders, tempered shares."""

from __future__ import annotations

import torch
from torch import Tensor

from ..tracing import in_table


def remainders(left: Tensor, terms: Tensor, max_total_count: int) -> Tensor:
    """What remains of ``left`` (...) after a count of 0, 1, ..., M; shape (..., M + 1), int64.

    If the count is larger than ``left``, the result is max_total_count + 1, which is out of range.
    """
    k = torch.arange(terms.shape[-1], dtype=left.dtype, device=left.device)
    rest = left.unsqueeze(-1) - k
    outside = max_total_count + 1
    return in_table(torch.where(rest >= 0, rest, outside).long(), outside)


def at_remainders(table: Tensor, rest: Tensor, outside: float = -torch.inf) -> Tensor:
    """Entries of a table (..., T + 1) at each remainder; ``outside`` where it is out of range."""
    table = torch.nn.functional.pad(table, (0, 1), value=outside)
    return table.expand(rest.shape[:-1] + table.shape[-1:]).gather(-1, rest)


def tempered_softmax(log_odds: Tensor, temperature: Tensor) -> Tensor:
    """Softmax over the last dimension; ``-inf`` gives no NaN in the temperature's gradient."""
    possible = log_odds != -torch.inf
    scaled = torch.where(possible, log_odds, 0.0) / temperature
    return torch.softmax(torch.where(possible, scaled, -torch.inf), -1)


def waiting_times(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Exponential variables: a Gumbel variable is minus the logarithm of one."""
    # Not `exponential_`: `vmap` must see that all draws differ.
    uniform = torch.rand(shape, dtype=like.dtype, device=like.device)
    return uniform.neg_().log1p_().neg_()
