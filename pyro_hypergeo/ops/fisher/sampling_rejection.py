# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Exact draws from Fisher's law by rejection."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from ..binomial import log_binomial_coefficient
from .state import FisherState

# A round with fewer proposals takes as long. So when few draws are left, each gets several tries.
_ROUND = 512


def sample_by_rejection(state: FisherState, sample_shape: Size) -> Tensor:
    """Exact draws, ``sample_shape + (..., G)``: all groups but one get tilted binomials.

    The other group takes the rest. This is the keeper, the group of largest variance. A proposal is
    accepted with the keeper's binomial probability, divided by its largest value. Cost of a draw:
    O(G), for any number of elements. The loop ends on data, so it can be neither traced nor
    compiled.
    """
    urn = state.urn
    groups = urn.sizes.shape[-1]
    shape = sample_shape + urn.sizes.shape
    sizes = urn.sizes.reshape(-1, groups)
    u = (urn.log_weights + state.tilt.unsqueeze(-1)).detach().reshape(-1, groups)
    p = torch.sigmoid(u)
    keeper = (sizes * p * (1 - p)).argmax(-1, keepdim=True)
    others = torch.arange(groups - 1, device=u.device)
    others = others + (others >= keeper)
    other_sizes, other_p = sizes.gather(-1, others), p.gather(-1, others)
    size, log_odds = sizes.gather(-1, keeper).squeeze(-1), u.gather(-1, keeper).squeeze(-1)
    total = urn.total.reshape(-1)
    # The mode of a binomial; at a tie, both neighbours have the same probability.
    mode = torch.floor((size + 1) * torch.sigmoid(log_odds)).clamp(max=size)
    log_peak = log_binomial_coefficient(size, mode) + mode * log_odds

    draws = shape[:-1].numel()
    counts = torch.empty(draws, groups, dtype=u.dtype, device=u.device)
    todo = torch.arange(draws, device=u.device)
    while todo.numel():
        tries = max(1, _ROUND // todo.numel())
        row = (todo % total.numel()).expand(tries, -1)
        proposal = torch.binomial(other_sizes[row], other_p[row])
        rest = total[row] - proposal.sum(-1)
        inside = torch.minimum(rest.clamp(min=0), size[row])
        log_ratio = log_binomial_coefficient(size[row], inside) + inside * log_odds[row]
        accepted = torch.rand_like(rest).log() < log_ratio - log_peak[row]
        # With a NaN parameter the loop must end too.
        accepted = (accepted & (rest == inside)) | log_ratio.isnan()
        first, done = accepted.int().argmax(0), accepted.any(0)
        column = torch.arange(todo.numel(), device=u.device)[done]
        winner, finished = first[done], todo[done]
        row = row[0][done]
        counts[finished.unsqueeze(-1), others[row]] = proposal[winner, column]
        counts[finished.unsqueeze(-1), keeper[row]] = rest[winner, column].unsqueeze(-1)
        todo = todo[~done]
    return counts.reshape(shape)
