# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The probability of one count of many groups: nodes of time, and the integral."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from .clocks import TimeNodes
from .one_count import Counts, log_density, slope_at
from .snapshots import rule_around

# Golden section of a bracket whose length is in the hundreds.
_PEAK_STEPS, _GOLDEN = 40, 0.6180339887498949
# Entries of the largest table: counts, groups, times, and nodes of a sum.
_CELLS, _NODES, _TIMES = 1_000_000, 21, 128
# Steps for a peak, and for an end of the rule of equal steps. Most counts need fewer.
_SLOPE_STEPS, _END_STEPS = 14, 9
# The rule of equal steps ends where the density has fallen to exp(-_FALL) of its peak.
_FALL, _ENOUGH, _TOO_MUCH = 36.0, 33.0, 48.0
# The step: in standard deviations, and the longest.
_STEP, _LONGEST_STEP, _MOST_NODES = 0.5, 0.14, 200
# Half of the nodes must give the same integral. The error of all nodes is below its square.
_HALF = 1e-6
# The peak is found to the square root of this many standard deviations.
_NEAR = 0.02
# The largest contrast of log-weights for the rule of equal steps.
_WIDEST = 5.0


def log_prob_of_counts(counts: Counts) -> Tensor:
    """The log-probabilities of counts (..., K), by the rule that suits all.

    Nothing depends on data, so it serves on all devices, and in traces.
    """
    with torch.no_grad():
        nodes = _place(counts.detached())
    nodes = nodes.detached()  # a trace forgets `no_grad`
    times = nodes.peak.unsqueeze(-1) + nodes.offset
    return torch.logsumexp(log_density(counts, times) + nodes.log_length, -1)


def log_prob_of_list(counts: Counts) -> Tensor:
    """The same for a list of counts (P,) on the CPU, with as few nodes as each count needs."""
    cells = _CELLS // (_NODES * counts.theta.shape[-1])  # of counts and times
    with torch.no_grad():
        # With sharper weights, the density may have two peaks with a deep valley between them.
        mild = _contrast(counts) <= _WIDEST
        start = torch.zeros_like(counts.k)
        length, nodes = start.clone(), torch.full_like(start, torch.inf)
        for index in mild.nonzero().squeeze(-1).split(max(1, cells // 4)):
            rule = _even_rule(counts.take(index).detached())
            start[index], length[index], nodes[index] = rule
    easy = (nodes <= _MOST_NODES).nonzero().squeeze(-1)
    order = easy[nodes[easy].argsort()]
    result, hard = torch.zeros_like(start), [(nodes > _MOST_NODES).nonzero().squeeze(-1)]
    begin = 0
    while begin < len(order):
        most = int(nodes[order[begin]]) + 8
        index = order[begin : begin + max(1, cells // most)]
        index = index[nodes[index] <= most]
        begin += len(index)
        # An odd number: the nodes of half of the rule have the same ends.
        most += 1 - most % 2
        found, exact = _even_integral(counts.take(index), start[index], length[index], most)
        result = result.index_copy(0, index, found)
        hard.append(index[~exact])
    rest = torch.cat(hard)
    for index in rest.split(max(1, cells // _TIMES)) if rest.numel() else ():
        result = result.index_copy(0, index, log_prob_of_counts(counts.take(index)))
    return result


def _even_integral(
    counts: Counts, start: Tensor, length: Tensor, nodes: int
) -> tuple[Tensor, Tensor]:
    """The logarithm of the integral by equal steps, and whether it is exact to rounding."""
    part = torch.linspace(0, 1, nodes, dtype=start.dtype)
    values = log_density(counts, start.unsqueeze(-1) + length.unsqueeze(-1) * part)
    log_step = torch.log(length / (nodes - 1))
    result, known = torch.logsumexp(values, -1) + log_step, values.detach()
    half = torch.logsumexp(known[:, ::2], -1) + log_step + math.log(2)
    ends = known[:, [0, -1]].amax(-1) < known.amax(-1) - _ENOUGH + 3
    return result, ends & ((result.detach() - half).abs() < _HALF)


def _even_rule(counts: Counts) -> tuple[Tensor, Tensor, Tensor]:
    """The first node, the length of the rule, and how many nodes it needs, each (P,)."""
    low, high = _bracket(counts)
    v = 0.5 * (low + high)
    last_v, last_gap = torch.full_like(v, torch.nan), torch.full_like(v, torch.nan)
    for _ in range(_SLOPE_STEPS):
        at = slope_at(counts, v.unsqueeze(-1))
        top, late, rate, bend = (x.squeeze(-1) for x in at)
        gap = torch.log(late) - torch.log1p(rate)
        scale = 1 + bend / (1 + rate)
        # The composition of the draw changes with the time, so the slope of the gap is less.
        secant = (gap - last_gap) / (v - last_v)
        scale = torch.where(secant > 0.01 * scale, secant, scale)
        # The distance to the peak is gap / scale; a standard deviation is 1 / sqrt(scale late).
        found = gap.square() * late < _NEAR * scale
        if found.all():
            break
        low, high = torch.where(gap <= 0, v, low), torch.where(gap >= 0, v, high)
        last_v, last_gap = v, gap
        newton = v - gap / scale
        inside = (newton > low) & (newton < high)
        v = torch.where(found, v, torch.where(inside, newton, 0.5 * (low + high)))
    reach = _reach(counts, v, top, torch.rsqrt(late + bend))
    step = (reach.amin(-1) * (_STEP / math.sqrt(2 * _FALL))).clamp(max=_LONGEST_STEP)
    length = reach.sum(-1)
    nodes = (length / step).ceil() + 1
    return v - reach[:, 0], length, torch.where(found & nodes.isfinite(), nodes, torch.inf)


def _contrast(counts: Counts) -> Tensor:
    """The log of the largest weight over the smallest one."""
    present, own = counts.sizes > 0, counts.size > 0
    high = counts.theta.masked_fill(~present, -torch.inf).amax(-1)
    low = counts.theta.masked_fill(~present, torch.inf).amin(-1)
    high = torch.where(own, torch.maximum(high, counts.log_weight), high)
    return high - torch.where(own, torch.minimum(low, counts.log_weight), low)


def _reach(counts: Counts, v: Tensor, top: Tensor, width: Tensor) -> Tensor:
    """How far the rule reaches to the left and to the right, (P, 2); NaN if that was not found."""
    sign = torch.tensor([-1.0, 1.0], dtype=v.dtype)
    z = torch.log(math.sqrt(2 * _FALL) * width).unsqueeze(-1).expand(-1, 2).clamp(max=3.6)
    low, high = torch.full_like(z, -40.0), torch.full_like(z, 4.0)
    last_z, last_gap = torch.full_like(z, torch.nan), torch.full_like(z, torch.nan)
    for _ in range(_END_STEPS):
        values = log_density(counts, v.unsqueeze(-1) + sign * torch.exp(z))
        fall = (top.unsqueeze(-1) - values).clamp(min=1e-30)
        found = (fall > _ENOUGH) & (fall < _TOO_MUCH)
        if found.all():
            break
        gap = torch.log(fall) - math.log(_FALL)
        low, high = torch.where(gap <= 0, z, low), torch.where(gap >= 0, z, high)
        power = (gap - last_gap) / (z - last_z)
        power = torch.where((power > 0.2) & power.isfinite(), power, 2.0)
        last_z, last_gap = z, gap
        secant = z - gap / power
        inside = (secant > low) & (secant < high)
        z = torch.where(found, z, torch.where(inside, secant, 0.5 * (low + high)))
    return torch.where(found, torch.exp(z), torch.nan)


def _bracket(counts: Counts) -> tuple[Tensor, Tensor]:
    """Log-times before and after the peak of each count."""
    # The elements left weigh at most as much as all, and at least as much as one lightest element.
    present = counts.sizes > 0
    heavy = torch.logsumexp(
        torch.where(present, counts.theta + torch.log(counts.sizes), -torch.inf), -1
    )
    heavy = torch.logaddexp(heavy, counts.log_weight + torch.log(counts.size))
    light = counts.theta.masked_fill(~present, torch.inf).amin(-1)
    light = torch.where(counts.size > 0, torch.minimum(light, counts.log_weight), light)
    return -heavy, torch.log1p(counts.rest + counts.k) - light


def _place(counts: Counts) -> TimeNodes:
    """The nodes of the integral over log u for each count."""
    return rule_around(_summit(counts), partial(log_density, counts))


def _summit(counts: Counts) -> Tensor:
    """The log-time of the peak, (..., K), by golden section."""
    low, high = _bracket(counts)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    for _ in range(_PEAK_STEPS):
        values = log_density(counts, torch.stack([left, right], -1))
        rising = values[..., 0] < values[..., 1]
        low, high = torch.where(rising, left, low), torch.where(rising, high, right)
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    return 0.5 * (low + high)
