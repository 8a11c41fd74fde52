# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Fisher's law of two groups at many counts: each count from its neighbour."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import pad

from ..count_table import CountTable, count_range, table_width
from ..tracing import may_branch
from .density import log_prob_given
from .state import FisherState

# Numbers in one part of a table. A part stays in the cache of a processor.
_CELLS = 1 << 15
# Longer sums are summed in runs. So few roundings add up.
_LONGEST_SUM = 256


def marginal_of_two(state: FisherState, group: int, max_size: int) -> CountTable:
    r"""The log-marginal of one of two groups, from the smallest possible count on.

    .. math::

        \frac{p(k + 1)}{p(k)} = \frac{w_1 (m_1 - k) (n - k)}{w_2 (k + 1) (m_2 - n + k + 1)}

    The logarithms are summed from a count near the mean to both sides. There, all terms have the
    same sign, so nothing cancels. Cost: O(1) a count, about ten operations.
    """
    urn = state.urn
    low, high = count_range(urn, group)
    width = table_width(low, high, max_size)
    odds = (urn.log_weights[..., group] - urn.log_weights[..., 1 - group]).unsqueeze(-1)
    start = torch.minimum(state.mean[..., group].detach().round(), high).clamp(max=max_size)
    start = torch.maximum(start, low)
    pair = torch.stack([start, urn.total - start], -1)
    pair = torch.where(urn.interior.unsqueeze(-1), pair if group == 0 else pair.flip(-1), urn.edge)
    at_start = log_prob_given(state, pair).unsqueeze(-1)
    # At an edge of the urn, the one possible count is the first. The step from it has the ratio 0.
    own = torch.where(urn.interior, urn.sizes[..., group], 0.0)
    numbers = low, start, own, urn.sizes[..., 1 - group] - urn.total, urn.total
    columns = [*(x.unsqueeze(-1) for x in numbers), odds.detach(), at_start.detach()]
    if may_branch(low) and low.numel() * width > _CELLS:
        table = _in_parts(columns, high.clamp(max=max_size) - low, width)
    else:
        table = _table(columns, width)
    if may_branch(low) and not (_has_slope(odds) or _has_slope(at_start)):
        return CountTable(low, table)
    away = (low - start).unsqueeze(-1) + torch.arange(width, dtype=low.dtype, device=low.device)
    at_start = torch.where(at_start > -torch.inf, at_start, 0.0)  # a draw may be impossible
    table = table + (at_start - at_start.detach())
    return CountTable(low, torch.addcmul(table, away, odds - odds.detach()))


def _has_slope(x: Tensor) -> bool:
    return x.requires_grad or forward_ad.unpack_dual(x).tangent is not None


def _in_parts(columns: list[Tensor], span: Tensor, width: int) -> Tensor:
    """The table, with parts of urns that have about as many counts."""
    shape, span = span.shape, span.reshape(-1)
    flat = [x.reshape(-1, 1) for x in columns]
    span, order = span.sort(descending=True)
    table = span.new_full((len(span), width), -torch.inf)
    begin = 0
    while begin < len(order):
        counts = max(1, int(span[begin]) + 1)
        rows = order[begin : begin + max(1, _CELLS // counts)]
        table[rows, :counts] = _table([x[rows] for x in flat], counts)
        begin += len(rows)
    return table.reshape(*shape, width)


def _table(columns: list[Tensor], width: int) -> Tensor:
    """The log-probabilities of the counts low, ..., low + width - 1, (..., width)."""
    low, start, own, spare, total, odds, at_start = columns
    k = low + torch.arange(width - 1, dtype=low.dtype, device=low.device)
    next_ = k + 1
    ways = (own - k).clamp(min=0) * (total - k).clamp(min=0)
    step = torch.log(ways / (next_ * (next_ + spare))) + odds
    after = k >= start
    right = _running_sums(torch.where(after, step, 0.0))
    left = _running_sums(torch.where(after, 0.0, step).flip(-1)).flip(-1)
    return pad(right, (1, 0)) - pad(left, (0, 1)) + at_start


def _running_sums(terms: Tensor) -> Tensor:
    """``terms.cumsum(-1)``, with the roundings of about 2 sqrt(K) additions in place of K."""
    width = terms.shape[-1]
    if width <= _LONGEST_SUM:
        return terms.cumsum(-1)
    length = math.isqrt(width) + 1
    runs = -(-width // length)
    sums = pad(terms, (0, runs * length - width)).unflatten(-1, (runs, length)).cumsum(-1)
    before = pad(sums[..., :-1, -1].cumsum(-1), (1, 0))
    return (sums + before.unsqueeze(-1)).flatten(-2)[..., :width]


def central_log_tails(
    state: FisherState, sizes: Tensor, total: Tensor, count: Tensor, terms: int
) -> tuple[Tensor, Tensor]:
    """Logarithms of both tails of one of two groups of equal weights, from the count outwards.

    One tail is summed from the count away from the mean. Each probability follows from the one
    before, and the sum stops where nothing is left. The other tail is its complement. Cost: O(1)
    a term.

    :param FisherState state: a state of the central law for sizes ``(..., 2)``.
    :param Tensor sizes: shape ``(..., 2)``.
    :param Tensor total: shape ``(...)``.
    :param Tensor count: integers of a shape that broadcasts with the batch.
    :param int terms: how many terms hold all of a tail; see :func:`terms_of_tail`.
    :return: for the first group, the logarithms of the probabilities of less than ``count``, and
        of at least ``count``; in float64.
    """
    own, other, total, count = torch.broadcast_tensors(
        sizes[..., 0].double(), sizes[..., 1].double(), total.double(), count.double()
    )
    low, high = (total - other).clamp(min=0), torch.minimum(own, total)
    up = count > state.mean[..., 0]
    start = torch.where(up, count, count - 1)
    k = torch.minimum(torch.maximum(start, low), high)
    # Marked and drawn, marked and left, other and drawn, other and left: each step makes two of
    # them smaller and two larger.
    marked, left, drawn, rest = k, own - k, total - k, other - total + k
    step = torch.arange(terms - 1, dtype=k.dtype, device=k.device)

    def falling(x: Tensor, y: Tensor) -> Tensor:
        return (torch.where(up, x, y).unsqueeze(-1) - step).clamp(min=0)

    def rising(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(up, x, y).unsqueeze(-1) + (step + 1)

    ratio = falling(left, marked) * falling(drawn, rest)
    ratio = ratio / (rising(marked, left) * rising(rest, drawn))
    at_start = log_prob_given(state, torch.stack([k, total - k], -1))
    tail = at_start + torch.log1p(ratio.cumprod(-1).sum(-1))
    tail = torch.where(k == start, tail, -torch.inf).clamp(max=0)
    log_rest = torch.log1p(-tail.exp())
    return torch.where(up, log_rest, tail), torch.where(up, tail, log_rest)


def terms_of_tail(size: int) -> int:
    """How many terms of :func:`central_log_tails` hold all of a tail, for counts up to ``size``."""
    return min(size + 1, math.ceil(4.5 * math.sqrt(size)) + 20)
