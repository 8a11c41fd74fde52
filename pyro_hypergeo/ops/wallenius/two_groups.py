# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The law of two groups at all counts: blocks of neighbouring counts share the nodes of time."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..autograd import apply
from ..binomial import log_binomial_pmf
from ..urn import Urn
from .clocks import log_rung_odds
from .density import wallenius_log_prob_given
from .one_count import hazards

# Counts of a block, and numbers in a table over the counts and nodes of some blocks.
_BLOCK, _CELLS = 64, 200_000
# Bisections and Newton steps for a peak; secant steps for an end.
_PEAK_STEPS, _END_STEPS = 9, 7
# The rule ends where the integrand has fallen to exp(-_FALL) of its peak.
_FALL, _ENOUGH = 36.0, 33.0
# The step, in standard deviations of the sharpest peak, and the longest step. The rule of equal
# steps then has an error below 1e-13. Curvature counts less where the integrand has fallen.
_STEP, _LONGEST_STEP = 0.6, 0.18
_PROBES = 9
# Blocks that need more nodes, sharper weights, or larger terms that cancel go count by count.
_MOST_NODES, _WIDEST, _LARGEST_TERM = 1000, 30.0, 3000.0


class _Blocks(NamedTuple):
    """Consecutive counts of the first of two groups: the counts first, ..., last of B urns."""

    theta: Tensor  # (B, 2); the larger one is 0
    sizes: Tensor  # (B, 2)
    total: Tensor  # (B,)
    first: Tensor  # (B,)
    last: Tensor  # (B,)

    def take(self, index: Tensor) -> _Blocks:
        return _Blocks(*(x[index] for x in self))


class _Rule(NamedTuple):
    """Nodes of equal steps in v = log u for each block."""

    centre: Tensor  # (B,): the v at which binomial probabilities are taken
    start: Tensor  # (B,): the first node is at centre + start
    length: Tensor  # (B,): from the first node to the last
    nodes: Tensor  # (B,): how many nodes the block needs


def log_law_of_two(urn: Urn, low: Tensor, high: Tensor, width: int) -> Tensor:
    r"""Log-probabilities of the counts low, low + 1, ... of the first of two groups.

    In :func:`wallenius_log_prob`, the integrand at the counts :math:`(k, n - k)` is

    .. math::

        \exp(\alpha(u) + k \beta(u))

    without its binomial coefficients. So many counts share their nodes, and each count costs
    one exponential at each node. The peaks move slowly with the count: a block of counts
    needs few more nodes than one count.

    It reads values, so it is only for the CPU, outside of traces. Differentiable in the
    log-weights.

    :param Urn urn: U urns of two groups, all of them interior.
    :param Tensor low: the smallest possible count, ``(U,)``.
    :param Tensor high: the last count, ``(U,)``; at most the largest possible one.
    :param int width: how many counts; at least ``max(high - low) + 1``.
    :return: shape ``(U, width)``; ``-inf`` above ``high``.
    """
    theta = urn.log_weights
    theta = theta - theta.detach().masked_fill(urn.sizes <= 0, -torch.inf).amax(-1, keepdim=True)
    block = min(_BLOCK, width)
    each = ((high - low) / block).floor().clamp(min=-1).long() + 1
    most = -(-width // block)
    row = torch.repeat_interleave(each)
    number = torch.arange(len(row)) - (each.cumsum(0) - each)[row]
    first = low[row] + block * number
    last = torch.minimum(first + (block - 1), high[row])
    blocks = _Blocks(theta[row], urn.sizes[row], urn.total[row], first, last)
    with torch.no_grad():
        rule, easy = _place(blocks._replace(theta=blocks.theta.detach()))
    where = row * most + number
    indices, parts = [], []
    for index in _chunks(rule, easy, block):
        indices.append(where[index])
        parts.append(_log_probs(blocks.take(index), _Rule(*(x[index] for x in rule)), block))
    hard = (~easy).nonzero().squeeze(-1)
    if hard.numel():
        indices.append(where[hard])
        parts.append(_one_by_one(blocks.take(hard), block))
    table = torch.full((len(each) * most, block), -torch.inf, dtype=theta.dtype)
    if parts:
        table = table.index_copy(0, torch.cat(indices), torch.cat(parts))
    return table.reshape(len(each), most * block)[:, :width]


def _chunks(rule: _Rule, easy: Tensor, block: int) -> list[Tensor]:
    """Indices of blocks that need about the same number of nodes."""
    index = easy.nonzero().squeeze(-1)
    nodes, order = rule.nodes[index].sort()
    index = index[order]
    result, begin = [], 0
    while begin < len(index):
        size = max(1, _CELLS // (block * int(nodes[begin])))
        # The first block of a chunk has the fewest nodes, the last one the most.
        end = int(torch.searchsorted(nodes, 1.2 * nodes[begin] + 4, right=True))
        end = min(begin + size, end)
        result.append(index[begin:end])
        begin = end
    return result


def _one_by_one(blocks: _Blocks, block: int) -> Tensor:
    """The same log-probabilities, each with nodes of its own."""
    k = blocks.first.unsqueeze(-1) + torch.arange(block, dtype=blocks.first.dtype)
    row, column = (k <= blocks.last.unsqueeze(-1)).nonzero(as_tuple=True)
    k, total = k[row, column], blocks.total[row]
    yes, sizes = torch.ones_like(row, dtype=torch.bool), blocks.sizes[row]
    urn = Urn(blocks.theta[row], sizes, total, yes, sizes, yes)
    found = wallenius_log_prob_given(urn, torch.stack([k, total - k], -1))
    table = torch.full((len(blocks.first), block), -torch.inf, dtype=found.dtype)
    return table.index_put((row, column), found)


def _place(blocks: _Blocks) -> tuple[_Rule, Tensor]:
    """The nodes of each block, and whether the block may use them."""
    # If the first group is heavier, a larger count has a later peak. In any case both ends of the
    # integrand move as the peak moves. So the first and the last count decide the range.
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
    step = (_STEP * curvature.amax((-1, -2)).rsqrt()).clamp(max=_LONGEST_STEP)
    centre = peak.mean(-1)
    nodes = ((high - low) / step).ceil() + 1
    rule = _Rule(centre, low - centre, high - low, nodes)
    ends = torch.stack([low, high], -1) - centre.unsqueeze(-1)
    terms, slope = _terms(blocks, centre, ends)
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


def _terms(blocks: _Blocks, centre: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Terms of the log-integrand at the middle count, relative to the centre, (B, 4, J); and its
    slope in the count, (B, J).
    """
    growth = torch.expm1(offset)
    weight = torch.exp(blocks.theta)
    y = torch.exp(blocks.theta + centre.unsqueeze(-1))
    change = _log_change(y.unsqueeze(-1), growth.unsqueeze(-2))  # (B, 2, J)
    k = _middle(blocks)
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


def _middle(blocks: _Blocks) -> Tensor:
    return (0.5 * (blocks.first + blocks.last)).floor()


def _log_probs(blocks: _Blocks, rule: _Rule, block: int) -> Tensor:
    """log p of the counts of some blocks, (B, block), with as many nodes as the last one needs."""
    part = torch.linspace(0, 1, int(rule.nodes.max()), dtype=rule.start.dtype)
    offset = rule.start.unsqueeze(-1) + rule.length.unsqueeze(-1) * part
    shift = torch.arange(block, dtype=offset.dtype)
    args = *blocks, rule.centre, offset, shift
    return apply(_LogProbs, *args, forward_mode=_LogProbsForwardMode)


def _counts(blocks: _Blocks, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The counts of both groups, (B, K); counts above the last are the last."""
    k = torch.minimum(blocks.first.unsqueeze(-1) + shift, blocks.last.unsqueeze(-1))
    return k, blocks.total.unsqueeze(-1) - k


def _log_rest(blocks: _Blocks, k: Tensor, r: Tensor) -> Tensor:
    """The log of D, the weight of all that is not drawn, (B, K)."""
    weight = torch.exp(blocks.theta)
    m = blocks.sizes
    return torch.log(weight[:, :1] * (m[:, :1] - k) + weight[:, 1:] * (m[:, 1:] - r))


def _exponents(blocks: _Blocks, centre: Tensor, offset: Tensor, k: Tensor) -> Tensor:
    """The log-integrand relative to the centre, (B, K, J)."""
    terms, slope = _terms(blocks, centre, offset)
    away = k - _middle(blocks).unsqueeze(-1)
    return torch.addcmul(terms.sum(-2).unsqueeze(-2), away.unsqueeze(-1), slope.unsqueeze(-2))


class _LogProbs(torch.autograd.Function):
    """log p by the rule at fixed nodes; its derivatives are those of the plain formula."""

    @staticmethod
    def forward(
        theta: Tensor,
        sizes: Tensor,
        total: Tensor,
        first: Tensor,
        last: Tensor,
        centre: Tensor,
        offset: Tensor,
        shift: Tensor,
    ) -> Tensor:
        blocks = _Blocks(theta, sizes, total, first, last)
        k, r = _counts(blocks, shift)
        middle = _middle(blocks)
        m = sizes.unsqueeze(-1)
        ratio = (m[:, 0] - k) * r / ((k + 1) * (m[:, 1] - r + 1))
        ratio = torch.log(torch.where(k < last.unsqueeze(-1), ratio, 1.0)).cumsum(-1)
        ratio = torch.nn.functional.pad(ratio[:, :-1], (1, 0))
        ratio = ratio - ratio.gather(-1, (middle - first).long().unsqueeze(-1))
        odds = log_rung_odds(theta + centre.unsqueeze(-1))
        x = torch.stack([middle, total - middle], -1)
        at_middle = log_binomial_pmf(x, sizes, odds).sum(-1) + centre
        step = (offset[:, -1] - offset[:, 0]) / (offset.shape[-1] - 1)
        constant = (at_middle + torch.log(step)).unsqueeze(-1)
        near = ratio + (k - middle.unsqueeze(-1)) * (odds[:, :1] - odds[:, 1:])
        values = torch.logsumexp(_exponents(blocks, centre, offset, k), -1)
        values = values + constant + near + _log_rest(blocks, k, r)
        possible = first.unsqueeze(-1) + shift <= last.unsqueeze(-1)
        return torch.where(possible, values, -torch.inf)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        slopes = _gradients(*ctx.saved_tensors)
        return (grad.unsqueeze(-1) * slopes).sum(-2), *(None,) * 7


class _LogProbsForwardMode(_LogProbs):
    # A class of its own: torch.compile rejects a function with this method.
    @staticmethod
    def jvp(ctx: Any, along: Tensor, *_: Any) -> Tensor:
        return (along.unsqueeze(-2) * _gradients(*ctx.saved_tensors)).sum(-1)


def _gradients(
    theta: Tensor,
    sizes: Tensor,
    total: Tensor,
    first: Tensor,
    last: Tensor,
    centre: Tensor,
    offset: Tensor,
    shift: Tensor,
) -> Tensor:
    """The derivatives of log p in both log-weights, (B, K, 2)."""
    # These are plain tensor operations, so autograd gives the higher derivatives.
    blocks = _Blocks(theta, sizes, total, first, last)
    k, r = _counts(blocks, shift)
    weight = torch.softmax(_exponents(blocks, centre, offset, k), -1)
    v = centre.unsqueeze(-1) + offset
    hazard = hazards(theta.unsqueeze(-1) + v.unsqueeze(-2))[0]  # (B, 2, J)
    means = weight @ torch.cat([hazard, torch.exp(v).unsqueeze(-2)], -2).mT  # (B, K, 3)
    x = torch.stack([k, r], -1)
    each = means[..., 2:] - torch.exp(-_log_rest(blocks, k, r)).unsqueeze(-1)
    left = (sizes.unsqueeze(-2) - x) * torch.exp(theta).unsqueeze(-2)
    slopes = x * means[..., :2] - left * each
    possible = first.unsqueeze(-1) + shift <= last.unsqueeze(-1)
    return torch.where(possible.unsqueeze(-1), slopes, 0.0)
