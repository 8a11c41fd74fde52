# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Exact draws from Wallenius' law, by a race of clocks or by cuts of the axis of time."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from ..tracing import in_table, inside_transform, may_branch
from ..urn import Bounds, Urn, make_urn
from .clocks import log_rung

# With at most this many elements in a group on average, it is faster to let every element ring.
_CLOCKS_A_GROUP = 16
# Clocks in memory at the same time.
_CHUNK = 4_000_000
# Steps that look for a good place to cut the interval. Any place would give exact draws.
_CUT_STEPS = 3
_LONGEST_STEP = 3.0
# Logarithms of rate times time, between which the place of a cut is sought.
_LOWEST, _HIGHEST = -640.0, 100.0
# A gap below about half a standard deviation of the number of rings.
_NEAR = 0.3


def wallenius_sample(
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    sample_shape: Size = Size(),  # noqa: B008
) -> Tensor:
    r"""Exact draws from Wallenius' law.

    Every element of weight :math:`w` rings at a random time :math:`\mathrm{Exp}(w)`. The first
    :math:`n` elements are drawn. In small urns, all elements ring. In large urns, we look for the
    time of ring :math:`n`. An interval of time is cut in two. The number of rings of a group in the
    first part is binomial. The part that holds ring :math:`n` is cut further.

    Cost: O(G log log N) binomials for each draw, with :math:`N` elements. Where PyTorch traces,
    compiles or vmaps, all elements ring: O(N log N) time and O(N) memory. Not differentiable.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :param torch.Size sample_shape: shape of the draws for each urn.
    :return: shape ``sample_shape + (..., G)``, in the dtype of the log-weights; NaN where a
        log-weight is NaN or the total is impossible.

    **References:**

    [1] Chesson, J. (1976) "A non-central multivariate hypergeometric distribution arising from
        biased sampling with application to selective predation", J. Applied Probability 13(4).

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_sample
    >>> wallenius_sample(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([6.0, 4.0]),
    ...     total_count=torch.tensor(3.0),
    ... ).sum()
    tensor(3.)
    """
    with torch.no_grad():
        urn = make_urn(log_weights, group_sizes, total_count)
        counts = wallenius_sample_given(urn, sample_shape, Bounds(group_sizes, total_count))
        return counts.to(log_weights.dtype)


def wallenius_sample_given(urn: Urn, sample_shape: Size, bounds: Bounds) -> Tensor:
    """Draws, ``sample_shape + (..., G)``, in float64."""
    undefined = urn.log_weights.isnan().any(-1, keepdim=True)
    theta = torch.where(undefined, 0.0, urn.log_weights)
    theta = theta - theta.masked_fill(urn.sizes <= 0, -torch.inf).amax(-1, keepdim=True)
    total = torch.floor(urn.total)
    shape = sample_shape + theta.shape
    max_elements = max(bounds.elements, shape[-1])  # a replaced urn has one element a group
    if inside_transform():
        counts = _by_clocks(theta, urn.sizes, total, sample_shape, max_elements)
    else:
        draws = max(sample_shape.numel(), 1)
        chunk = max(_CHUNK // max(theta[..., 0].numel() * max_elements, 1), 1)
        if max_elements <= _CLOCKS_A_GROUP * shape[-1] and (chunk > 1 or draws == 1):
            parts = [
                _by_clocks(theta, urn.sizes, total, Size([min(chunk, draws - done)]), max_elements)
                for done in range(0, draws, chunk)
            ]
            counts = torch.cat(parts)[: sample_shape.numel()].reshape(shape)
        else:
            counts = _by_cuts(theta.expand(shape), urn.sizes, total)
    counts = torch.where(urn.interior.unsqueeze(-1), counts, urn.edge)
    # Parameters that nobody has checked may allow no draw. They must not seem to give one.
    return bounds.guard(torch.where(undefined | ~urn.feasible.unsqueeze(-1), torch.nan, counts))


def _by_clocks(
    theta: Tensor, sizes: Tensor, total: Tensor, sample_shape: Size, max_elements: int
) -> Tensor:
    """Draws, ``sample_shape + (..., G)``: every element rings, and the first n are counted."""
    ends = sizes.cumsum(-1)
    element = torch.arange(max_elements, dtype=ends.dtype, device=ends.device)
    # We add zeros instead of expanding. So the tensor is contiguous under vmap too.
    element = element + torch.zeros_like(ends[..., :1])
    group = torch.searchsorted(ends.contiguous(), element, right=True)
    exists = group < ends.shape[-1]
    log_rate = torch.where(
        exists, theta.gather(-1, group.clamp(max=ends.shape[-1] - 1)), -torch.inf
    )
    clock = torch.empty_like(log_rate.expand(sample_shape + log_rate.shape)).exponential_()
    order = (torch.log(clock) - log_rate).argsort(-1)
    # We count by rank, not by time. So n are drawn, even if two times are equal to rounding.
    first = (element < total.unsqueeze(-1)).to(theta.dtype)
    drawn = torch.zeros_like(clock).scatter(-1, order, first.expand(order.shape)).cumsum(-1)
    drawn = torch.nn.functional.pad(drawn, (1, 0))
    last = in_table(ends.long(), max_elements)
    until = drawn.gather(-1, last.expand(sample_shape + ends.shape))
    return torch.diff(until, dim=-1, prepend=torch.zeros_like(until[..., :1]))


def _by_cuts(theta: Tensor, sizes: Tensor, total: Tensor) -> Tensor:
    """Draws for parameters of the shape of theta: the interval that holds ring n is cut in two."""
    # Exponential clocks have no memory. So for each interval we store only its log-width and the
    # number of rings of each group, not its start. This keeps full precision for very short
    # intervals.
    shape = theta.shape
    result = torch.zeros(shape, dtype=theta.dtype, device=theta.device).reshape(-1, shape[-1])
    theta, inside = (x.expand(shape).reshape(-1, shape[-1]) for x in (theta, sizes))
    wanted = total.expand(shape[:-1]).reshape(-1)
    log_width = torch.full_like(wanted, torch.inf)
    row = torch.arange(len(wanted), device=theta.device)
    while len(row):
        cut = _cut(theta, inside, wanted, log_width)
        log_y, log_end = theta + cut.unsqueeze(-1), theta + log_width.unsqueeze(-1)
        share = torch.exp(log_rung(log_y) - log_rung(log_end)).clamp(max=1)
        early = torch.binomial(inside, share)
        rung = early.sum(-1)
        before = (rung >= wanted).unsqueeze(-1)
        result[row] += torch.where(before, 0.0, early)
        inside = torch.where(before, early, inside - early)
        later = log_width + torch.log(-torch.expm1(cut - log_width))
        log_width = torch.where(before.squeeze(-1), cut, later)
        wanted = torch.where(before.squeeze(-1), wanted, wanted - rung)
        full = inside.sum(-1) == wanted
        result[row] += torch.where(full.unsqueeze(-1), inside, 0.0)
        left = ~full & (wanted > 0)
        row, theta, inside = row[left], theta[left], inside[left]
        wanted, log_width = wanted[left], log_width[left]
    return result.reshape(shape)


def _cut(theta: Tensor, inside: Tensor, wanted: Tensor, log_width: Tensor) -> Tensor:
    """Log-time in the interval, (...), by which about wanted - 1/2 elements have rung."""
    log_inside = torch.log(inside) - log_rung(theta + log_width.unsqueeze(-1))
    log_wanted = torch.log(wanted - 0.5)
    # The number of rings is concave in the time. So its slope at the start gives a bound.
    cut = log_wanted - torch.logsumexp(log_inside + theta, -1)
    # Late rings are rarer than early ones. So on average the last ring is at least this far from
    # the end.
    latest = log_width - 0.25 / inside.sum(-1)
    for _ in range(_CUT_STEPS):
        log_y = (theta + cut.unsqueeze(-1)).clamp(max=_HIGHEST)
        y = torch.exp(log_y.clamp(min=_LOWEST))
        rung = -torch.expm1(-y)
        log_rungs = log_inside + log_y + torch.log(rung / y)
        expected = torch.logsumexp(log_rungs, -1)
        share = torch.exp(log_rungs - expected.unsqueeze(-1))
        slope = (share * (y * (1 / rung - 1))).sum(-1)
        gap = log_wanted - expected
        step = torch.nan_to_num(gap / slope, nan=0.0).clamp(-_LONGEST_STEP, _LONGEST_STEP)
        cut = torch.minimum(cut + step, latest)
        # Every cut is exact. A cut as near as the count of rings is spread cannot be bettered.
        if may_branch(gap) and (gap.square() * wanted).amax().item() < _NEAR:
            break
    return cut
