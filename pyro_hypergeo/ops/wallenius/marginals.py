# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Marginals of Wallenius' law: for each count, an integral over the time of ring n + 1."""

from __future__ import annotations

import torch
from torch import Tensor

from ..count_table import CountTable, count_range, table_width
from ..tracing import may_branch
from ..urn import Bounds, Urn, make_urn
from .count_nodes import log_prob_of_counts, log_prob_of_list
from .density import wallenius_log_prob_given
from .one_count import Counts, counts_of
from .two_groups import log_law_of_two

# Entries of groups and counts in one part; each has about 3000 nodes.
_CELLS = 744


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
    log-weights. Cost: O(G) for each of about 1000 nodes of each possible count; 5000 if weights
    differ by a factor of more than 100. With two groups, neighbouring counts share their nodes: a
    count costs about 40 exponentials. Only on the CPU, and outside of transforms and traces, are
    the nodes that few.

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
    Cost: that of G calls.

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
    certain = torch.full_like(k, -torch.inf)
    certain = torch.where((k == low.unsqueeze(-1)) & urn.feasible.unsqueeze(-1), 0.0, certain)
    if not may_branch(low):
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
    batch = urn.log_weights.numel()
    parts = [
        log_prob_of_counts(counts_of(urn, group, part))
        for part in k.split(max(1, _CELLS // max(batch, 1)), -1)
    ]
    own = torch.arange(urn.sizes.shape[-1], device=urn.sizes.device) == group
    size, others = urn.sizes[..., group, None], (urn.sizes * ~own).sum(-1, keepdim=True)
    total = urn.total.unsqueeze(-1)
    possible = (k <= size) & (k <= total) & (total - k <= others)
    return torch.where(possible, torch.cat(parts, -1), -torch.inf)


def _law_of_each(urn: Urn, group: int, first: Tensor, last: Tensor, width: int) -> Tensor:
    """The log-probabilities of the counts first, ..., last of U urns, (U, width)."""
    each = (last - first).clamp(min=-1).long() + 1
    row = torch.repeat_interleave(each)
    column = torch.arange(len(row)) - (each.cumsum(0) - each)[row]
    k = (first[row] + column).unsqueeze(-1)
    counts = counts_of(urn.flat(row), group, k)
    logs = log_prob_of_list(Counts(*(x.squeeze(1) for x in counts)))
    table = torch.full((len(each), width), -torch.inf, dtype=logs.dtype)
    return table.index_put((row, column), logs)
