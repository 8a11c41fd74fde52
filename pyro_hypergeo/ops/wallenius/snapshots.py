# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The counts at the time of ring n + 1: Fisher's laws, whose mixture over time is Wallenius'."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..binomial import log1p_exp
from ..saddlepoint.derivatives import Derivatives
from ..saddlepoint.lattice import Tilted, lattice_nodes, log_lattice_prob, tilted_groups
from ..saddlepoint.tilt import find_tilt, refine_tilt
from ..urn import make_urn
from .clocks import TimeNodes, gauss_nodes, log_rung_odds

# A bracket of lengths is cut into so many parts, equal in logarithms. This is done twice. It finds
# the ends of the rule to within 10 %.
_END_PARTS = 12
_SHORTEST, _LEFT, _RIGHT = 1e-4, 40.0, 5.0
# The ends are where the density has fallen to exp(-_FALL) of its value at the centre. About this
# share of the integral is left out.
_FALL = 34.0
# Rate times time is cut here. At this value, no float can show what is left of a group.
LONGEST_TIME = 500.0


class Snapshots(NamedTuple):
    """The counts at the time u of the next ring, at U nodes of u.

    By the time u, the rings of the groups are independent binomials. Given that their sum is n,
    they follow Fisher's law with odds e^(w_i u) - 1. The next ring comes at the rate
    D(x) = sum_i w_i (m_i - x_i).
    """

    log_mass: Tensor  # (..., U): log of Pr[S_u = n] times the weight of the node in log u
    rates: Tensor  # (..., U, G): w_i u
    groups: Tilted  # (..., U, G)
    derivatives: Derivatives

    @property
    def rest(self) -> Tensor:
        """The expected number of elements left of each group, (..., U, G)."""
        groups = self.groups
        return groups.sizes * groups.q - groups.variance * self.derivatives.first


def snapshots_at(theta: Tensor, sizes: Tensor, total: Tensor, times: Tensor) -> Snapshots:
    """The snapshots at given log-times (..., U); ``log_mass`` is log Pr[S_u = n] alone."""
    log_rates = (theta.unsqueeze(-2) + times.unsqueeze(-1)).clamp(max=_LOG_LONGEST_TIME)
    odds = log_rung_odds(log_rates)
    sizes, total = sizes.unsqueeze(-2).expand(odds.shape), total.unsqueeze(-1).expand(times.shape)
    tilt = find_tilt(make_urn(odds.detach(), sizes, total))
    tilt = refine_tilt(odds.detach(), sizes, total, tilt)
    groups = tilted_groups(odds, sizes, tilt)
    lattice = lattice_nodes(groups, total)
    # From Pr[S = n] under the tilt to Pr[S = n] without it.
    shift = tilt.unsqueeze(-1)
    near = shift.abs() < 1
    close = torch.log1p(torch.sigmoid(odds) * torch.expm1(torch.where(near, shift, 0.0)))
    change = torch.where(near, close, log1p_exp(odds + shift) - log1p_exp(odds))
    change = (sizes * change).sum(-1) - total * tilt
    log_mass = log_lattice_prob(lattice) + change
    return Snapshots(log_mass, torch.exp(log_rates), groups, Derivatives(groups, lattice))


_LOG_LONGEST_TIME = math.log(LONGEST_TIME)


def rule_around(centre: Tensor, log_density: Callable[[Tensor], Tensor]) -> TimeNodes:
    """The rule over all log-times where a density has not vanished; see :func:`ends_around`."""
    return gauss_nodes(centre, ends_around(centre, log_density))


def ends_around(centre: Tensor, log_density: Callable[[Tensor], Tensor]) -> Tensor:
    """How far a density reaches to the left and to the right, (..., 2).

    :param Tensor centre: a log-time near the peak, (...).
    :param log_density: from log-times (..., U) to the log-density, (..., U).
    """
    top = log_density(centre.unsqueeze(-1))
    sign = torch.tensor([-1.0, 1.0], dtype=centre.dtype, device=centre.device)
    longest = torch.tensor([_LEFT, _RIGHT], dtype=centre.dtype, device=centre.device)
    high = torch.log(longest).expand(*centre.shape, 2)
    low = torch.log(torch.full_like(high, _SHORTEST))
    part = torch.arange(1, _END_PARTS, dtype=centre.dtype, device=centre.device) / _END_PARTS
    for _ in range(2):
        between = low.unsqueeze(-1) + (high - low).unsqueeze(-1) * part  # (..., 2, parts - 1)
        offset = sign.unsqueeze(-1) * torch.exp(between)
        inside = log_density(centre.unsqueeze(-1) + offset.flatten(-2)) >= top - _FALL
        # We take the outermost point, since the density may have a second peak.
        last = (inside.reshape(between.shape) * part).amax(-1) * _END_PARTS
        width = (high - low) / _END_PARTS
        low, high = low + width * last, low + width * (last + 1)
    return torch.exp(high)
