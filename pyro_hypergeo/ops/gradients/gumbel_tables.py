# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The estimator "gumbel" under any exponential family, from tables of all counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..law import ExponentialFamily
from ..log_convolution import log_suffixes
from ..tracing import in_table
from ..urn import Bounds
from .gumbel_softmax import at_remainders, remainders, tempered_softmax, waiting_times


def gumbel_movement(
    counts: Tensor, law: ExponentialFamily, state: Any, bounds: Bounds, temperature: Tensor
) -> Tensor:
    """The movement of each draw under an exponential family, in the shape of the counts."""
    # One more than the largest total, for the slopes there.
    urn, max_total_count = state.urn, bounds.total + 1
    x = counts.double().expand(torch.broadcast_shapes(counts.shape, urn.sizes.shape))
    total = urn.total.unsqueeze(-1)
    total = torch.where(urn.interior.unsqueeze(-1), total, x.sum(-1, keepdim=True))
    left = total - x.cumsum(-1) + x
    terms = law.log_terms(state, min(bounds.size, max_total_count))
    suffixes = log_suffixes(terms, max_total_count)[..., 1:, :]
    rest = remainders(left, terms, max_total_count)
    log_probs = torch.log_softmax(terms + at_remainders(suffixes, rest), -1)
    perturbed = _perturbed(log_probs, x)
    shares = tempered_softmax(perturbed, temperature.double()[..., None, None])
    k = torch.arange(shares.shape[-1], dtype=shares.dtype, device=shares.device)
    soft = (shares * k).sum(-1)
    with torch.no_grad():
        slopes = at_remainders(_slopes(suffixes), rest, outside=0.0)
        by_left = (shares * (k - soft.unsqueeze(-1)) * slopes).sum(-1)
        by_left = by_left / temperature.double().unsqueeze(-1)
        # A group with no elements after it takes all that is left.
        by_left = torch.where(suffixes[..., 1:2].isneginf().squeeze(-1), 1.0, by_left)
    moved = []
    change = torch.zeros_like(soft[..., 0])
    for own, rate in zip(
        (soft - soft.detach()).unbind(-1), by_left.detach().unbind(-1), strict=True
    ):
        moved.append(own + rate * change)
        change = change - moved[-1]
    return torch.stack(moved, -1)


def _perturbed(log_probs: Tensor, x: Tensor) -> Tensor:
    """Perturbed log-probabilities (..., G, M + 1), drawn given that the argmax is x (..., G)."""
    # The largest perturbed log-probability is a Gumbel variable, and independent of the argmax.
    # Given this maximum, the others are Gumbel variables truncated at it.
    with torch.no_grad():
        possible = log_probs != -torch.inf
        exponential = waiting_times(log_probs.shape, like=log_probs)
        top = waiting_times(log_probs[..., :1].shape, like=log_probs)
        at = in_table(x.unsqueeze(-1).long(), int(log_probs.shape[-1]) - 1)
        own = torch.zeros_like(log_probs).scatter(-1, at, 1.0)
        arrival = exponential * torch.exp(-torch.where(possible, log_probs, 0.0)) * (1 - own)
        noise = -torch.log(top + arrival) - torch.where(possible, log_probs, 0.0)
    return log_probs + noise.detach()  # a trace forgets `no_grad`


def _slopes(suffixes: Tensor) -> Tensor:
    """Derivatives of log-partition functions in the total, (..., T + 1), by differences.

    The difference is central where both neighbours exist.
    """
    step = suffixes[..., 1:] - suffixes[..., :-1]
    exists = step.isfinite()
    step = torch.where(exists, step, 0.0)
    pad = torch.nn.functional.pad
    both = pad(step, (1, 0)) + pad(step, (0, 1))
    number = pad(exists, (1, 0)).to(step.dtype) + pad(exists, (0, 1)).to(step.dtype)
    return both / number.clamp(min=1)
