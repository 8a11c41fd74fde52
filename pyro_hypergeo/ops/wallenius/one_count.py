# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""One count of an urn of many groups: its law together with the time of ring n + 1."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..binomial import log_binomial_pmf
from ..urn import Urn
from .clocks import log_rung, log_rung_odds
from .snapshots import LONGEST_TIME, snapshots_at

_LOWEST, _HIGHEST = -640.0, 100.0
# The log of rate times time is cut here, so that no power overflows. So is a hazard of 0.
_LATEST, _LEAST = 600.0, 1e-300
# The rounding of an expected number of elements, relative to the size of the group.
_ROUNDING = 1e-13


class Counts(NamedTuple):
    """K counts of one group, and for each count the urn of the other groups."""

    k: Tensor  # (..., K)
    size: Tensor  # (..., K)
    log_weight: Tensor  # (..., K)
    rest: Tensor  # (..., K): how many of the others are drawn
    sizes: Tensor  # (..., K, G): of the others; 0 for the group itself
    theta: Tensor  # (..., K, G)

    def take(self, index: Tensor) -> Counts:
        """Some of the counts, for a batch shape ``()``."""
        return Counts(*(x[index] for x in self))

    def detached(self) -> Counts:
        """The same counts without a gradient."""
        return Counts(*(x.detach() for x in self))


def counts_of(urn: Urn, group: int, k: Tensor) -> Counts:
    """The counts (..., K) of one group. The nearest possible count replaces an impossible one."""
    theta, sizes = urn.log_weights, urn.sizes
    theta = theta - theta.detach().masked_fill(sizes <= 0, -torch.inf).amax(-1, keepdim=True)
    own = torch.arange(sizes.shape[-1], device=sizes.device) == group
    size, others = (sizes * own).sum(-1, keepdim=True), sizes * ~own
    total, everything = urn.total.unsqueeze(-1), others.sum(-1, keepdim=True)
    k = torch.maximum(torch.minimum(k, torch.minimum(size, total)), total - everything)
    shape = (*k.shape, own.shape[-1])
    return Counts(
        k,
        size.expand(k.shape),
        (theta * own).sum(-1, keepdim=True).expand(k.shape),
        total - k,
        others.unsqueeze(-2).expand(shape),
        theta.unsqueeze(-2).expand(shape),
    )


class Slope(NamedTuple):
    """The log-density at U times, and the parts of its slope, which is about 1 + rate - late."""

    log_density: Tensor  # (..., K, U)
    late: Tensor  # (..., K, U): E[D] u
    rate: Tensor  # (..., K, U): sum_i E[x_i] y_i / (e^y_i - 1)
    bend: Tensor  # (..., K, U): about minus the slope of the rate


def log_density(counts: Counts, times: Tensor) -> Tensor:
    """The log-density of the count and of the log-time of the next ring, (..., K, U)."""
    return _density(counts, times)[0]


def slope_at(counts: Counts, times: Tensor) -> Slope:
    """The log-density at log-times (..., K, U), and its slope for fixed counts."""
    result, late, left = _density(counts, times)
    hazard, bend = hazards(counts.theta.unsqueeze(-2) + times.unsqueeze(-1))
    own, bend_of_own = hazards(counts.log_weight.unsqueeze(-1) + times)
    drawn, k = counts.sizes.unsqueeze(-2) - left, counts.k.unsqueeze(-1)
    rate = k * own + (drawn * hazard).sum(-1)
    return Slope(result, late, rate, k * bend_of_own + (drawn * bend).sum(-1))


def hazards(log_y: Tensor) -> tuple[Tensor, Tensor]:
    """y / (e^y - 1) and minus its derivative in log y."""
    y = torch.exp(log_y.clamp(_LOWEST, _HIGHEST))
    share = y / -torch.expm1(-y)
    hazard = share * torch.exp(-y)
    return hazard, hazard * (share - 1)


def _density(counts: Counts, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The log-density, E[D] u, and what is expected to be left of each group, (..., K, U, G)."""
    _, size, log_weight, rest, sizes, theta = counts
    everything = sizes.sum(-1)
    inside = (rest > 0) & (rest < everything)
    # Where none or all of the others are drawn, their counts are certain. There a total in the
    # middle replaces the true one.
    posed = torch.where(inside, rest, 0.5 * everything)
    at = snapshots_at(theta, sizes, posed, times)
    log_y = theta.unsqueeze(-2) + times.unsqueeze(-1)
    none, all_ = (rest <= 0).unsqueeze(-1), (rest >= everything).unsqueeze(-1)
    sizes = sizes.unsqueeze(-2)
    y = torch.exp(log_y.clamp(max=_HIGHEST))
    log_mass = torch.where(none, -(sizes * y).sum(-1), at.log_mass - _cut_off(y, sizes, rest))
    log_mass = torch.where(all_, (sizes * log_rung(log_y)).sum(-1), log_mass)
    # What is left of a group that has rung almost surely is only rounding. Times its weight, it
    # would hide the others.
    left = torch.where(at.rest > _ROUNDING * sizes, at.rest, 0.0)
    left = torch.where(none.unsqueeze(-1), sizes, left)
    left = torch.where(all_.unsqueeze(-1), 0.0, left)
    k, size = counts.k.unsqueeze(-1), size.unsqueeze(-1)
    log_own = (log_weight.unsqueeze(-1) + times).clamp(max=_LATEST)
    hazard = torch.exp(log_own) * (size - k) + (y * left).sum(-1)
    log_hazard = torch.log(hazard.clamp(min=_LEAST))
    own = log_binomial_pmf(k, size, log_rung_odds(log_own))
    return own + log_mass + log_hazard, hazard, left


def _cut_off(y: Tensor, sizes: Tensor, rest: Tensor) -> Tensor:
    """What the snapshots leave out: elements that ring almost surely, but must not ring."""
    # By far the most probable case: the heaviest elements have rung.
    y, order = y.sort(-1, descending=True)
    sizes = sizes.expand(y.shape).gather(-1, order)
    rung = rest[..., None, None] - (sizes.cumsum(-1) - sizes)
    unrung = sizes - torch.minimum(rung.clamp(min=0), sizes)
    return (unrung * (y - LONGEST_TIME).clamp(min=0)).sum(-1)
