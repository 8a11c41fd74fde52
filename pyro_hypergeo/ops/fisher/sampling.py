# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Exact draws from Fisher's law, by the faster of two ways."""

from __future__ import annotations

import math

import torch
from torch import Size, Tensor

from ..tracing import inside_transform, may_branch
from ..urn import Bounds
from .bulk_marginals import width_of_mass
from .sampling_rejection import sample_by_rejection
from .sampling_tree import sample_by_tree
from .state import FisherState, solve_fisher

# Times on one core, in nanoseconds. They were fitted to both ways on 2 to 300 groups of 1 to 2000
# elements, 1 to 2000 urns and 1 to 10,000 draws of each.
_NS_BINOMIAL, _NS_PROPOSAL, _NS_ROUNDS = 57, 240, 3.6e5
_NS_ENTRY, _NS_ROW_ENTRY, _NS_LOOK_UP, _NS_LEVEL = 45, 7.5, 33, 2.7e5
# A tree with more entries than this takes too much memory; then rejection is used.
_MOST_ENTRIES = 1 << 27


def sample(
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    sample_shape: Size = Size(),  # noqa: B008
) -> Tensor:
    r"""Exact draws from Fisher's law.

    There are two ways, and the function takes the faster one. *Rejection* proposes independent
    binomials. *The tree* splits the total between two halves of the groups, then each half again,
    by inverse cdf. Where PyTorch traces, compiles or vmaps, only the tree is used.

    Cost: for each draw, O(G) by rejection, or at most O(n log G) down the tree. Neither is
    differentiable.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :param torch.Size sample_shape: shape of the draws for each urn.
    :return: shape ``sample_shape + (..., G)``, in the dtype of the log-weights; NaN where no draw
        is possible.

    **References:**

    [1] Fog, A. (2008) "Sampling methods for Wallenius' and Fisher's noncentral hypergeometric
        distributions", Communications in Statistics, Simulation and Computation 37(2).

    >>> import torch
    >>> from pyro_hypergeo.ops import sample
    >>> sample(
    ...     log_weights=torch.zeros(3),
    ...     group_sizes=torch.tensor([6.0, 4.0, 0.0]),
    ...     total_count=torch.tensor(3.0),
    ... ).sum()
    tensor(3.)
    """
    state = solve_fisher(log_weights.detach(), group_sizes, total_count)
    counts = sample_given(state, sample_shape, Bounds(group_sizes, total_count))
    return counts.to(log_weights.dtype)


def sample_given(state: FisherState, sample_shape: Size, bounds: Bounds) -> Tensor:
    """Draws of a state, ``sample_shape + (..., G)``, in float64, by the faster of two ways."""
    urn = state.urn
    shape = sample_shape + urn.log_weights.shape
    if 0 in shape:
        return torch.zeros(shape, dtype=torch.float64, device=urn.sizes.device)
    if _prefers_tree(state, sample_shape, bounds):
        counts = sample_by_tree(state, sample_shape, bounds)
    else:
        counts = sample_by_rejection(state, sample_shape)
    if may_branch(counts) and (urn.ordinary or urn.interior.all()):
        if not math.isnan((state.tilt + state.log_center).sum().item()):
            return counts
    counts = torch.where(urn.interior.unsqueeze(-1), counts, urn.edge)
    # Parameters are not checked. If no draw is possible, the counts must not look like a draw.
    possible = urn.feasible & ~(state.at_edge + state.tilt + state.log_center).isnan()
    return bounds.guard(torch.where(possible.unsqueeze(-1), counts, torch.nan))


def _prefers_tree(state: FisherState, sample_shape: Size, bounds: Bounds) -> bool:
    """Whether the tree is the better way, from estimates of time and memory."""
    if inside_transform():
        return True
    batch, groups = state.tilt.numel(), state.mean.shape[-1]
    draws = sample_shape.numel()
    # With equal groups, one proposal in sqrt(G) is accepted.
    rejection = (
        draws * batch * math.sqrt(groups) * (_NS_BINOMIAL * groups + _NS_PROPOSAL) + _NS_ROUNDS
    )
    per_urn, levels, entries = _tree_cost(draws, groups, bounds)
    if entries * batch > _MOST_ENTRIES:
        return False
    # After each round, rejection reads from the device whether it is done. That is slow on a GPU.
    return state.tilt.is_cuda or per_urn * batch + levels * _NS_LEVEL < rejection


def _tree_cost(draws: int, groups: int, bounds: Bounds) -> tuple[float, int, int]:
    """For one urn: time in the tables of the tree, levels, and entries of the largest table."""
    cap, nodes = min(bounds.size, bounds.total), groups
    cost, levels, most = 0.0, 0, 0
    while nodes > 1:
        width = width_of_mass(cap)
        cap = min(2 * cap, bounds.total)
        sums = 1 if nodes == 2 else width_of_mass(cap)
        rows = min(draws, sums) * nodes // 2 * width
        most = max(most, rows, draws * nodes)
        cost += nodes * width * _NS_ENTRY + rows * _NS_ROW_ENTRY
        cost += draws * nodes // 2 * _NS_LOOK_UP if draws > sums else 0
        nodes, levels = (nodes + 1) // 2, levels + 1
    return cost, levels, most
