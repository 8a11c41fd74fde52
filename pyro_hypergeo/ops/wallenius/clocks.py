# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The race of exponential clocks: the integrand of Wallenius' law, and nodes to integrate it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# Bisections and Newton steps in turn. On 3000 random races (weights over 45 decades, up to 10^6
# elements), the peak is found to rounding in all of them.
_PEAK_STEPS = 20
# On the same races, each end is found to within a tenth of the fall. The rule needs no more.
_END_STEPS = 8
# The ends are where the integrand has fallen to exp(-_FALL) of its peak. About this share of the
# integral is left out.
_FALL = 32.5
_GAUSS_64 = np.polynomial.legendre.leggauss(64)
# The logarithm of rate times time is cut here. Values outside make no difference.
_LOWEST, _HIGHEST = -640.0, 100.0
_SLACK = 1e-10


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


def race_nodes(race: Race) -> TimeNodes:
    """Gauss-Legendre nodes on both sides of the peak, as far as the integrand has not vanished.

    The integrand over v = log u is log-concave. D u exp(-D u) rises as e^v and falls as exp(-e^v).
    Each factor (1 - exp(-w_i u))^x_i rises to 1. If the weights differ by many orders of magnitude,
    the integrand may have a long gentle slope that ends in a steep wall. A rule of equal steps then
    misses the wall or the slope, however small the width of the peak is. Polynomials of this degree
    on each side resolve both, with an error of 3e-12.
    """
    peak = _find_peak(race)
    log_y = race.log_weights + peak.unsqueeze(-1)
    fall = torch.full_like(peak, _FALL)
    log_scale = race.log_rest + peak  # D u at the peak, between 1 and 1 + x.sum()
    near = fall * torch.exp(-log_scale)
    reach = near + torch.sqrt(2 * near)
    right = torch.minimum(torch.sqrt(2 * near), torch.log1p(reach))
    low = torch.log(torch.stack([fall / (1 + race.x.sum(-1)), torch.log1p(near)], -1))
    high = torch.log(torch.stack([reach, right], -1))
    start = 0.5 * torch.log(2 * fall / _curvature(race, peak)).unsqueeze(-1)
    sign = torch.tensor([-1.0, 1.0], dtype=peak.dtype, device=peak.device)

    z = torch.minimum(torch.maximum(start, low), high)
    last = torch.full_like(z, torch.inf)
    for _ in range(_END_STEPS):
        # On a slope, the log of the fall is close to linear in the log of the distance. On a wall,
        # it is close to linear in the distance.
        offset = sign * torch.exp(z)
        fallen = race_fall(race, peak, offset).clamp(min=1e-30)
        gap = torch.log(fallen) - torch.log(fall).unsqueeze(-1)
        low, high = torch.where(gap <= 0, z, low), torch.where(gap >= 0, z, high)
        newton = z + gap * fallen / (_slope(race, log_y, log_scale, offset) * offset)
        fine = (newton >= low) & (newton <= high) & ((gap.abs() < 0.5 * last) | (gap.abs() < 0.2))
        z, last = torch.where(fine, newton, 0.5 * (low + high)), gap.abs()

    return gauss_nodes(peak, torch.exp(z))


def gauss_nodes(peak: Tensor, lengths: Tensor) -> TimeNodes:
    """The rule for integrals from peak - lengths[..., 0] to peak + lengths[..., 1]; J = 128."""
    length = lengths.unsqueeze(-1)
    position, weight = (torch.as_tensor(a).to(peak) for a in _GAUSS_64)
    sign = torch.tensor([[-1.0], [1.0]], dtype=peak.dtype, device=peak.device)
    offset = sign * length * (0.5 + 0.5 * position)
    log_length = torch.log(length * (0.5 * weight))
    return TimeNodes(peak, offset.flatten(-2), log_length.flatten(-2))


def race_fall(race: Race, peak: Tensor, offset: Tensor) -> Tensor:
    """How far log(D u exp(-D u) prod_i (1 - exp(-w_i u))^x_i) is below its value at the peak.

    Shape (..., J). The differences do not cancel. Cost: O(G) for each node.
    """
    growth = torch.expm1(offset)
    y_peak = torch.exp((race.log_weights + peak.unsqueeze(-1)).clamp(_LOWEST, _HIGHEST))
    y_peak, grown = y_peak.unsqueeze(-1), growth.unsqueeze(-2)
    # log((1 - e^-y) / (1 - e^-y0)) = log1p((e^-y0 - e^-y) / (1 - e^-y0))
    change = -torch.expm1(-y_peak * grown.abs()) / -torch.expm1(-y_peak)
    change = change * torch.exp(-y_peak * (1 + grown.clamp(max=0))) * torch.sign(grown)
    rung = torch.log1p(change.clamp(min=-1 + 1e-16))
    rung = (race.x.unsqueeze(-2) @ rung).squeeze(-2)
    return torch.exp(race.log_rest + peak).unsqueeze(-1) * growth - offset - rung


def scaled_hazard(log_y: Tensor) -> Tensor:
    """y / (e^y - 1) from log y: the slope of log(1 - e^-y) in log y."""
    y = torch.exp(log_y.clamp(_LOWEST, _HIGHEST))
    return y * torch.exp(-y) / -torch.expm1(-y)


def log_rung(log_y: Tensor) -> Tensor:
    """log(1 - e^-y) from log y."""
    y = torch.exp(log_y.clamp(_LOWEST, _HIGHEST))
    return torch.where(y < 1, log_y + torch.log(-torch.expm1(-y) / y), torch.log(-torch.expm1(-y)))


def log_rung_odds(log_y: Tensor) -> Tensor:
    """log(e^y - 1) from log y: the log-odds that a clock has rung."""
    return log_rung(log_y) + torch.exp(log_y.clamp(_LOWEST, _HIGHEST))


def _find_peak(race: Race) -> Tensor:
    """log u at the peak of the integrand, (...)."""
    # There, D u = 1 + sum_i x_i y_i / (e^y_i - 1). We solve this equation in logarithms.
    # The peak may be an end of the bracket, to rounding. So both ends are a little farther out.
    low = torch.rsub(race.log_rest, -_SLACK)
    high = torch.add(low, torch.log1p(race.x.sum(-1)), alpha=1 + 10 * _SLACK)
    v = 0.5 * (low + high)
    for step in range(_PEAK_STEPS):
        rate, bend = _rates(race, v)
        gap = race.log_rest + v - torch.log1p(rate)
        low, high = torch.where(gap <= 0, v, low), torch.where(gap >= 0, v, high)
        newton = v - gap / (1 + bend / (1 + rate))
        middle = 0.5 * (low + high)
        inside = (newton >= low) & (newton <= high)
        v = torch.where(inside, newton, middle) if step % 2 else middle
    return v


def _curvature(race: Race, v: Tensor) -> Tensor:
    """Minus the second derivative of the log-integrand in v, (...)."""
    return torch.exp(race.log_rest + v) + _rates(race, v)[1]


def _rates(race: Race, v: Tensor) -> tuple[Tensor, Tensor]:
    """sum_i x_i b(y_i) with b(y) = y / (e^y - 1), and minus its derivative in log y."""
    log_y = race.log_weights + v.unsqueeze(-1)
    y = torch.exp(log_y.clamp(_LOWEST, _HIGHEST))
    rates = race.x * scaled_hazard(log_y)
    # 1 - y / (1 - e^-y) cancels where y is small. Its value does not matter there.
    bends = rates * (y / -torch.expm1(-y) - 1).clamp(min=0)
    return rates.sum(-1), bends.sum(-1)


def _slope(race: Race, log_y: Tensor, log_scale: Tensor, offset: Tensor) -> Tensor:
    """The derivative of the log-integrand in v at the offsets from the peak, (..., J)."""
    rates = scaled_hazard(log_y.unsqueeze(-1) + offset.unsqueeze(-2))
    rates = (race.x.unsqueeze(-2) @ rates).squeeze(-2)
    return 1 - torch.exp(log_scale.unsqueeze(-1) + offset) + rates
