# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The tilt: the shift of all log-weights that brings the mean of the sum to the total."""

from __future__ import annotations

import torch
from torch import Tensor

from ..tracing import may_branch
from ..urn import Urn


def find_tilt(urn: Urn) -> Tensor:
    """A tilt near the saddle point, shape (...), without a gradient: no result depends on it.

    We solve for a mean sum of n - 1/2, not n. If the sum has a large variance, this makes no
    difference. If the sum is almost certain, it avoids cancellation in the means of the groups
    that are hardly drawn.
    """
    theta, total = urn.log_weights.detach(), urn.total
    below = total - (0.5 * total).clamp(max=0.5)
    tilt = mild_tilt(theta, urn.sizes, below) if may_branch(total) else None
    return solve_tilt(theta, urn.sizes, below) if tilt is None else tilt


# Measured on 2 * 10^6 random urns: 2 to 1000 groups, log-weights to +-1000, sizes to 10^8, totals
# inside groups and at their borders. After 6 steps, |mean - n| is below a tenth of the standard
# deviation in all of them.
NEWTON_STEPS = 6
# On the same urns, 2 steps from the tilt for n - 1/2 are enough. The only exceptions are plateaus
# that are hundreds wide in the tilt. There both sides underflow, and all covariances are 0.
REFINING_STEPS = 3
# Where Python may look, the steps end once |mean - n| is so many standard deviations.
_CLOSE = 1e-7
# Weights are mild if so many steps from a simple guess are enough.
_MILD_STEPS = 4


def mild_tilt(log_weights: Tensor, sizes: Tensor, total: Tensor) -> Tensor | None:
    """A tilt to a tenth of a standard deviation, or None if weights are too far apart for it.

    The equation is f(s) = logit(M(s) / N) = logit(n / N), with the mean M of the sum and N
    elements. Equal weights make f linear, and the guess exact. Mean and variance are shares of N.
    """
    # For all weights, |f''| <= 2 f', and f' <= 1. So f' grows at most by e^(2 |ds|). If a step h of
    # Newton's method is at most 0.1, there is a solution near, and the error after it is below
    # 1.8 h^2. It must be a tenth of a standard deviation: h^4 V < 0.003.
    everything = sizes.sum(-1)
    shares = sizes / everything.unsqueeze(-1)
    target = torch.logit(total / everything)
    tilt = target - (shares * log_weights).sum(-1)
    for step in range(_MILD_STEPS):
        p = torch.sigmoid(log_weights + tilt.unsqueeze(-1))
        drawn = shares * p
        mean = drawn.sum(-1)
        variance = mean - (drawn * p).sum(-1)
        away = (target - torch.logit(mean)) * (mean - mean * mean) / variance
        tilt = tilt + away
        if step == 0:
            continue  # hardly ever the last: looking would cost more
        error = ((everything * variance + 30) * away.square().square_()).amax().item()
        if error < 0.003:
            return tilt
        if not error < 1e4:
            return None
    return None


def solve_tilt(log_weights: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
    """The tilt s, shape (...), at which independent Bin(m_i, sigmoid(theta_i + s)) have mean sum n.

    The arguments are fields of an :class:`Urn`, or as harmless as these. The log-partition
    function does not depend on the tilt. So an error of a tenth of a standard deviation costs no
    accuracy, and no gradient is needed. Cost: O(G log G).
    """
    log_odds = torch.log(total) - torch.log(sizes.sum(-1) - total)
    absent = sizes <= 0
    lower = log_odds - log_weights.masked_fill(absent, -torch.inf).amax(-1)
    upper = log_odds - log_weights.masked_fill(absent, torch.inf).amin(-1)
    tilt = _first_guess(log_weights, sizes, total)
    for _ in range(NEWTON_STEPS):
        step, arrived = _newton_step(log_weights, sizes, total, tilt)
        if arrived:
            return tilt
        tilt = torch.minimum(torch.maximum(tilt - step, lower), upper)
    return tilt


def refine_tilt(log_weights: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor) -> Tensor:
    """The tilt from a start whose mean sum is within one element of the total; it needs no sort."""
    for _ in range(REFINING_STEPS):
        step, arrived = _newton_step(log_weights, sizes, total, tilt)
        if arrived:
            return tilt
        tilt = tilt - step
    return tilt


def _newton_step(
    log_weights: Tensor, sizes: Tensor, total: Tensor, tilt: Tensor
) -> tuple[Tensor, bool]:
    """The step to subtract from the tilt, shape (...), and whether no entry needs it."""
    # A group with odds above 1 counts the elements that it leaves. The others count the elements
    # that they give. So nothing cancels. The logarithms of both sides are close to linear in the
    # tilt, even if the weights are so different that the mean has plateaus.
    u = log_weights + tilt.unsqueeze(-1)
    rare = torch.sigmoid(-u.abs())
    amount = sizes * rare
    spread = amount - amount * rare
    above = (u > 0).to(u.dtype)
    amount_above, spread_above = amount * above, spread * above
    left, left_slope = amount_above.sum(-1), spread_above.sum(-1)
    given, given_slope = (amount - amount_above).sum(-1), (spread - spread_above).sum(-1)
    surplus = (sizes * above).sum(-1) - total
    plus = given + surplus.clamp(min=0)
    minus = left - surplus.clamp(max=0)
    if may_branch(tilt):
        near = _CLOSE**2 * (given_slope + left_slope)
        if ((plus - minus).square() <= near).all():
            return tilt, True
    step = torch.log(plus / minus) / (given_slope / plus + left_slope / minus)
    # Both sides underflow only on a plateau that is hundreds wide. There every tilt is exact.
    return torch.nan_to_num(step, nan=0.0), False


def _first_guess(log_weights: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
    """A first guess of the tilt, shape (...), from the group in which the draw ends."""
    # The draw fills the groups from the heaviest to the lightest, and ends in one group. The tilt
    # follows from the number of elements that it takes there, and from what leaks over the border
    # to the nearer neighbour. The leak is linearised on both sides of the border: hence the asinh.
    order = log_weights.masked_fill(sizes <= 0, -torch.inf).argsort(-1, descending=True)
    theta, size = log_weights.gather(-1, order), sizes.gather(-1, order)
    filled, last = size.cumsum(-1), size.shape[-1] - 1
    here = (filled < total.unsqueeze(-1)).sum(-1, keepdim=True).clamp(max=last)
    size_here, theta_here = size.gather(-1, here), theta.gather(-1, here)
    room = filled.gather(-1, here) - total.unsqueeze(-1)
    taken = size_here - room
    at_top = ((2 * taken <= size_here) & (here > 0)) | (here == last)
    heavy = torch.where(at_top, here - 1, here).clamp(min=0)
    light = (heavy + 1).clamp(max=last)
    log_heavy = torch.log(size.gather(-1, heavy))
    log_light = torch.log(size.gather(-1, light))
    theta_heavy, theta_light = theta.gather(-1, heavy), theta.gather(-1, light)
    middle = 0.5 * (log_heavy - theta_heavy - log_light - theta_light)
    distance = torch.where(at_top, taken, room)
    log_ratio = torch.log(distance) - 0.5 * (log_heavy + log_light + theta_light - theta_heavy)
    away = torch.asinh(0.5 * torch.exp(log_ratio.clamp(max=30))) + (log_ratio - 30).clamp(min=0)
    away = away - torch.log1p(-torch.minimum(distance, size_here - 0.5) / size_here)
    border = middle + torch.where(at_top, away, -away)
    taken = torch.minimum(taken.clamp(min=0.5), size_here - 0.5)
    inside = torch.log(taken) - torch.log(size_here - taken) - theta_here
    has_neighbour = (light > heavy) & torch.isfinite(log_light)
    return torch.where(has_neighbour, border, inside).squeeze(-1)
