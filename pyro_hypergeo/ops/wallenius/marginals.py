# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Marginals of Wallenius' law: for each count, an integral over the time of ring n + 1."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..binomial import log_binomial_pmf
from ..count_table import CountTable, count_range, may_read, table_width
from ..urn import Bounds, Urn, make_urn
from .clocks import TimeNodes, log_rung, log_rung_odds
from .density import wallenius_log_prob_given
from .snapshots import LONGEST_TIME, rule_around, snapshots_at
from .two_groups import log_law_of_two

# Golden section of a bracket whose length is in the hundreds.
_PEAK_STEPS, _GOLDEN = 40, 0.6180339887498949
_HIGHEST = 100.0
# The log of rate times time is cut here, so that no power overflows. So is a hazard of 0.
_LATEST, _LEAST = 600.0, 1e-300
# The rounding of an expected number of elements, relative to the size of the group.
_ROUNDING = 1e-13
# Entries of the largest table.
_CELLS = 2_000_000
_NODES = 128 * 21


def wallenius_log_marginal(
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    group: int,
    *,
    max_size: int | None = None,
) -> Tensor:
    r"""Log-marginal of the counts 0, 1, ... of one group under Wallenius' law.

    .. math::

        p(x_i = k) = \int \mathrm{Bin}(k; m_i, 1 - e^{-w_i u}) \, \Pr[S_u = n - k] \,
            E[D \mid x_i = k, S_u = n - k] \, du ,

    where :math:`u` is the time of ring :math:`n + 1`, :math:`S_u` is the number of elements of the
    other groups that have rung by then, and :math:`D` is the weight of all elements that have not
    rung.

    Each probability has a small relative error, far into both tails. Differentiable in the
    log-weights. Cost: O(G) for each of about 3000 nodes of each count. With two groups,
    neighbouring counts share their nodes: a count costs about 40 exponentials.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :param int group: index of the group.
    :param int max_size: the largest count; the largest size of the group in the batch if not
        given.
    :return: shape ``(..., max_size + 1)``, in the dtype of the log-weights; ``-inf`` where a count
        is impossible.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_log_marginal
    >>> wallenius_log_marginal(
    ...     log_weights=torch.tensor([3.0, 1.0]).log(),
    ...     group_sizes=torch.tensor([2.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ...     group=1,
    ... ).exp()
    tensor([0.8571, 0.1429])
    """
    bounds = Bounds(group_sizes[..., group, None], total_count)
    max_size = bounds.size if max_size is None else max_size
    urn = make_urn(log_weights, group_sizes, total_count)
    group = group % urn.sizes.shape[-1]
    result = wallenius_log_marginal_given(urn, group, max_size)
    return bounds.guard(result, log_weights).to(log_weights.dtype)


def wallenius_log_marginals(
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    *,
    max_size: int | None = None,
) -> Tensor:
    r"""Log-marginals of the counts 0, 1, ... of all groups under Wallenius' law.

    They are computed one group after another, each as in :func:`wallenius_log_marginal`. Each
    probability has a small relative error, far into both tails. Differentiable in the log-weights.
    Cost: O(G^2 max m) for each of about 3000 nodes.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :param int max_size: the largest count; the largest size in the batch if not given.
    :return: shape ``(..., G, max_size + 1)``, in the dtype of the log-weights; ``-inf`` where a
        count is impossible.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_log_marginals
    >>> wallenius_log_marginals(
    ...     log_weights=torch.tensor([3.0, 1.0]).log(),
    ...     group_sizes=torch.tensor([2.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ... ).exp()
    tensor([[0.1429, 0.8571, 0.0000],
            [0.8571, 0.1429, 0.0000]])
    """
    bounds = Bounds(group_sizes, total_count)
    max_size = bounds.size if max_size is None else max_size
    urn = make_urn(log_weights, group_sizes, total_count)
    rows = [wallenius_log_marginal_given(urn, i, max_size) for i in range(urn.sizes.shape[-1])]
    return bounds.guard(torch.stack(rows, -2), log_weights).to(log_weights.dtype)


def wallenius_log_marginal_given(urn: Urn, group: int, max_size: int) -> Tensor:
    """The log-marginal of one group for an :class:`Urn`, (..., max_size + 1), in float64.

    The relative error of each probability is below 1e-10 in both tails.
    """
    return wallenius_marginal_table(urn, group, max_size).spread(max_size)


def wallenius_marginal_table(urn: Urn, group: int, max_size: int) -> CountTable:
    """The log-marginal of one group for an :class:`Urn`, on its support, in float64."""
    low, high = count_range(urn, group)
    width = table_width(low, high, max_size)
    k = low.unsqueeze(-1) + torch.arange(width, dtype=low.dtype, device=low.device)
    certain = torch.where((k == low.unsqueeze(-1)) & urn.feasible.unsqueeze(-1), 0.0, -torch.inf)
    if not may_read(low):
        logs = _law_of_two(urn, group, k) if urn.sizes.shape[-1] == 2 else _law(urn, group, k)
        return CountTable(low, torch.where(urn.interior.unsqueeze(-1), logs, certain))
    # Only possible counts cost time, whatever the sizes of the urns in the batch.
    rows = urn.interior.reshape(-1).nonzero().squeeze(-1)
    if not rows.numel():
        return CountTable(low, certain)
    flat = urn.flat(rows)
    first, last = low.reshape(-1)[rows], high.clamp(max=max_size).reshape(-1)[rows]
    if urn.sizes.shape[-1] == 2:
        logs = log_law_of_two(flat if group == 0 else flat.flipped(), first, last, width)
    else:
        logs = _law_of_each(flat, group, first, last, width)
    table = certain.reshape(-1, width).index_copy(0, rows, logs)
    return CountTable(low, table.reshape(k.shape))


def _law_of_two(urn: Urn, group: int, k: Tensor) -> Tensor:
    """The log-probabilities of counts (..., K) of one of two groups, each with its own nodes."""
    rest = urn.total.unsqueeze(-1) - k
    pair = torch.stack([k, rest] if group == 0 else [rest, k], -1)
    return wallenius_log_prob_given(urn, pair.movedim(-2, 0)).movedim(0, -1)


def _law(urn: Urn, group: int, k: Tensor) -> Tensor:
    """The log-probabilities of counts (..., K) of one of many groups, each with its own nodes."""
    own = torch.arange(urn.sizes.shape[-1], device=urn.sizes.device) == group
    theta = _below_zero(urn)
    chunk = max(1, _CELLS // (_NODES * theta.numel()))
    parts = [_log_marginal(urn, theta, own, part) for part in k.split(chunk, -1)]
    size, others = urn.sizes[..., group, None], (urn.sizes * ~own).sum(-1, keepdim=True)
    total = urn.total.unsqueeze(-1)
    possible = (k <= size) & (k <= total) & (total - k <= others)
    return torch.where(possible, torch.cat(parts, -1), -torch.inf)


def _law_of_each(urn: Urn, group: int, first: Tensor, last: Tensor, width: int) -> Tensor:
    """The log-probabilities of the counts first, ..., last of U urns, (U, width)."""
    each = (last - first).clamp(min=-1).long() + 1
    row = torch.repeat_interleave(each)
    column = torch.arange(len(row)) - (each.cumsum(0) - each)[row]
    own = torch.arange(urn.sizes.shape[-1]) == group
    theta, k = _below_zero(urn), first[row] + column
    chunk = max(1, _CELLS // (_NODES * theta.shape[-1]))
    parts = []
    for index, counts in zip(row.split(chunk), k.unsqueeze(-1).split(chunk), strict=True):
        part = urn.flat(index)
        parts.append(_log_marginal(part, theta[index], own, counts).squeeze(-1))
    table = torch.full((len(each), width), -torch.inf, dtype=theta.dtype)
    return table.index_put((row, column), torch.cat(parts)) if parts else table


def _below_zero(urn: Urn) -> Tensor:
    """The log-weights, (..., G), shifted so that the largest is 0."""
    theta = urn.log_weights
    return theta - theta.detach().masked_fill(urn.sizes <= 0, -torch.inf).amax(-1, keepdim=True)


class _Counts(NamedTuple):
    """K counts of one group, and for each count the urn of the other groups."""

    k: Tensor  # (..., K)
    size: Tensor  # (..., K)
    log_weight: Tensor  # (..., K)
    rest: Tensor  # (..., K): how many of the others are drawn
    sizes: Tensor  # (..., K, G): of the others; 0 for the group itself
    theta: Tensor  # (..., K, G)


def _log_marginal(urn: Urn, theta: Tensor, own: Tensor, k: Tensor) -> Tensor:
    """The log-probabilities of some counts of one group, (..., K)."""
    size = (urn.sizes * own).sum(-1, keepdim=True)
    others = urn.sizes * ~own
    total, everything = urn.total.unsqueeze(-1), others.sum(-1, keepdim=True)
    # Impossible counts are masked in the end. Here the nearest possible count replaces them.
    k = torch.maximum(torch.minimum(k, torch.minimum(size, total)), total - everything)
    shape = (*k.shape, own.shape[-1])
    counts = _Counts(
        k,
        size.expand(k.shape),
        (theta * own).sum(-1, keepdim=True).expand(k.shape),
        total - k,
        others.unsqueeze(-2).expand(shape),
        theta.unsqueeze(-2).expand(shape),
    )
    with torch.no_grad():
        nodes = _place(counts._replace(theta=counts.theta.detach()))
    nodes = nodes.detached()  # a trace forgets `no_grad`
    times = nodes.peak.unsqueeze(-1) + nodes.offset
    return torch.logsumexp(_log_density(counts, times) + nodes.log_length, -1)


def _log_density(counts: _Counts, times: Tensor) -> Tensor:
    """The log-density of the count and of the log-time of the next ring, (..., K, U)."""
    _, size, log_weight, rest, sizes, theta = counts
    everything = sizes.sum(-1)
    inside = (rest > 0) & (rest < everything)
    # Where none or all of the others are drawn, their counts are certain. There a total in the
    # middle replaces the true one.
    posed = torch.where(inside, rest, 0.5 * everything)
    at = snapshots_at(theta, sizes, posed, times)
    log_y = theta.unsqueeze(-2) + times.unsqueeze(-1)
    none, all_ = (rest <= 0).unsqueeze(-1), (rest >= everything).unsqueeze(-1)
    sizes = sizes.unsqueeze(-2)
    y = torch.exp(log_y.clamp(max=_HIGHEST))
    log_mass = torch.where(none, -(sizes * y).sum(-1), at.log_mass - _cut_off(y, sizes, rest))
    log_mass = torch.where(all_, (sizes * log_rung(log_y)).sum(-1), log_mass)
    # What is left of a group that has rung almost surely is only rounding. Times its weight, it
    # would hide the others.
    left = torch.where(at.rest > _ROUNDING * sizes, at.rest, 0.0)
    left = torch.where(none.unsqueeze(-1), sizes, left)
    left = torch.where(all_.unsqueeze(-1), 0.0, left)
    k, size = counts.k.unsqueeze(-1), size.unsqueeze(-1)
    log_own = (log_weight.unsqueeze(-1) + times).clamp(max=_LATEST)
    hazard = torch.exp(log_own) * (size - k) + (y * left).sum(-1)
    log_hazard = torch.log(hazard.clamp(min=_LEAST))
    return log_binomial_pmf(k, size, log_rung_odds(log_own)) + log_mass + log_hazard


def _cut_off(y: Tensor, sizes: Tensor, rest: Tensor) -> Tensor:
    """What the snapshots leave out: elements that ring almost surely, but must not ring."""
    # By far the most probable case: the heaviest elements have rung.
    y, order = y.sort(-1, descending=True)
    sizes = sizes.expand(y.shape).gather(-1, order)
    rung = rest[..., None, None] - (sizes.cumsum(-1) - sizes)
    unrung = sizes - torch.minimum(rung.clamp(min=0), sizes)
    return (unrung * (y - LONGEST_TIME).clamp(min=0)).sum(-1)


def _place(counts: _Counts) -> TimeNodes:
    """The nodes of the integral over log u for each count."""
    # The elements left weigh at most as much as all, and at least as much as one lightest element.
    present = counts.sizes > 0
    heavy = torch.logsumexp(
        torch.where(present, counts.theta + torch.log(counts.sizes), -torch.inf), -1
    )
    heavy = torch.logaddexp(heavy, counts.log_weight + torch.log(counts.size))
    light = counts.theta.masked_fill(~present, torch.inf).amin(-1)
    light = torch.where(counts.size > 0, torch.minimum(light, counts.log_weight), light)
    low, high = -heavy, torch.log1p(counts.rest + counts.k) - light
    return rule_around(_summit(counts, low, high), partial(_log_density, counts))


def _summit(counts: _Counts, low: Tensor, high: Tensor) -> Tensor:
    """The log-time of the peak between two log-times, (..., K), by golden section."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    for _ in range(_PEAK_STEPS):
        values = _log_density(counts, torch.stack([left, right], -1))
        rising = values[..., 0] < values[..., 1]
        low, high = torch.where(rising, left, low), torch.where(rising, high, right)
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    return 0.5 * (low + high)
