# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The independent rings of the groups up to a time, and a time at which about n have rung."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..binomial import log1p_exp
from ..saddlepoint.tilt import find_tilt, refine_tilt
from ..urn import make_urn
from .snapshots import LONGEST_TIME

_LOG_SHORTEST_TIME, _LOG_LONGEST_TIME = -640.0, math.log(LONGEST_TIME)
# Equal weights make the upper end of the bracket exact, up to rounding.
_SLACK = 1e-6
# Equal steps are about this long, in units of the width of the density.
_STEP = 0.77


class RingNodes(NamedTuple):
    """U nodes of the integral over v = log u, with u the time of ring n + 1."""

    times: Tensor  # (..., U): v
    log_length: Tensor  # (..., U) or less: the logarithm of the node's weight in the rule
    tilt: Tensor  # (..., U): the shift of the log-odds to a mean near n
    #: Whether the rule may be wrong: what it gives must be checked.
    quick: bool
    #: Whether the density is so near to a normal one that this rule uses it.
    bell: bool


class Rung(NamedTuple):
    """The independent rings of the groups up to the time u, at U nodes; each (..., U, G)."""

    rates: Tensor  # w_i u
    share: Tensor  # 1 - exp(-w_i u): the probability that an element has rung
    log_odds: Tensor  # log(exp(w_i u) - 1)


def rung_by(theta: Tensor, times: Tensor) -> Rung:
    """The rings by some log-times (..., U), or by one (...)."""
    theta = theta.unsqueeze(-2) if times.dim() == theta.dim() else theta
    log_rates = theta + times.unsqueeze(-1)
    rates = torch.exp(log_rates.clamp(_LOG_SHORTEST_TIME, _LOG_LONGEST_TIME))
    share = -torch.expm1(-rates)
    return Rung(rates, share, rates + torch.log(share))


def log_change(rung: Rung, shifted: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor) -> Tensor:
    """log of Pr[S = n] without the tilt minus with it, (..., U); at the best tilt, a bound.

    :param Tensor shifted: the log-odds plus the tilt, (..., U, G).
    :param Tensor sizes: (..., G).
    :param Tensor total: (...).
    """
    shift = tilt.unsqueeze(-1)
    near = shift.abs() < 1
    close = torch.log1p(rung.share * torch.expm1(torch.where(near, shift, 0.0)))
    change = torch.where(near, close, log1p_exp(shifted) - rung.rates)
    return (change @ sizes.unsqueeze(-1)).squeeze(-1) - total.unsqueeze(-1) * tilt


class Around(NamedTuple):
    """What happens around a log-time; each (...), or (..., G)."""

    rung: Rung
    given: Tensor  # the expected number of elements that have rung
    left: Tensor  # and of those that have not
    hazard: Tensor  # the expected number that ring in a unit of log-time
    spread: Tensor  # the variance of the number of rings
    late: Tensor  # rate times time of the elements that ring then
    varying: Tensor  # the probability of having rung, times that of not, (..., G)

    @property
    def curvature(self) -> Tensor:
        """Minus the curvature of the log-density of the time of ring n + 1: that of a normal."""
        return self.hazard.square() / self.spread

    @property
    def step(self) -> Tensor:
        """How long equal steps may be."""
        # The density is about a bell. Near time 0 and late, it falls more steeply on one side.
        width = self.curvature.rsqrt()
        return _STEP * width / (1 + width * (1.4 + 1.5 * self.late))


def around(theta: Tensor, sizes: Tensor, v: Tensor) -> Around:
    """What happens around the log-time v, (...)."""
    rung = rung_by(theta, v)
    left = torch.exp(-rung.rates)
    coming, varying = rung.rates * left, rung.share * left
    table = torch.stack([rung.share, left, coming, varying, rung.rates * coming], -1)
    given, rest, hazard, spread, late = (sizes.unsqueeze(-2) @ table).squeeze(-2).unbind(-1)
    return Around(rung, given, rest, hazard, spread, late / hazard, varying)


def bracket(theta: Tensor, sizes: Tensor, total: Tensor) -> tuple[Tensor, ...]:
    """Log-times below and above the centre, and the elements that are wanted, and all; (...)."""
    everything = sizes.sum(-1)
    wanted = torch.minimum(total + 0.5, everything - 0.5)
    low = torch.log(wanted) - torch.log((sizes * torch.exp(theta)).sum(-1))
    lightest = theta.masked_fill(sizes <= 0, torch.inf).amin(-1)
    high = torch.log(-torch.log1p(-wanted / everything)) - lightest
    return low - _SLACK, high + _SLACK, wanted, everything


def safe_tilt(log_odds: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
    """Tilts (..., U) for log-odds (..., U, G), where no guess is known."""
    sizes, total = sizes.unsqueeze(-2).expand(log_odds.shape), total.unsqueeze(-1)
    total = total.expand(log_odds.shape[:-1])
    tilt = find_tilt(make_urn(log_odds, sizes, total))
    return refine_tilt(log_odds, sizes, total, tilt)
