# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""A mode of any law, by exchanges of one element; it needs only the log-probability."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .tracing import unwrapped
from .urn import Urn

# An exchange must gain more than rounding errors. Otherwise two equal neighbours could alternate.
_LEAST_GAIN = 1e-11


def rounded(mean: Tensor, urn: Urn) -> Tensor:
    """The mean (..., G), rounded to integers with the same sum."""
    mean = torch.minimum(mean.clamp(min=0), urn.sizes)
    low = torch.floor(mean)
    missing = (urn.total - low.sum(-1)).unsqueeze(-1)
    part = torch.where(low < urn.sizes, mean - low, -torch.inf)
    rank = part.argsort(-1, descending=True).argsort(-1)
    return low + (rank < missing)


def climb(counts: Tensor, urn: Urn, log_prob: Callable[[Tensor], Tensor]) -> Tensor:
    """Make the best exchange of one element again and again, until none gains; (..., G)."""
    groups = counts.shape[-1]
    one = torch.eye(groups, dtype=counts.dtype, device=counts.device)
    none = torch.zeros_like(one[:1])
    # The first candidate is no exchange at all.
    exchanges = torch.cat([none, (one.unsqueeze(1) - one.unsqueeze(0)).flatten(0, 1)])
    moving = torch.ones(counts.shape[:-1], dtype=torch.bool, device=counts.device)
    if torch.jit.is_tracing():
        raise NotImplementedError(
            "The `mode` of this law is found by exchanges until none gains. torch.jit.trace would "
            "keep the exchanges of one urn for all others."
        )
    while bool(unwrapped(moving & urn.interior).any()):
        best, move = torch.full_like(counts[..., 0], -torch.inf), torch.zeros_like(counts)
        for some in exchanges.split(groups + 1):
            candidates = counts + some.reshape(len(some), *(1,) * (counts.dim() - 1), groups)
            value, index = log_prob(candidates).max(0)
            better = value > best + _LEAST_GAIN
            # Not some[index]: an index without dimensions would be read under vmap.
            gained = some.index_select(0, index.reshape(-1)).reshape(*index.shape, groups)
            move = torch.where(better.unsqueeze(-1), gained, move)
            best = torch.where(better, value, best)
        moving = move.abs().sum(-1) > 0
        counts = counts + move
    return counts
