# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Exact draws from Fisher's law by rejection."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Size, Tensor

from ..binomial import log_binomial_coefficient
from .state import FisherState

# Numbers in the largest table of one round: 32 MB. And in one that takes as long as the calls do.
_MOST, _FEW = 4_000_000, 16_000
# If one call in so many needs another round, this costs little.
_FAILURES = 30


class _Proposals(NamedTuple):
    """The tilted binomials of all groups but the keeper, and the keeper's probabilities."""

    sizes: Tensor  # (urns, G), 0 for the keeper
    p: Tensor  # (urns, G)
    total: Tensor  # (urns, 1)
    keeper_size: Tensor  # (urns, 1)
    log_odds: Tensor  # (urns, 1), of the keeper
    mode: Tensor  # (urns, 1), of the keeper


def sample_by_rejection(state: FisherState, sample_shape: Size) -> Tensor:
    """Exact draws, ``sample_shape + (..., G)``: all groups but one get tilted binomials.

    The other group takes the rest. This is the keeper, the group of largest variance. A proposal is
    accepted with the keeper's binomial probability, divided by its largest value. Each urn makes
    many proposals at once, and takes the first that are accepted. So small batches need one round.
    Cost of a draw: O(G), for any number of elements. The loop ends on data, so it can be neither
    traced nor compiled.
    """
    proposals, keeper, share = _proposals(state)
    draws, (urns, groups) = sample_shape.numel(), proposals.sizes.shape
    missing = torch.full((urns, 1), draws, device=keeper.device)
    counts, taken = _round(proposals, _tries(draws, urns, groups, share), missing)
    missing = missing - taken
    if len(counts) < draws * urns:
        counts = _filled(proposals, counts, draws, missing, share)
    counts = counts.view(urns, draws, groups)
    rest = proposals.total - counts.sum(-1)
    counts.scatter_(-1, keeper.unsqueeze(1).expand(urns, draws, 1), rest.unsqueeze(-1))
    return counts.movedim(1, 0).reshape(sample_shape + state.urn.sizes.shape)


def _proposals(state: FisherState) -> tuple[_Proposals, Tensor, float]:
    """What the rounds need; the keepers; and the share of proposals that an urn accepts."""
    urn = state.urn
    groups = urn.sizes.shape[-1]
    sizes = urn.sizes.reshape(-1, groups)
    u = (urn.log_weights + state.tilt.unsqueeze(-1)).detach().reshape(-1, groups)
    p = torch.sigmoid(u)
    variance = sizes * torch.addcmul(p, p, p, value=-1)
    largest, keeper = variance.max(-1, keepdim=True)
    size, log_odds = sizes.gather(-1, keeper), u.gather(-1, keeper)
    # The mode of a binomial; at a tie, both neighbours have the same probability.
    mode = torch.minimum(torch.floor((size + 1) * torch.sigmoid(log_odds)), size)
    others, total = sizes.scatter(-1, keeper, 0.0), urn.total.reshape(-1, 1)
    # About the keeper's standard deviation over that of the sum.
    share = float((largest / variance.sum(-1, keepdim=True)).sqrt().mean())
    # NaN must end here too.
    share = share if share < 0.99 else 0.99
    return _Proposals(others, p, total, size, log_odds, mode), keeper, share


def _tries(draws: int, urns: int, groups: int, share: float) -> int:
    """How many proposals each urn makes, if it accepts this share of them."""
    # By Chernoff's bound, enough for all urns, except once in a few calls.
    surprise = math.log(_FAILURES * urns)
    spread = math.sqrt(2 * (draws - 1) * (1 - share) * surprise)
    enough = math.ceil((draws - 1 + spread) / share - surprise / math.log1p(-share))
    # Proposals for which there is no use cost time, except in a small table.
    tries = enough if share * enough < 1.25 * draws else max(draws, _FEW // (urns * groups))
    return max(1, min(enough, tries, _MOST // (urns * groups)))


def _round(proposals: _Proposals, tries: int, missing: Tensor) -> tuple[Tensor, Tensor]:
    """The first accepted draws of each urn, (all, G), in order of urns; and how many, (urns, 1).

    The count of the keeper is still 0.
    """
    sizes, p, total, keeper_size, log_odds, mode = proposals
    shape = (sizes.shape[0], tries, sizes.shape[1])
    counts = torch.binomial(sizes.unsqueeze(1).expand(shape), p.unsqueeze(1).expand(shape))
    rest = total - counts.sum(-1)
    inside = torch.minimum(rest.clamp(min=0), keeper_size)
    k = torch.cat([inside, mode], -1)
    log_probs = torch.addcmul(log_binomial_coefficient(keeper_size, k), k, log_odds)
    ratio = torch.exp(log_probs[:, :-1] - log_probs[:, -1:])
    # NaN is accepted: with a NaN parameter the loop must end too.
    rejected = (torch.rand_like(rest) >= ratio) | (rest < inside) | (rest > inside)
    accepted = ~rejected
    number = accepted.cumsum(-1)
    chosen = accepted & (number <= missing)
    return counts[chosen], torch.minimum(number[:, -1:], missing)


def _filled(
    proposals: _Proposals, counts: Tensor, draws: int, missing: Tensor, share: float
) -> Tensor:
    """The draws, (urns, draws, G), with more rounds for the urns that miss some."""
    urns, groups = proposals.sizes.shape
    place = torch.arange(draws, device=missing.device)
    result = counts.new_empty(urns, draws, groups)
    result[place < draws - missing] = counts
    while True:
        lacking = missing.squeeze(-1).nonzero().squeeze(-1)
        if not len(lacking):
            return result
        some = _Proposals(*(part[lacking] for part in proposals))
        wanted = missing[lacking]
        tries = _tries(int(wanted.max()), len(lacking), groups, share)
        counts, taken = _round(some, tries, wanted)
        start = draws - wanted
        row, column = ((place >= start) & (place < start + taken)).nonzero().unbind(-1)
        result[lacking[row], column] = counts
        missing[lacking] = wanted - taken
