# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Blocks of neighbouring counts of two groups, and nodes of time that suit a whole block."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .clocks import log_rung_odds
from .one_count import hazards

# Bisections and Newton steps for a peak; secant steps for an end.
_PEAK_STEPS, _END_STEPS = 9, 7
# The rule ends where the integrand has fallen to exp(-_FALL) of its peak.
_FALL, _ENOUGH = 36.0, 33.0
# The step, in standard deviations of the sharpest peak. The rule of equal steps then has an error
# below 1e-13. Curvature counts less where the integrand has fallen. On the right, it is at least
# _FALL; so no step is longer than 0.15.
_STEP = 0.6
_PROBES = 9
# Blocks that need more nodes, sharper weights, or larger terms that cancel go count by count.
_MOST_NODES, _WIDEST, _LARGEST_TERM = 1000, 30.0, 3000.0


class Blocks(NamedTuple):
    """Consecutive counts of the first of two groups: the counts first, ..., last of B urns."""

    theta: Tensor  # (B, 2); the larger one is 0
    sizes: Tensor  # (B, 2)
    total: Tensor  # (B,)
    first: Tensor  # (B,)
    last: Tensor  # (B,)

    def take(self, index: Tensor) -> Blocks:
        """Some of the blocks."""
        return Blocks(*(x[index] for x in self))


class BlockRule(NamedTuple):
    """Nodes of equal steps in v = log u for each block."""

    centre: Tensor  # (B,): the v at which binomial probabilities are taken
    start: Tensor  # (B,): the first node is at centre + start
    length: Tensor  # (B,): from the first node to the last
    nodes: Tensor  # (B,): how many nodes the block needs


def place_blocks(blocks: Blocks) -> tuple[BlockRule, Tensor]:
    """The nodes of each block, and whether the block may use them."""
    # The integrand of the next count, divided by that of this one, rises in u if the first group
    # is heavier, and falls if it is lighter. So the peak and both ends of the integrand move to
    # the same side with each count. The first and the last count decide the range.
    theta, sizes, total = blocks.theta, blocks.sizes, blocks.total
    swap = theta[:, 0] < theta[:, 1]
    early = torch.where(swap, blocks.last, blocks.first)
    k = torch.stack([early, blocks.first + blocks.last - early], -1)  # (B, 2)
    x = torch.stack([k, total.unsqueeze(-1) - k], -1)  # (B, 2, 2)
    theta = theta.unsqueeze(-2)
    rest = ((sizes.unsqueeze(-2) - x) * torch.exp(theta)).sum(-1)  # (B, 2)
    peak = _peaks(x, theta, rest)
    offset = _ends(x, theta, rest, peak)
    low, high = (peak + offset).unbind(-1)
    probe = torch.linspace(0, 1, _PROBES, dtype=low.dtype)
    v = low.unsqueeze(-1) + (high - low).unsqueeze(-1) * probe
    v = torch.cat([v, peak], -1).unsqueeze(-2)  # (B, 1, P)
    fall = _fall(x, theta, rest, peak, v - peak.unsqueeze(-1))
    curvature = _slopes(x, theta, rest, v)[1] / (1.2 + fall.clamp(min=0) / 50)
    step = _STEP * curvature.amax((-1, -2)).rsqrt()
    centre = peak.mean(-1)
    nodes = ((high - low) / step).ceil() + 1
    rule = BlockRule(centre, low - centre, high - low, nodes)
    ends = torch.stack([low, high], -1) - centre.unsqueeze(-1)
    terms, slope = block_terms(blocks, centre, ends)
    half = 0.5 * (blocks.last - blocks.first).unsqueeze(-1)
    limit = _LARGEST_TERM + 20 * total.sqrt()
    easy = (nodes <= _MOST_NODES) & (theta.amin((-1, -2)) > -_WIDEST)
    easy = easy & (terms.abs().sum(-2).amax(-1) <= limit)
    odds = log_rung_odds(blocks.theta + centre.unsqueeze(-1))
    slope = torch.cat([slope, (odds[:, :1] - odds[:, 1:])], -1)
    easy = easy & ((half * slope.abs()).amax(-1) <= _LARGEST_TERM)
    # An end that was not found is too near.
    easy = easy & (fall[:, 0, 0] > _ENOUGH) & (fall[:, 1, _PROBES - 1] > _ENOUGH)
    return rule, easy


def _slopes(x: Tensor, theta: Tensor, rest: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The slope of the log-integrand in v, plus D u; and minus its curvature; (B, 2, P)."""
    hazard, bend = hazards(theta.unsqueeze(-1) + v.unsqueeze(-2))  # (B, 2, 2, P)
    x, late = x.unsqueeze(-1), rest.unsqueeze(-1) * torch.exp(v)
    return 1 + (x * hazard).sum(-2), late + (x * bend).sum(-2)


def _peaks(x: Tensor, theta: Tensor, rest: Tensor) -> Tensor:
    """log u at the peaks of the integrand, (B, 2), to a fraction of their widths."""
    low = -torch.log(rest)
    high = low + torch.log1p(x.sum(-1)) + 1e-9
    log_rest, v = -low, 0.5 * (low + high)
    for _ in range(_PEAK_STEPS):
        rate, curvature = (part.squeeze(-1) for part in _slopes(x, theta, rest, v.unsqueeze(-1)))
        gap = log_rest + v - torch.log(rate)
        low, high = torch.where(gap <= 0, v, low), torch.where(gap >= 0, v, high)
        bend = curvature - torch.exp(log_rest + v)
        newton = v - gap / (1 + bend / rate)
        inside = (newton >= low) & (newton <= high)
        v = torch.where(inside, newton, 0.5 * (low + high))
    return v


def _fall(x: Tensor, theta: Tensor, rest: Tensor, peak: Tensor, offset: Tensor) -> Tensor:
    """How far the log-integrand is below its value at the peak, (B, 2, P)."""
    growth = torch.expm1(offset)
    y = torch.exp(theta + peak.unsqueeze(-1)).unsqueeze(-1)
    change = (x.unsqueeze(-1) * _log_change(y, growth.unsqueeze(-2))).sum(-2)
    return (rest * torch.exp(peak)).unsqueeze(-1) * growth - offset - change


def _log_change(y: Tensor, growth: Tensor) -> Tensor:
    """log((1 - e^-z) / (1 - e^-y)) with z = y (1 + growth)."""
    change = torch.expm1(-y * growth.abs()) / torch.expm1(-y)
    change = change * torch.exp(-y * (1 + growth.clamp(max=0))) * torch.sign(growth)
    return torch.log1p(change.clamp(min=-1 + 1e-16))


def _ends(x: Tensor, theta: Tensor, rest: Tensor, peak: Tensor) -> Tensor:
    """How far the early count's rule reaches to the left, and the late count's to the right."""
    sign = torch.tensor([-1.0, 1.0], dtype=peak.dtype)
    curvature = _slopes(x, theta, rest, peak.unsqueeze(-1))[1].squeeze(-1)
    z = 0.5 * torch.log(2 * _FALL / curvature)
    # On the left, the integrand falls at most as e^(n + 1)v; on the right, at least as e^(-D u).
    low, high = torch.full_like(z, -40.0), torch.full_like(z, 5.0)
    z = torch.minimum(z, high)
    for _ in range(_END_STEPS):
        offset = sign * torch.exp(z)
        fall = _fall(x, theta, rest, peak, offset.unsqueeze(-1)).squeeze(-1).clamp(min=1e-30)
        rate, _curvature = _slopes(x, theta, rest, (peak + offset).unsqueeze(-1))
        slope = rest * torch.exp(peak + offset) - rate.squeeze(-1)
        gap = torch.log(fall / _FALL)
        low, high = torch.where(gap <= 0, z, low), torch.where(gap >= 0, z, high)
        newton = z - gap * fall / (slope * offset)
        inside = (newton >= low) & (newton <= high)
        z = torch.where(inside, newton, 0.5 * (low + high))
    # The upper end of the bracket is outside of all that matters.
    return sign * torch.exp(torch.minimum(z + 0.05, high))


def block_terms(blocks: Blocks, centre: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Terms of the log-integrand at the middle count, relative to the centre, (B, 4, J); and its
    slope in the count, (B, J).
    """
    growth = torch.expm1(offset)
    weight = torch.exp(blocks.theta)
    y = torch.exp(blocks.theta + centre.unsqueeze(-1))
    change = _log_change(y.unsqueeze(-1), growth.unsqueeze(-2))  # (B, 2, J)
    k = middle_count(blocks)
    x = torch.stack([k, blocks.total - k], -1)
    late = ((blocks.sizes - x) * weight).sum(-1) * torch.exp(centre)
    terms = torch.cat(
        [
            x.unsqueeze(-1) * change,
            -late[:, None, None] * growth.unsqueeze(-2),
            offset.unsqueeze(-2),
        ],
        -2,
    )
    slope = change[:, 0] - change[:, 1] + (y[:, 0] - y[:, 1]).unsqueeze(-1) * growth
    return terms, slope


def middle_count(blocks: Blocks) -> Tensor:
    """The count in the middle of each block, (B,)."""
    return (0.5 * (blocks.first + blocks.last)).floor()
