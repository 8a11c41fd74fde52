# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The law of two groups at all counts: blocks of neighbouring counts share the nodes of time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..autograd import apply
from ..binomial import log_binomial_pmf
from ..urn import Urn
from .block_nodes import BlockRule, Blocks, block_terms, middle_count, place_blocks
from .clocks import log_rung_odds
from .density import wallenius_log_prob_given
from .one_count import hazards

# Counts of a block, and numbers in a table over the counts and nodes of some blocks.
_BLOCK, _CELLS = 64, 200_000


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
    blocks = Blocks(theta[row], urn.sizes[row], urn.total[row], first, last)
    with torch.no_grad():
        rule, easy = place_blocks(blocks._replace(theta=blocks.theta.detach()))
    where = row * most + number
    indices, parts = [], []
    for index in _chunks(rule, easy, block):
        indices.append(where[index])
        parts.append(_log_probs(blocks.take(index), BlockRule(*(x[index] for x in rule)), block))
    hard = (~easy).nonzero().squeeze(-1)
    if hard.numel():
        indices.append(where[hard])
        parts.append(_one_by_one(blocks.take(hard), block))
    table = torch.full((len(each) * most, block), -torch.inf, dtype=theta.dtype)
    if parts:
        table = table.index_copy(0, torch.cat(indices), torch.cat(parts))
    return table.reshape(len(each), most * block)[:, :width]


def _chunks(rule: BlockRule, easy: Tensor, block: int) -> list[Tensor]:
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


def _one_by_one(blocks: Blocks, block: int) -> Tensor:
    """The same log-probabilities, each with nodes of its own."""
    k = blocks.first.unsqueeze(-1) + torch.arange(block, dtype=blocks.first.dtype)
    row, column = (k <= blocks.last.unsqueeze(-1)).nonzero(as_tuple=True)
    k, total = k[row, column], blocks.total[row]
    yes, sizes = torch.ones_like(row, dtype=torch.bool), blocks.sizes[row]
    urn = Urn(blocks.theta[row], sizes, total, yes, sizes, yes)
    found = wallenius_log_prob_given(urn, torch.stack([k, total - k], -1))
    table = torch.full((len(blocks.first), block), -torch.inf, dtype=found.dtype)
    return table.index_put((row, column), found)


def _log_probs(blocks: Blocks, rule: BlockRule, block: int) -> Tensor:
    """log p of the counts of some blocks, (B, block), with as many nodes as the last one needs."""
    part = torch.linspace(0, 1, int(rule.nodes.max()), dtype=rule.start.dtype)
    offset = rule.start.unsqueeze(-1) + rule.length.unsqueeze(-1) * part
    shift = torch.arange(block, dtype=offset.dtype)
    args = *blocks, rule.centre, offset, shift
    return apply(_LogProbs, *args, forward_mode=_LogProbsForwardMode)


def _counts(blocks: Blocks, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The counts of both groups, (B, K); counts above the last are the last."""
    k = torch.minimum(blocks.first.unsqueeze(-1) + shift, blocks.last.unsqueeze(-1))
    return k, blocks.total.unsqueeze(-1) - k


def _log_rest(blocks: Blocks, k: Tensor, r: Tensor) -> Tensor:
    """The log of D, the weight of all that is not drawn, (B, K)."""
    weight = torch.exp(blocks.theta)
    m = blocks.sizes
    return torch.log(weight[:, :1] * (m[:, :1] - k) + weight[:, 1:] * (m[:, 1:] - r))


def _exponents(blocks: Blocks, centre: Tensor, offset: Tensor, k: Tensor) -> Tensor:
    """The log-integrand relative to the centre, (B, K, J)."""
    terms, slope = block_terms(blocks, centre, offset)
    away = k - middle_count(blocks).unsqueeze(-1)
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
        blocks = Blocks(theta, sizes, total, first, last)
        k, r = _counts(blocks, shift)
        middle = middle_count(blocks)
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
    blocks = Blocks(theta, sizes, total, first, last)
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
