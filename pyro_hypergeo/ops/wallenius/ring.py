# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The time of ring n + 1: where its density lies, nodes for it, and the tilt at each node."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..binomial import log1p_exp
from ..saddlepoint.tilt import find_tilt, refine_tilt
from ..urn import make_urn
from .clocks import TimeNodes, even_nodes, may_branch
from .snapshots import LONGEST_TIME, rule_around

# Bisections and Newton's steps for the centre: where Python must not look, and where it stops when
# the next step is shorter than _CENTRE_NEAR widths. It then bisects every second time only after
# _CENTRE_TRIES steps.
_CENTRE_STEPS, _CENTRE_NEAR, _CENTRE_TRIES = 50, 0.3, 8
_SLACK = 1e-6
# The ends of the rule are where the density has fallen to exp(-_FALL) of its value at the centre.
# The logarithm of the fall was within _END_NEAR of that before the last step.
_FALL, _END_STEPS, _END_NEAR = 33.0, 8, 0.2
_SHORTEST, _LEFT, _RIGHT = 1e-4, 40.0, 5.0
# Equal steps are about this long, in units of the width of the density.
_STEP, _MOST_STEPS = 0.77, 400
# Newton's steps for the tilts. The mean is then within this part of a standard deviation.
_TILT_STEPS, _TILT_NEAR, _FARTHEST = 8, 0.12, 8.0
_LOG_SHORTEST_TIME, _LOG_LONGEST_TIME = -640.0, math.log(LONGEST_TIME)


def bell_rule(count: int) -> tuple[Any, Any]:
    """Nodes z of the integral of a function like exp(-z^2 / 2), and logarithms of weights."""
    z, weight = np.polynomial.hermite_e.hermegauss(count)
    return z, np.log(weight) + 0.5 * z * z


#: Gauss-Hermite nodes for a bell: a density that is near to a normal one.
BELL_RULE = bell_rule(16)
# The lengths on both sides of a bell differ by at most this part of their sum. Its width in time is
# less than this part of the time in which its clocks change.
_SKEWED, _NARROW = 0.12, 0.15


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


def ring_nodes(theta: Tensor, sizes: Tensor, total: Tensor, finer: int = 1) -> RingNodes:
    """A rule for the time of ring n + 1; nothing has a gradient.

    :param Tensor theta: log-weights, the largest near 0, (..., G).
    :param Tensor sizes: (..., G).
    :param Tensor total: (...).
    :param int finer: how many times as many steps as seem to be needed. Steps are equal only where
        :func:`may_branch` is true, and not for 0.
    """
    theta = theta.detach()
    with torch.no_grad():
        if finer and may_branch(theta):
            found = _quick_nodes(theta, sizes, total, finer)
            if found is not None:
                return found
        centre = _centre(theta, sizes, total)
        nodes = rule_around(centre, partial(_log_guess, theta, sizes, total))
        times = nodes.peak.unsqueeze(-1) + nodes.offset
        tilt = _safe_tilt(rung_by(theta, times).log_odds, sizes, total)
    # A trace forgets `no_grad`.
    return RingNodes(
        times.detach(), nodes.log_length.detach(), tilt.detach(), quick=False, bell=False
    )


def _quick_nodes(theta: Tensor, sizes: Tensor, total: Tensor, finer: int) -> RingNodes | None:
    """Equal steps, found by Newton's steps that stop early; ``None`` where they do not stop."""
    centre = _quick_centre(theta, sizes, total)
    if centre is None:
        return None
    ends = _quick_ends(theta, sizes, total, centre)
    if ends is None:
        return None
    away, pull, level = ends
    # The density is about a bell. Near time 0 and late, it falls more steeply on one side.
    width = centre.curvature.rsqrt()
    longest = _STEP * width / (1 + width * (1.4 + 1.5 * centre.rate))
    bell = finer == 1 and _is_bell(centre, away)
    steps = torch.ceil(finer * away.abs().sum(-1) / longest).amax().item()
    if not steps <= _MOST_STEPS:  # so for NaN
        return None
    if bell:
        nodes = _bell_nodes(centre.time, away)
    else:
        nodes = even_nodes(centre.time, away.abs(), int(steps))
    times = nodes.peak.unsqueeze(-1) + nodes.offset
    log_odds = rung_by(theta, times).log_odds
    # The mean of the log-odds, weighted by variances at the centre, is nearly constant. What is
    # left to the tilts at both ends is nearly a parabola.
    at_ends = rung_by(theta, centre.time.unsqueeze(-1) + away).log_odds
    own = centre.pull.unsqueeze(-1)
    gap = level - (at_ends * pull).sum(-1) + (at_ends @ own).squeeze(-1)
    chord = (gap - centre.level.unsqueeze(-1)) / away
    bent = (chord[..., 1] - chord[..., 0]) / (away[..., 1] - away[..., 0])
    slope = (chord[..., 0] - bent * away[..., 0]).unsqueeze(-1)
    guess = nodes.offset * torch.addcmul(slope, bent.unsqueeze(-1), nodes.offset)
    guess = guess + centre.level.unsqueeze(-1) - (log_odds @ own).squeeze(-1)
    best = _quick_tilt(log_odds, sizes, total, guess)
    if best is None:
        best = _safe_tilt(log_odds, sizes, total)
    return RingNodes(times, nodes.log_length, best, quick=True, bell=bell)


def _is_bell(centre: _Centre, away: Tensor) -> bool:
    left, right = away.unbind(-1)
    even = (left + right).abs() < _SKEWED * (right - left)
    narrow = (1 + centre.rate).square() < _NARROW**2 * centre.curvature
    return bool((even & narrow).all())


def _bell_nodes(centre: Tensor, away: Tensor) -> TimeNodes:
    """Gauss-Hermite nodes z of a normal density, for times that are parabolas of z."""
    # The parabola puts both ends where the normal density has fallen as far. So it takes away the
    # skewness.
    z, log_weight = (torch.as_tensor(a).to(centre) for a in BELL_RULE)
    left, right = away.unsqueeze(-1).unbind(-2)
    far = math.sqrt(2 * _FALL)
    slope, bent = (right - left) / (2 * far), (right + left) / (2 * far * far)
    offset = z * torch.addcmul(slope, bent, z)
    return TimeNodes(centre, offset, log_weight + torch.log(torch.addcmul(slope, 2 * bent, z)))


class _Centre(NamedTuple):
    """A log-time at which about n + 1/2 elements have rung, and the density there; each (...)."""

    time: Tensor
    curvature: Tensor  # of minus the log-density of a normal approximation
    hazard: Tensor  # the expected number of elements that ring in a unit of log-time
    rate: Tensor  # rate times time of the elements that ring then
    pull: Tensor  # the groups' shares in the variance of the number of rings, (..., G)
    level: Tensor  # the log-odds of having rung, averaged by these shares


def _quick_centre(theta: Tensor, sizes: Tensor, total: Tensor) -> _Centre | None:
    low, high, wanted, everything = _bracket(theta, sizes, total)
    log_wanted = torch.log(wanted / (everything - wanted))
    middle = torch.log(-torch.log1p(-wanted / everything))
    v = middle - (sizes * theta).sum(-1) / everything
    v = torch.minimum(torch.maximum(v, low), high)
    columns = sizes.unsqueeze(-2)
    for step in range(_CENTRE_STEPS):
        y, rung, log_odds = rung_by(theta, v)
        left = torch.exp(-y)
        coming = y * left
        varying = rung * left
        table = torch.stack([rung, left, coming, varying, y * coming], -1)
        given, rest, hazard, spread, late = (columns @ table).squeeze(-2).unbind(-1)
        gap = torch.log(given / rest) - log_wanted
        low, high = torch.where(gap <= 0, v, low), torch.where(gap >= 0, v, high)
        newton = v - gap / (hazard / given + hazard / rest)
        inside = (newton >= low) & (newton <= high)
        curvature = hazard.square() / spread
        near = (newton - v).square() * curvature < _CENTRE_NEAR**2
        if bool((inside & near).all()):
            pull = sizes * varying / spread.unsqueeze(-1)
            level = (pull * log_odds).sum(-1)
            return _Centre(newton, curvature, hazard, late / hazard, pull, level)
        middle = 0.5 * (low + high)
        inside = inside if step < _CENTRE_TRIES or step % 2 else torch.zeros_like(inside)
        v = torch.where(inside, newton, middle)
    return None


def _quick_ends(
    theta: Tensor, sizes: Tensor, total: Tensor, centre: _Centre
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Log-times of both ends minus the centre, (..., 2), and what gives the tilts there.

    The groups' shares in the variance, (..., 2, G), and the mean of the tilted log-odds, weighted
    by these, (..., 2).
    """
    # The density is at most the expected rate of rings times a bound of Pr[S = n], for every tilt.
    # With the right tilt, this is near. So each step moves the end and the tilt.
    start = torch.sqrt((2 * _FALL) / centre.curvature)
    bent, square = 1 + start / 6, 0.5 * start.square()
    left = (start * bent).clamp(_SHORTEST, _LEFT)
    right = torch.minimum(start / bent, torch.log1p(start + square)).clamp(_SHORTEST, _RIGHT)
    away = torch.stack([-left, right], -1)
    pull, level = centre.pull.unsqueeze(-2), centre.level.unsqueeze(-1)
    log_hazard = torch.log(centre.hazard).unsqueeze(-1)
    column, total_ = sizes.unsqueeze(-1).unsqueeze(-3), total.unsqueeze(-1)
    for _ in range(_END_STEPS):
        rung = rung_by(theta, centre.time.unsqueeze(-1) + away)
        tilt = level - (pull * rung.log_odds).sum(-1)
        shifted = rung.log_odds + tilt.unsqueeze(-1)
        p, q = torch.sigmoid(shifted), torch.sigmoid(-shifted)
        varying = p * q
        sums = torch.stack([p, q, varying, rung.rates * q], -2) @ column
        mean, left, variance, hazard = sums.squeeze(-1).unbind(-1)
        short = total_ - mean
        move = _tilt_step(mean, left, variance, total_)
        bound = log_change(rung, shifted, sizes, total, tilt) - 0.5 * short * move
        fall = (log_hazard - torch.log(hazard) - bound).clamp(min=1e-3)
        tilt = tilt + move
        slope = (torch.expm1(tilt) * hazard + 1).abs()
        gap = torch.log(fall / _FALL)
        factor = torch.exp((-gap * fall / (slope * away.abs())).clamp(-0.7, 0.7))
        near = (gap.abs() < _END_NEAR) & (short.square() < variance)
        away = away * factor
        pull = sizes.unsqueeze(-2) * varying / variance.unsqueeze(-1)
        level = tilt + (pull * rung.log_odds).sum(-1)
        if bool(near.all()):
            return away, pull, level
    return None


def _quick_tilt(log_odds: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor) -> Tensor | None:
    """Tilts (..., U) by Newton's method from a guess; ``None`` if the guess is not near enough."""
    total, column = total.unsqueeze(-1), sizes.unsqueeze(-1).unsqueeze(-3)
    for _ in range(_TILT_STEPS):
        shifted = log_odds + tilt.unsqueeze(-1)
        p, q = torch.sigmoid(shifted), torch.sigmoid(-shifted)
        sums = torch.stack([p, q, p * q], -2) @ column
        mean, left, variance = sums.squeeze(-1).unbind(-1)
        step = _tilt_step(mean, left, variance, total)
        if bool(((step.abs() < 1) & (step.square() * variance < _TILT_NEAR**2)).all()):
            return tilt
        tilt = tilt + step
    return None


def _tilt_step(mean: Tensor, left: Tensor, variance: Tensor, total: Tensor) -> Tensor:
    """Newton's step to the total, from the mean number of elements that have rung and are left."""
    # The log-odds of the mean are linear in the tilt if all groups are alike.
    gap = torch.log((total * left) / (mean * (mean + left - total)))
    return (gap / (variance / mean + variance / left)).clamp(-_FARTHEST, _FARTHEST)


def _safe_tilt(log_odds: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
    sizes, total = sizes.unsqueeze(-2).expand(log_odds.shape), total.unsqueeze(-1)
    total = total.expand(log_odds.shape[:-1])
    tilt = find_tilt(make_urn(log_odds, sizes, total))
    return refine_tilt(log_odds, sizes, total, tilt)


def _log_guess(theta: Tensor, sizes: Tensor, total: Tensor, times: Tensor) -> Tensor:
    """About the log-density of the log-time of ring n + 1, (..., U)."""
    rung = rung_by(theta, times)
    tilt = _safe_tilt(rung.log_odds, sizes, total)
    shifted = rung.log_odds + tilt.unsqueeze(-1)
    left = torch.sigmoid(-shifted)
    table = torch.stack([left * torch.sigmoid(shifted), rung.rates * left], -2)
    variance, hazard = (table @ sizes.unsqueeze(-1).unsqueeze(-3)).squeeze(-1).unbind(-1)
    # The saddlepoint approximation of Pr[S = n], which is also right where S is almost certain.
    log_mass = log_change(rung, shifted, sizes, total, tilt)
    return log_mass - 0.5 * torch.log1p((2 * math.pi) * variance) + torch.log(hazard)


def _bracket(theta: Tensor, sizes: Tensor, total: Tensor) -> tuple[Tensor, ...]:
    """Log-times below and above the centre, and the elements that are wanted, and all; (...)."""
    everything = sizes.sum(-1)
    wanted = torch.minimum(total + 0.5, everything - 0.5)
    low = torch.log(wanted) - torch.log((sizes * torch.exp(theta)).sum(-1))
    lightest = theta.masked_fill(sizes <= 0, torch.inf).amin(-1)
    high = torch.log(-torch.log1p(-wanted / everything)) - lightest
    # Equal weights make the upper one exact, up to rounding.
    return low - _SLACK, high + _SLACK, wanted, everything


def _centre(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
    """log u at which n + 1/2 elements are expected to have rung, (...)."""
    low, high, wanted, _ = _bracket(theta, sizes, total)
    for _ in range(_CENTRE_STEPS):
        middle = 0.5 * (low + high)
        log_y = theta + middle.unsqueeze(-1)
        rung = (sizes * -torch.expm1(-torch.exp(log_y))).sum(-1)
        low = torch.where(rung < wanted, middle, low)
        high = torch.where(rung < wanted, high, middle)
    return 0.5 * (low + high)
