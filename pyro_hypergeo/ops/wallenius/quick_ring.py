# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The rule for the time of ring n + 1 where Python may look at values: searches stop early."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .clocks import bell_nodes, even_nodes
from .rings import Around, RingNodes, around, bracket, log_change, rung_by, safe_tilt

# Newton's steps for the centre stop when the next one is shorter than _CENTRE_NEAR widths. After
# _CENTRE_TRIES steps, every second one bisects.
_CENTRE_STEPS, _CENTRE_NEAR, _CENTRE_TRIES = 50, 0.3, 8
# The ends of the rule are where the density has fallen to exp(-_FALL) of its value at the centre.
# The logarithm of the fall was within _END_NEAR of that before the last step.
_FALL, _END_STEPS, _END_NEAR = 33.0, 8, 0.2
_SHORTEST, _LEFT, _RIGHT = 1e-4, 40.0, 5.0
# With more steps, the general rule is better.
_MOST_STEPS = 400
# The lengths on both sides of a bell differ by at most this part of their sum. Its width in time is
# less than this part of the time in which its clocks change.
_SKEWED, _NARROW = 0.12, 0.15
# Newton's steps for the tilts. The mean is then within this part of a standard deviation.
_TILT_STEPS, _TILT_NEAR, _FARTHEST = 8, 0.12, 8.0


def quick_nodes(theta: Tensor, sizes: Tensor, total: Tensor, finer: int) -> RingNodes | None:
    """Equal steps, found by Newton's steps that stop early; ``None`` where they do not stop."""
    centre = _centre(theta, sizes, total)
    if centre is None:
        return None
    ends = _ends(theta, sizes, total, centre)
    if ends is None:
        return None
    away, pull, level = ends
    lengths = away.abs()
    bell = finer == 1 and _is_bell(centre.around, lengths)
    if bell:
        nodes = bell_nodes(centre.time, lengths, math.sqrt(2 * _FALL))
    else:
        steps = torch.ceil(finer * lengths.sum(-1) / centre.around.step).amax().item()
        if not steps <= _MOST_STEPS:  # so for NaN
            return None
        nodes = even_nodes(centre.time, lengths, int(steps))
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
    best = _tilt(log_odds, sizes, total, guess)
    if best is None:
        best = safe_tilt(log_odds, sizes, total)
    return RingNodes(times, nodes.log_length, best, quick=True, bell=bell)


def _is_bell(centre: Around, lengths: Tensor) -> bool:
    left, right = lengths.unbind(-1)
    even = (right - left).abs() < _SKEWED * (left + right)
    narrow = (1 + centre.late).square() < _NARROW**2 * centre.curvature
    return bool((even & narrow).all())


class _Centre(NamedTuple):
    time: Tensor  # (...): a log-time at which about n + 1/2 elements have rung
    around: Around  # at nearly this time
    pull: Tensor  # (..., G): the groups' shares in the variance of the number of rings
    level: Tensor  # (...): the log-odds of having rung, averaged by these shares


def _centre(theta: Tensor, sizes: Tensor, total: Tensor) -> _Centre | None:
    low, high, wanted, everything = bracket(theta, sizes, total)
    log_wanted = torch.log(wanted / (everything - wanted))
    middle = torch.log(-torch.log1p(-wanted / everything))
    v = middle - (sizes * theta).sum(-1) / everything
    v = torch.minimum(torch.maximum(v, low), high)
    for step in range(_CENTRE_STEPS):
        here = around(theta, sizes, v)
        gap = torch.log(here.given / here.left) - log_wanted
        low, high = torch.where(gap <= 0, v, low), torch.where(gap >= 0, v, high)
        newton = v - gap / (here.hazard / here.given + here.hazard / here.left)
        inside = (newton >= low) & (newton <= high)
        near = (newton - v).square() * here.curvature < _CENTRE_NEAR**2
        if bool((inside & near).all()):
            pull = sizes * here.varying / here.spread.unsqueeze(-1)
            return _Centre(newton, here, pull, (pull * here.rung.log_odds).sum(-1))
        if step < _CENTRE_TRIES or step % 2:
            v = torch.where(inside, newton, 0.5 * (low + high))
        else:
            v = 0.5 * (low + high)
    return None


def _ends(
    theta: Tensor, sizes: Tensor, total: Tensor, centre: _Centre
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Log-times of both ends minus the centre, (..., 2), and what gives the tilts there.

    The groups' shares in the variance, (..., 2, G), and the mean of the tilted log-odds, weighted
    by these, (..., 2).
    """
    # The density is at most the expected rate of rings times a bound of Pr[S = n], for every tilt.
    # With the right tilt, this is near. So each step moves the end and the tilt.
    start = torch.sqrt((2 * _FALL) / centre.around.curvature)
    bent, square = 1 + start / 6, 0.5 * start.square()
    left = (start * bent).clamp(_SHORTEST, _LEFT)
    right = torch.minimum(start / bent, torch.log1p(start + square)).clamp(_SHORTEST, _RIGHT)
    away = torch.stack([-left, right], -1)
    pull, level = centre.pull.unsqueeze(-2), centre.level.unsqueeze(-1)
    log_hazard = torch.log(centre.around.hazard).unsqueeze(-1)
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


def _tilt(log_odds: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor) -> Tensor | None:
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
