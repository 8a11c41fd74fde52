# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The race of exponential clocks: the integrand of Wallenius' law, and nodes to integrate it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..tracing import may_branch

# Bisections and Newton steps in turn. On 3000 random races (weights over 45 decades, up to 10^6
# elements), the peak is found to rounding in all of them.
_PEAK_STEPS = 20
# On the CPU the search stops when the next step is shorter than this, in widths of the peak. Before
# this number of steps, it bisects only where Newton's step leaves the bracket.
_PEAK_NEAR, _PEAK_TRIES = 0.3, 6
# On the same races, each end is found to within a tenth of the fall. The rule needs no more.
_END_STEPS = 8
# On the CPU this search stops if the fall was within this factor (a logarithm) of the wanted one
# before the last step. The first is for equal steps, which are checked. It is not enough for Gauss'
# rules: behind a gentle slope, the last step may go over the edge of a wall.
_END_NEAR_EVEN, _END_NEAR = 0.3, 0.05
# The ends are where the integrand has fallen to exp(-_FALL) of its peak. About this share of the
# integral is left out.
_FALL = 32.5
#: The nodes of Gauss' rules on both sides of a peak.
GAUSS = 128
_GAUSS_RULE = np.polynomial.legendre.leggauss(GAUSS // 2)
# Equal steps are at most this long, in units of the width of the peak s, divided by 1 + s. If more
# than so many were needed, Gauss' rule is better.
_STEP, _MOST_STEPS = 0.58, 96
# Equal steps are trusted if half as many would leave a relative error below _HALF, and if every
# piece of the integrand is smooth enough for the steps: its share of the error is below
# exp(-_SMOOTH), by the curvature at its nodes.
_HALF, _SMOOTH = 1e-6, 28.0
#: The logarithm of rate times time is cut here. Values outside make no difference.
LOWEST, HIGHEST = -640.0, 100.0
# At e^34 times smaller times, the integrand has fallen below exp(-34) anyway.
_HIGHEST_AT_PEAK = 34.0
# 1 - e^-y is 1 to rounding here, and e^y is far from an overflow.
_CERTAIN = 600.0
_SLACK = 1e-10


def _bell_rule(count: int) -> tuple[Any, Any]:
    z, weight = np.polynomial.hermite_e.hermegauss(count)
    return z, np.log(weight) + 0.5 * z * z


class Race(NamedTuple):
    """Counts x as the result of a race: an element of weight w rings at a time Exp(w).

    The counts are drawn if all their elements ring before all other elements. The others have the
    total weight D; let the first of them ring at u. Given u, the counts are drawn with probability
    prod_i (1 - e^(-w_i u))^x_i.
    """

    x: Tensor  # (..., G), real, 0 < x.sum()
    log_weights: Tensor  # (..., G)
    log_rest: Tensor  # (...): log D, with D the total weight of the elements not drawn


class TimeNodes(NamedTuple):
    """J nodes of the integral over v = log u, and the logarithms of their weights."""

    peak: Tensor  # (...): log u near the maximum of the integrand
    offset: Tensor  # (..., J): v - peak
    log_length: Tensor  # (..., J): the logarithm of the node's weight in the rule

    def detached(self) -> TimeNodes:
        """The same nodes without a gradient."""
        return TimeNodes(*(x.detach() for x in self))


def race_nodes(race: Race, *, even: bool = False) -> TimeNodes:
    """Nodes on both sides of the peak, as far as the integrand has not vanished.

    The integrand over v = log u is log-concave. D u exp(-D u) rises as e^v and falls as exp(-e^v).
    Each factor (1 - exp(-w_i u))^x_i rises to 1. If the weights differ by many orders of magnitude,
    the integrand may have a long gentle slope that ends in a steep wall. A rule of equal steps then
    misses the wall or the slope, however small the width of the peak is. Gauss' rules with 64 nodes
    on each side resolve both, with an error of 3e-12.

    Most integrands are closer to a bell. For these, about 30 equal steps have no error but
    rounding. So with ``even``, the steps are equal if not too many are needed. Then
    :func:`rule_fails` must be asked.

    :param bool even: try equal steps; only where :func:`~pyro_hypergeo.ops.tracing.may_branch` is
        true.
    """
    peak, curvature = find_peak(race)
    if even:
        lengths, steps = even_ends(race, peak, curvature)
        most = steps.amax().item()
        if most <= _MOST_STEPS:  # not so for NaN
            return even_nodes(peak, lengths, int(most))
    return gauss_nodes(peak, _find_ends(race, peak, curvature, _END_NEAR))


def even_ends(race: Race, peak: Tensor, curvature: Tensor) -> tuple[Tensor, Tensor]:
    """Both lengths for :func:`even_nodes`, and the steps needed."""
    lengths = _find_ends(race, peak, curvature, _END_NEAR_EVEN)
    width = curvature.rsqrt()
    return lengths, torch.ceil(lengths.sum(-1) * (1 + width) / (_STEP * width))


def _find_ends(race: Race, peak: Tensor, curvature: Tensor, near_enough: float) -> Tensor:
    """The distances from the peak to the left end and to the right end, (..., 2)."""
    log_y = race.log_weights + peak.unsqueeze(-1)
    log_scale = race.log_rest + peak  # D u at the peak, between 1 and 1 + x.sum()
    near = _FALL * torch.exp(-log_scale)
    reach = near + torch.sqrt(2 * near)
    right = torch.minimum(torch.sqrt(2 * near), torch.log1p(reach))
    shortest = _FALL / (1 + race.x.sum(-1))
    low = torch.log(torch.stack([shortest, torch.log1p(near)], -1))
    high = torch.log(torch.stack([reach, right], -1))
    # The ends of a gamma density of this curvature, to second order.
    start = torch.sqrt((2 * _FALL) / curvature)
    bent = 1 + start / 6
    z = torch.log(torch.stack([start * bent, start / bent], -1))
    sign = torch.tensor([-1.0, 1.0], dtype=peak.dtype, device=peak.device)
    eager = may_branch(peak)

    z = torch.minimum(torch.maximum(z, low), high)
    last = torch.full_like(z, torch.inf)
    for _ in range(_END_STEPS):
        # On a slope, the log of the fall is close to linear in the log of the distance. On a wall,
        # it is close to linear in the distance.
        offset = sign * torch.exp(z)
        fallen = race_fall(race, peak, offset).clamp(min=1e-30)
        gap = torch.log(fallen / _FALL)
        low, high = torch.where(gap <= 0, z, low), torch.where(gap >= 0, z, high)
        newton = z + gap * fallen / (_slope(race, log_y, log_scale, offset) * offset)
        size = gap.abs()
        fine = (newton >= low) & (newton <= high) & ((size < 0.5 * last) | (size < 0.2))
        z, last = torch.where(fine, newton, 0.5 * (low + high)), size
        if eager and bool((fine & (size < near_enough)).all()):
            break
    return torch.exp(z)


def even_nodes(peak: Tensor, lengths: Tensor, steps: int) -> TimeNodes:
    """Equal steps from peak - lengths[..., 0] to peak + lengths[..., 1]; J = steps + 1."""
    left, right = lengths.unbind(-1)
    place = torch.arange(steps + 1, dtype=peak.dtype, device=peak.device)
    length = ((left + right) / steps).unsqueeze(-1)
    offset = torch.addcmul(-left.unsqueeze(-1), length, place)
    return TimeNodes(peak, offset, torch.log(length).expand(offset.shape))


#: Gauss-Hermite nodes z for functions like exp(-z^2 / 2), and the logarithms of their weights.
BELL_RULE = _bell_rule(16)


def bell_nodes(centre: Tensor, lengths: Tensor, far: float) -> TimeNodes:
    """Gauss-Hermite nodes for a density near to a normal one; J = 16.

    :param float far: the normal density is followed up to so many standard deviations at the ends
        centre - lengths[..., 0] and centre + lengths[..., 1].
    """
    # The times are a parabola of z through the centre and both ends. This takes skewness away.
    z, log_weight = (torch.as_tensor(a).to(centre) for a in BELL_RULE)
    left, right = lengths.unsqueeze(-1).unbind(-2)
    slope, bent = (right + left) / (2 * far), (right - left) / (2 * far * far)
    offset = z * torch.addcmul(slope, bent, z)
    return TimeNodes(centre, offset, log_weight + torch.log(torch.addcmul(slope, 2 * bent, z)))


def rule_fails(fall: Tensor, weight: Tensor) -> bool:
    """Whether a rule of equal steps may be wrong for some integrand: see :func:`rule_holds`."""
    return not bool(rule_holds(fall, weight).all())


def rule_holds(fall: Tensor, weight: Tensor) -> Tensor:
    """Whether a rule of equal steps is right, for each integrand, (...).

    :param Tensor fall: how far the log of the integrand is below its peak at the nodes, (..., J).
    :param Tensor weight: shares of the nodes in the integral, (..., J).
    """
    # The error of step h is about the square of that of step 2 h, for one smooth piece. But a steep
    # wall far below the peak adds an error that does not decay so fast. A piece that is bent like a
    # normal density of variance 1 / c, at a fall f, adds about exp(-f - 2 pi^2 / (c h^2)).
    signs = torch.ones_like(weight[..., :1]).expand(weight.shape).clone()
    signs[..., 1::2] = -1
    half = (weight * signs).sum(-1).abs()
    bend = (fall[..., 2:] - fall[..., 1:-1]) - (fall[..., 1:-1] - fall[..., :-2])
    level = torch.minimum(torch.minimum(fall[..., 2:], fall[..., :-2]), fall[..., 1:-1])
    smooth = level + (2 * math.pi**2) / bend.clamp(min=1e-3)
    return (half < _HALF) & (smooth.amin(-1) > _SMOOTH)


def gauss_nodes(peak: Tensor, lengths: Tensor) -> TimeNodes:
    """The rule for integrals from peak - lengths[..., 0] to peak + lengths[..., 1]; J = 128."""
    length = lengths.unsqueeze(-1)
    position, weight = (torch.as_tensor(a).to(peak) for a in _GAUSS_RULE)
    sign = torch.tensor([[-1.0], [1.0]], dtype=peak.dtype, device=peak.device)
    offset = sign * length * (0.5 + 0.5 * position)
    log_length = torch.log(length * (0.5 * weight))
    return TimeNodes(peak, offset.flatten(-2), log_length.flatten(-2))


def race_fall(race: Race, peak: Tensor, offset: Tensor) -> Tensor:
    """How far log(D u exp(-D u) prod_i (1 - exp(-w_i u))^x_i) is below its value at the peak.

    Shape (..., J). The differences do not cancel. Cost: O(G) for each node.
    """
    growth = torch.expm1(offset)
    rung = rung_change(race.log_weights + peak.unsqueeze(-1), growth)
    rung = (race.x.unsqueeze(-2) @ rung).squeeze(-2)
    return torch.exp(race.log_rest + peak).unsqueeze(-1) * growth - offset - rung


def rung_change(log_y: Tensor, growth: Tensor) -> Tensor:
    """log((1 - e^-z) / (1 - e^-y)) with z = y (1 + growth), (..., G, J), without cancellation.

    :param Tensor log_y: log y, (..., G).
    :param Tensor growth: z / y - 1, (..., J).
    """
    # The quotient is 1 - (e^(y - z) - 1) / (e^y - 1). Where y is large, this is 1 - e^-z.
    y = torch.exp(log_y.clamp(LOWEST, _HIGHEST_AT_PEAK))
    start = y.clamp(max=_CERTAIN)
    gone = torch.addcmul((start - y).unsqueeze(-1), y.unsqueeze(-1), growth.unsqueeze(-2), value=-1)
    change = torch.expm1(gone) * (-1 / torch.expm1(start)).unsqueeze(-1)
    return torch.log1p(change.clamp(min=-1 + 1e-16))


def scaled_hazard(log_y: Tensor) -> Tensor:
    """y / (e^y - 1) from log y: the slope of log(1 - e^-y) in log y."""
    y = torch.exp(log_y.clamp(LOWEST, HIGHEST))
    return y * torch.exp(-y) / -torch.expm1(-y)


def log_rung(log_y: Tensor) -> Tensor:
    """log(1 - e^-y) from log y."""
    y = torch.exp(log_y.clamp(LOWEST, HIGHEST))
    return torch.where(y < 1, log_y + torch.log(-torch.expm1(-y) / y), torch.log(-torch.expm1(-y)))


def log_rung_odds(log_y: Tensor) -> Tensor:
    """log(e^y - 1) from log y: the log-odds that a clock has rung."""
    return log_rung(log_y) + torch.exp(log_y.clamp(LOWEST, HIGHEST))


def find_peak(race: Race) -> tuple[Tensor, Tensor]:
    """log u at the peak of the integrand, and the curvature of its logarithm there; each (...)."""
    # There, D u = 1 + sum_i x_i y_i / (e^y_i - 1). We solve this equation in logarithms.
    # The peak may be an end of the bracket, to rounding. So both ends are a little farther out.
    low = torch.rsub(race.log_rest, -_SLACK)
    high = torch.add(low, torch.log1p(race.x.sum(-1)), alpha=1 + 10 * _SLACK)
    v = 0.5 * (low + high)
    eager = may_branch(v)
    for step in range(_PEAK_STEPS):
        rate, bend = _rates(race, v)
        scale = race.log_rest + v
        gap = scale - torch.log1p(rate)
        low, high = torch.where(gap <= 0, v, low), torch.where(gap >= 0, v, high)
        newton = v - gap / (1 + bend / (1 + rate))
        inside = (newton >= low) & (newton <= high)
        if eager:
            curvature = torch.exp(scale) + bend
            if bool((inside & ((newton - v).square() * curvature < _PEAK_NEAR**2)).all()):
                return newton, curvature
        if step % 2 or (eager and step < _PEAK_TRIES):
            v = torch.where(inside, newton, 0.5 * (low + high))
        else:
            v = 0.5 * (low + high)
    return v, torch.exp(race.log_rest + v) + _rates(race, v)[1]


def _rates(race: Race, v: Tensor) -> tuple[Tensor, Tensor]:
    """sum_i x_i b(y_i) with b(y) = y / (e^y - 1), and minus its derivative in log y."""
    y = torch.exp((race.log_weights + v.unsqueeze(-1)).clamp(LOWEST, HIGHEST))
    hazard = y / torch.expm1(y)
    rates = race.x * hazard
    # y + b - 1 cancels where y is small. Its value does not matter there.
    bends = rates * (y + hazard - 1).clamp(min=0)
    return rates.sum(-1), bends.sum(-1)


def _slope(race: Race, log_y: Tensor, log_scale: Tensor, offset: Tensor) -> Tensor:
    """The derivative of the log-integrand in v at the offsets from the peak, (..., J)."""
    rates = hazards(log_y, offset)
    rates = (race.x.unsqueeze(-2) @ rates).squeeze(-2)
    return 1 - torch.exp(log_scale.unsqueeze(-1) + offset) + rates


def hazards(log_y: Tensor, offset: Tensor) -> Tensor:
    """:func:`scaled_hazard` at log y + offset, (..., G, J), by fewer steps; it has no gradient."""
    y = torch.exp(log_y.clamp(LOWEST, HIGHEST)).unsqueeze(-1) * torch.exp(offset).unsqueeze(-2)
    return y / torch.expm1(y)
