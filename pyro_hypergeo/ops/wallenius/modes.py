# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import Tensor

from ..urn import Urn, make_urn
from .density import wallenius_log_prob_given
from .moments import wallenius_mean64
from .snapshots import snapshots

# A change must gain more than rounding, or equal neighbours would take turns.
_LEAST_GAIN = 1e-11


def wallenius_mode(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Counts that are more probable than all that differ from them by one exchange.

    From the rounded mean, the exchange of one element for one of another group that gains most is
    made until none gains. In all urns that have been enumerated this is the most probable count
    vector. Cost: O(G^3) for each exchange, of which few are needed.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: counts of shape ``(..., G)``; at a tie, one of the modes.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_mode
    >>> wallenius_mode(torch.tensor([0.0, 1.0]), torch.tensor([5.0, 5.0]), torch.tensor(4.0))
    tensor([1., 3.])
    """
    with torch.no_grad():
        urn = make_urn(log_weights, group_sizes, total_count)
        counts = climb(_rounded(urn), urn)
        return torch.where(urn.interior.unsqueeze(-1), counts, urn.edge).to(log_weights.dtype)


def _rounded(urn: Urn) -> Tensor:
    """The mean, rounded so that the sum stays."""
    mean = torch.minimum(wallenius_mean64(urn, snapshots(urn)).clamp(min=0), urn.sizes)
    low = torch.floor(mean + 1e-9)
    missing = (urn.total - low.sum(-1)).unsqueeze(-1)
    part = torch.where(low < urn.sizes, mean - low, -torch.inf)
    rank = part.argsort(-1, descending=True).argsort(-1)
    return low + (rank < missing)


def climb(counts: Tensor, urn: Urn) -> Tensor:
    """The counts after the best exchange, again and again until none gains."""
    groups = counts.shape[-1]
    one = torch.eye(groups, dtype=counts.dtype, device=counts.device)
    none = torch.zeros_like(one[:1])
    # No exchange at all comes first.
    exchanges = torch.cat([none, (one.unsqueeze(1) - one.unsqueeze(0)).flatten(0, 1)])
    moving = torch.ones(counts.shape[:-1], dtype=torch.bool, device=counts.device)
    while bool((moving & urn.interior).any()):
        best, at = torch.full_like(counts[..., 0], -torch.inf), torch.zeros_like(counts)
        for some in exchanges.split(groups + 1):
            candidates = counts + some.reshape(len(some), *(1,) * (counts.dim() - 1), groups)
            value, index = wallenius_log_prob_given(candidates, urn).max(0)
            better = value > best + _LEAST_GAIN
            at = torch.where(better.unsqueeze(-1), some[index], at)
            best = torch.where(better, value, best)
        moving = at.abs().sum(-1) > 0
        counts = counts + at
    return counts
