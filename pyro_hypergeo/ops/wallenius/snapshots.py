# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The counts at the time of ring n + 1: Fisher's laws, whose mixture over time is Wallenius'."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..binomial import log1p_exp
from ..saddlepoint.derivatives import Derivatives
from ..saddlepoint.lattice import Tilted, lattice_nodes, log_lattice_prob, tilted_groups
from ..saddlepoint.tilt import find_tilt, refine_tilt
from ..urn import Urn, make_urn
from .clocks import TimeNodes, gauss_nodes, log_rung_odds

# Halvings of a bracket whose length is in the hundreds, to far below the width of the density.
_CENTRE_STEPS = 50
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


def snapshots(urn: Urn) -> Snapshots:
    """The snapshots at the nodes of a rule for the time of ring n + 1; nodes have no gradient."""
    sizes = urn.sizes
    theta = urn.log_weights
    theta = theta - theta.detach().masked_fill(sizes <= 0, -torch.inf).amax(-1, keepdim=True)
    with torch.no_grad():
        centre = _centre(theta, sizes, urn.total)
        nodes = rule_around(centre, partial(_log_density, theta, sizes, urn.total))
    nodes = nodes.detached()  # a trace forgets `no_grad`
    times = nodes.peak.unsqueeze(-1) + nodes.offset
    at = snapshots_at(theta, sizes, urn.total, times)
    return at._replace(log_mass=at.log_mass + nodes.log_length)


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
    """The rule over all log-times where a density has not vanished.

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
    return gauss_nodes(centre, torch.exp(high))


def _log_density(theta: Tensor, sizes: Tensor, total: Tensor, times: Tensor) -> Tensor:
    """The log-density of the log-time of ring n + 1, (..., U)."""
    at = snapshots_at(theta, sizes, total, times)
    return at.log_mass + torch.log((at.rates * at.rest).sum(-1))


def _centre(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
    """log u at which n + 1/2 elements are expected to have rung, (...)."""
    everything = sizes.sum(-1)
    wanted = torch.minimum(total + 0.5, everything - 0.5)
    absent = sizes <= 0
    low = torch.log(wanted) - torch.log((sizes * torch.exp(theta)).sum(-1))
    lightest = theta.masked_fill(absent, torch.inf).amin(-1)
    high = torch.log(-torch.log1p(-wanted / everything)) - lightest
    for _ in range(_CENTRE_STEPS):
        middle = 0.5 * (low + high)
        log_y = theta + middle.unsqueeze(-1)
        rung = (sizes * -torch.expm1(-torch.exp(log_y))).sum(-1)
        low = torch.where(rung < wanted, middle, low)
        high = torch.where(rung < wanted, high, middle)
    return 0.5 * (low + high)
