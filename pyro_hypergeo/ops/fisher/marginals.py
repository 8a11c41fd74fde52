# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Marginals of Fisher's law, accurate relative to each probability, far into the tails."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..binomial import log_tilted_pmf
from ..count_table import CountTable, count_range, table_width
from ..saddlepoint.lattice import (
    NODES,
    Positions,
    Tilted,
    counted_by_rest,
    has_largest_variance,
    lattice_nodes,
    log_lattice_prob,
    log_moduli,
    phases,
    place_nodes,
    tilted_groups,
)
from ..saddlepoint.tilt import solve_tilt
from ..tracing import may_branch
from ..urn import Bounds
from .state import FisherState, log_center_at, solve_fisher
from .two_groups import marginal_of_two

# If we leave out one group (not the one of largest variance), at least half of the variance
# remains. So sqrt(2) times as many nodes, placed for the sum of all groups, reach equally far.
_SHARED_NODES = math.ceil(math.sqrt(2) * NODES)
# Numbers of one part of a table over counts, groups and nodes: some tens of megabytes in all.
_CELLS = 500_000


def log_marginals(
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    *,
    max_size: int | None = None,
) -> Tensor:
    r"""Log-marginals of the counts 0, 1, ... of all groups under Fisher's law.

    .. math::

        p(x_i = k) = \mathrm{Bin}(k; m_i, p_i) \, \frac{\Pr[S_{-i} = n - k]}{\Pr[S = n]}

    Here :math:`S` is the sum of independent binomials, and :math:`S_{-i}` leaves group i out. Each
    probability has a small relative error, far into the tails. Differentiable in the log-weights.
    Cost: O(G max m) time and memory.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :param int max_size: the largest count; the largest size in the batch if not given.
    :return: shape ``(..., G, max_size + 1)``, in the dtype of the log-weights; ``-inf`` where a
        count is impossible.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_marginals
    >>> log_marginals(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([2.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ... ).exp()
    tensor([[0.3333, 0.6667, 0.0000],
            [0.6667, 0.3333, 0.0000]])
    """
    state = solve_fisher(log_weights, group_sizes, total_count)
    bounds = Bounds(group_sizes, total_count)
    result = log_marginals_given(state, bounds.size if max_size is None else max_size)
    return bounds.guard(result, log_weights).to(log_weights.dtype)


def log_marginal(
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    group: int,
    *,
    max_size: int | None = None,
) -> Tensor:
    r"""Log-marginal of the counts 0, 1, ... of one group under Fisher's law.

    .. math::

        p(x_i = k) = \mathrm{Bin}(k; m_i, p_i) \, \frac{\Pr[S_{-i} = n - k]}{\Pr[S = n]}

    This is one row of :func:`log_marginals`. Each probability has a small relative error, far into
    the tails. Differentiable in the log-weights. Cost: O(G) for each possible count, in time and
    memory. With two groups, each count follows from its neighbour in about ten operations.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :param int group: index of the group.
    :param int max_size: the largest count; the largest size of the group in the batch if not
        given.
    :return: shape ``(..., max_size + 1)``, in the dtype of the log-weights; ``-inf`` where a count
        is impossible.

    >>> import torch
    >>> from pyro_hypergeo.ops import log_marginal
    >>> log_marginal(
    ...     log_weights=torch.zeros(2),
    ...     group_sizes=torch.tensor([2.0, 1.0]),
    ...     total_count=torch.tensor(1.0),
    ...     group=1,
    ... ).exp()
    tensor([0.6667, 0.3333])
    """
    state = solve_fisher(log_weights, group_sizes, total_count)
    bounds = Bounds(group_sizes[..., group, None], total_count)
    result = log_marginal_given(state, group, bounds.size if max_size is None else max_size)
    return bounds.guard(result, log_weights).to(log_weights.dtype)


def log_marginals_given(state: FisherState, max_size: int) -> Tensor:
    """Log-marginals of all groups under a state, (..., G, max_size + 1), in float64.

    For any tilt, log p_i(k) has three terms. The first is the log-probability of k in the tilted
    binomial of group i. Add the log-probability that the others sum to n - k. Subtract the
    log-probability that all groups sum to n. The second term is accurate if the mean of the others
    is within one of n - k. Take the tilts for which the mean of all groups is n - M, ..., n + M.
    They contain a good tilt for every group and every k. So the sums over groups are shared.
    """
    urn = state.urn
    if urn.sizes.shape[-1] == 2:
        return torch.stack([log_marginal_given(state, group, max_size) for group in (0, 1)], -2)
    theta, sizes = urn.log_weights.unsqueeze(-2), urn.sizes.unsqueeze(-2)
    steps = torch.arange(-max_size, max_size + 1, dtype=sizes.dtype, device=sizes.device)
    tilts = _tilt_near(theta.detach(), sizes, urn.total.unsqueeze(-1) + steps)  # (..., T)
    groups = tilted_groups(theta, sizes, tilts)  # (..., T, G)
    k = torch.arange(max_size + 1, dtype=sizes.dtype, device=sizes.device)
    rest = (urn.total[..., None, None] - k).clamp(min=0)
    held_by_others = (urn.sizes.sum(-1, keepdim=True) - urn.sizes).unsqueeze(-1)
    rest = torch.minimum(rest, held_by_others)  # (..., G, M + 1)
    at = _best_tilt(groups, rest)  # (..., G, M + 1)

    log_rest = torch.where(
        torch.take_along_dim(has_largest_variance(groups).mT, at, -1),
        _log_rest_of_dominant(groups, rest, at),
        _log_rest_of_others(groups, rest, at),
    )
    u = torch.take_along_dim(groups.u.mT, at, -1)
    log_total = torch.take_along_dim(log_center_at(state, tilts).unsqueeze(-2), at, -1)
    result = log_tilted_pmf(k, urn.sizes.unsqueeze(-1), u) + log_rest - log_total
    return _on_support(state, k, urn.sizes.unsqueeze(-1), urn.edge.unsqueeze(-1), result)


def log_marginal_given(state: FisherState, group: int, max_size: int) -> Tensor:
    """The log-marginal of one group, (..., max_size + 1)."""
    return marginal_table_given(state, group, max_size).spread(max_size)


def marginal_table_given(state: FisherState, group: int, max_size: int) -> CountTable:
    """The log-marginal of one group on its support: for each count, a saddle point.

    With two groups, each count follows from its neighbour.
    """
    urn = state.urn
    if urn.sizes.shape[-1] == 2:
        return marginal_of_two(state, group, max_size)
    low, high = count_range(urn, group)
    width = table_width(low, high, max_size)
    index = torch.arange(width, dtype=low.dtype, device=low.device)
    cells = max(1, _CELLS // (urn.sizes.shape[-1] * NODES))
    if may_branch(low) and low.numel() > 1:
        each = (high.clamp(max=max_size) - low).reshape(-1, 1)
        row, column = (index <= each).nonzero(as_tuple=True)
        if 1.2 * len(row) < low.numel() * width:
            # Supports differ: a list of possible counts is shorter than the table.
            k = (low.reshape(-1)[row] + index[column]).unsqueeze(-1)
            parts = zip(row.split(cells), k.split(cells), strict=True)
            logs = torch.cat([_log_marginal(state.flat(i), group, part) for i, part in parts])
            table = logs.new_full((low.numel(), width), -torch.inf)
            table = table.index_put((row, column), logs.squeeze(-1))
            return CountTable(low, table.reshape(*low.shape, width))
    k = (low.unsqueeze(-1) + index).split(max(1, cells // max(1, low.numel())), -1)
    return CountTable(low, torch.cat([_log_marginal(state, group, part) for part in k], -1))


def _log_marginal(state: FisherState, group: int, k: Tensor) -> Tensor:
    """The log-probabilities of counts (..., K) of one group."""
    urn = state.urn
    size, edge = urn.sizes[..., group, None], urn.edge[..., group, None]
    others = torch.arange(urn.sizes.shape[-1], device=size.device) != group
    theta, sizes = urn.log_weights.unsqueeze(-2), (urn.sizes * others).unsqueeze(-2)
    rest = (urn.total.unsqueeze(-1) - k).clamp(min=0)
    rest = torch.minimum(rest, sizes.sum(-1))  # impossible counts are masked in the end
    tilts = _tilt_near(theta.detach(), sizes, rest)
    log_rest = log_lattice_prob(lattice_nodes(tilted_groups(theta, sizes, tilts), rest))
    u = urn.log_weights[..., group, None] + tilts
    result = log_tilted_pmf(k, size, u) + log_rest - log_center_at(state, tilts)
    return _on_support(state, k, size, edge, result)


def _tilt_near(theta: Tensor, sizes: Tensor, target: Tensor) -> Tensor:
    """Tilts for mean sums near the targets (..., T); shape (..., T)."""
    # At the smallest and the largest sum, we aim half an element inside: the tilt stays finite.
    sizes = torch.where(sizes.sum(-1, keepdim=True) > 0, sizes, 1.0)
    everything = sizes.sum(-1)
    inside = torch.minimum(target.clamp(min=0.5), everything - 0.5)
    theta, sizes, _ = torch.broadcast_tensors(theta, sizes, inside.unsqueeze(-1))
    return solve_tilt(theta, sizes, inside)


def _best_tilt(groups: Tilted, rest: Tensor) -> Tensor:
    """For each group and count, the index of the best tilt: the others' mean is nearest to rest."""
    mean = (groups.sizes * groups.p).detach()
    others = (mean.sum(-1, keepdim=True) - mean).mT.cummax(-1).values.contiguous()
    rest = rest.contiguous()
    after = torch.searchsorted(others, rest).clamp(max=others.shape[-1] - 1)
    before = (after - 1).clamp(min=0)
    distance_after = (others.gather(-1, after) - rest).abs()
    distance_before = (others.gather(-1, before) - rest).abs()
    return torch.where(distance_before < distance_after, before, after)


def _log_rest_of_others(groups: Tilted, rest: Tensor, at: Tensor) -> Tensor:
    """log Pr[the others sum to rest], (..., G, M + 1), for groups not of largest variance."""
    nodes = place_nodes(groups.variance.sum(-1), _SHARED_NODES)
    modulus = log_moduli(groups, nodes.haversine)
    phase = phases(groups, nodes.haversine, nodes.sine)
    counted = counted_by_rest(groups)
    return _log_lattice_prob(
        nodes,
        (modulus.sum(-2, keepdim=True) - modulus).transpose(-2, -3),
        (phase.sum(-2, keepdim=True) - phase).transpose(-2, -3),
        (counted.sum(-1, keepdim=True) - counted).mT,
        rest,
        at,
    )


def _log_rest_of_dominant(groups: Tilted, rest: Tensor, at: Tensor) -> Tensor:
    """log Pr[the others sum to rest], (..., G, M + 1), for the group of largest variance."""
    sizes = torch.where(has_largest_variance(groups), 0.0, groups.sizes)
    others = Tilted(groups.u, sizes, groups.p, groups.q, groups.pq, sizes * groups.pq)
    nodes = place_nodes(others.variance.sum(-1))
    return _log_lattice_prob(
        nodes,
        log_moduli(others, nodes.haversine).sum(-2).unsqueeze(-3),
        phases(others, nodes.haversine, nodes.sine).sum(-2).unsqueeze(-3),
        counted_by_rest(others).sum(-1).unsqueeze(-2),
        rest,
        at,
    )


def _log_lattice_prob(
    nodes: Positions, log_modulus: Tensor, phase: Tensor, counted: Tensor, rest: Tensor, at: Tensor
) -> Tensor:
    """log Pr[sum = rest] by the trapezoidal rule, (..., G, M + 1), at the tilts that `at` picks."""

    # The tables have the shape (..., G or 1, T, J).
    def pick(table: Tensor) -> Tensor:
        return torch.take_along_dim(table, at.unsqueeze(-1), -2)

    half, weight = pick(nodes.half.unsqueeze(-3)), pick(nodes.weight.unsqueeze(-3))
    offset = rest - torch.take_along_dim(counted, at, -1)
    angle = pick(phase) - 2 * offset.unsqueeze(-1) * half
    value = 1 + (weight * torch.exp(pick(log_modulus)) * torch.cos(angle)).sum(-1)
    log_period = torch.take_along_dim(torch.log(nodes.period).unsqueeze(-2), at, -1)
    # Both tables are read for every group, also where the other table has the right value.
    return torch.log(torch.where(value > 0, value, 1.0)) - log_period


def _on_support(
    state: FisherState, k: Tensor, size: Tensor, edge: Tensor, result: Tensor
) -> Tensor:
    """The result at possible counts, ``-inf`` at others; at an edge the certain count has all."""
    everything = state.urn.sizes.sum(-1)
    total = state.urn.total
    while total.dim() < result.dim():
        everything, total = everything.unsqueeze(-1), total.unsqueeze(-1)
    rest = total - k
    fits = (k <= size) & (rest >= 0) & (rest <= everything - size)
    interior, feasible = state.urn.interior, state.urn.feasible
    while interior.dim() < result.dim():
        interior, feasible = interior.unsqueeze(-1), feasible.unsqueeze(-1)
    certain = torch.where((k == edge) & feasible, 0.0, -torch.inf)
    return torch.where(interior, torch.where(fits, result, -torch.inf), certain)
