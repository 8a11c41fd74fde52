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
# Up to this size of the keeper, differences of log-gammas have errors of a few 1e-12 at most.
_SMALL = 1000


class _Proposals(NamedTuple):
    """The tilted binomials of all groups but the keeper, and the keeper's probabilities."""

    sizes: Tensor  # (urns, G), 0 for the keeper
    p: Tensor  # (urns, G)
    total: Tensor  # (urns, 1)
    keeper_size: Tensor  # (urns, 1)
    log_odds: Tensor  # (urns, 1), of the keeper
    mode: Tensor  # (urns, 1), of the keeper
    keeper: Tensor  # (urns, 1), its place


def sample_by_rejection(state: FisherState, sample_shape: Size) -> Tensor:
    """Exact draws, ``sample_shape + (..., G)``: all groups but one get tilted binomials.

    The other group takes the rest. This is the keeper, the group of largest variance. A proposal is
    accepted with the keeper's binomial probability, divided by its largest value. Each urn makes
    many proposals at once, and takes the first that are accepted. So small batches need one round.
    Cost of a draw: O(G), for any number of elements. The loop ends on data, so it can be neither
    traced nor compiled.
    """
    proposals, share = _proposals(state)
    draws, (urns, groups) = sample_shape.numel(), proposals.sizes.shape
    small = proposals.keeper_size.amax().item() <= _SMALL
    counts, accepted = _round(proposals, _tries(draws, urns, groups, share), draws, small)
    if len(counts) < draws * urns:
        missing = (draws - accepted).clamp(min=0)
        counts = _filled(proposals, counts, draws, missing, share, small)
    counts = counts.view(urns, draws, groups)
    return counts.movedim(1, 0).reshape(sample_shape + state.urn.sizes.shape)


def _proposals(state: FisherState) -> tuple[_Proposals, float]:
    """What the rounds need, and the share of proposals that an urn accepts."""
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
    return _Proposals(others, p, total, size, log_odds, mode, keeper), share


def _tries(draws: int, urns: int, groups: int, share: float) -> int:
    """How many proposals each urn makes, if it accepts this share of them."""
    # By Chernoff's bound, enough for all urns, except once in a few calls.
    surprise = math.log(_FAILURES * urns)
    spread = math.sqrt(2 * (draws - 1) * (1 - share) * surprise)
    enough = math.ceil((draws - 1 + spread) / share - surprise / math.log1p(-share))
    # Proposals for which there is no use cost time, except in a small table.
    tries = enough if share * enough < 1.25 * draws else max(draws, _FEW // (urns * groups))
    return max(1, min(enough, tries, _MOST // (urns * groups)))


def _round(
    proposals: _Proposals, tries: int, wanted: int | Tensor, small: bool
) -> tuple[Tensor, Tensor]:
    """The first accepted draws of each urn, (all, G), in order of urns.

    And how many each urn accepted, (urns, 1): there may be more than are wanted.
    """
    sizes, p = proposals.sizes, proposals.p
    shape = (sizes.shape[0], tries, sizes.shape[1])
    counts = torch.binomial(sizes.unsqueeze(1).expand(shape), p.unsqueeze(1).expand(shape))
    rest = proposals.total - counts.sum(-1)
    keeper = proposals.keeper.unsqueeze(1).expand(*shape[:2], 1)
    counts.scatter_(-1, keeper, rest.unsqueeze(-1))
    # NaN is accepted: with a NaN parameter the loop must end too.
    accepted = ~(torch.rand_like(rest) >= _ratio(proposals, rest, small))
    number = accepted.cumsum(-1)
    return counts[accepted & (number <= wanted)], number[:, -1:]


def _ratio(proposals: _Proposals, rest: Tensor, small: bool) -> Tensor:
    """The keeper's probability of the rest over that of its mode; 0 for an impossible rest."""
    size, log_odds, mode = proposals.keeper_size, proposals.log_odds, proposals.mode
    if small:
        # The factorial of a negative integer is infinite. Fractions are in urns at an edge only,
        # whose draws are replaced.
        k = torch.cat([rest, mode], -1)
        factorials = torch.lgamma(torch.stack([k, size - k]).add_(1)).sum(0)
        log_probs = torch.addcmul(-factorials, k, log_odds)
        return torch.exp(log_probs[:, :-1] - log_probs[:, -1:])
    inside = torch.minimum(rest.clamp(min=0), size)
    k = torch.cat([inside, mode], -1)
    log_probs = torch.addcmul(log_binomial_coefficient(size, k), k, log_odds)
    ratio = torch.exp(log_probs[:, :-1] - log_probs[:, -1:])
    return ratio.masked_fill_((rest < inside) | (rest > inside), 0.0)


def _filled(
    proposals: _Proposals,
    counts: Tensor,
    draws: int,
    missing: Tensor,
    share: float,
    small: bool,
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
        counts, accepted = _round(some, tries, wanted, small)
        taken = torch.minimum(accepted, wanted)
        start = draws - wanted
        row, column = ((place >= start) & (place < start + taken)).nonzero().unbind(-1)
        result[lacking[row], column] = counts
        missing[lacking] = wanted - taken
