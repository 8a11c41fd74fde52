# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import torch
from torch import Size, Tensor

from ..tracing import inside_transform
from ..urn import Bounds
from .bulk_marginals import width_of_mass
from .sampling_rejection import sample_by_rejection
from .sampling_tree import sample_by_tree
from .state import FisherState, solve_fisher

# On one core, fitted to the two ways over 3 to 1000 groups of 1 to 2000 elements.
_NS_BINOMIAL, _NS_PROPOSAL, _NS_ROUNDS = 120, 300, 5e5
_NS_ENTRY, _NS_ROW_ENTRY, _NS_LOOK_UP = 30, 8, 100
# If the tree has more entries than this, rejection saves the memory.
_MOST_ENTRIES = 1 << 27


def sample(
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    sample_shape: Size = Size(),  # noqa: B008
) -> Tensor:
    """Exact draws, of shape ``sample_shape + (..., G)``; arguments as for :func:`log_partition`.

    Where nothing is traced, compiled or vmapped, the faster of two ways is taken: rejection, O(G)
    a draw whatever the number of elements, or inverse cdf down a tree of the groups' sums.

    **References:**

    [1] Fog, A. (2008) "Sampling methods for Wallenius' and Fisher's noncentral hypergeometric
        distributions", Communications in Statistics, Simulation and Computation 37(2).

    >>> import torch
    >>> from pyro_hypergeo.ops import sample
    >>> sample(torch.zeros(3), torch.tensor([6.0, 4.0, 0.0]), torch.tensor(3.0)).sum()
    tensor(3.)
    """
    state = solve_fisher(log_weights.detach(), group_sizes, total_count)
    counts = sample_given(state, sample_shape, Bounds(group_sizes, total_count))
    return counts.to(log_weights.dtype)


def sample_given(state: FisherState, sample_shape: Size, bounds: Bounds) -> Tensor:
    """Draws in float64 of a state, by the faster of the two ways."""
    urn = state.urn
    shape = sample_shape + urn.log_weights.shape
    if 0 in shape:
        return torch.zeros(shape, dtype=torch.float64, device=urn.sizes.device)
    if _prefers_tree(state, sample_shape, bounds):
        counts = sample_by_tree(state, sample_shape, bounds)
    else:
        counts = sample_by_rejection(state, sample_shape)
    counts = torch.where(urn.interior.unsqueeze(-1), counts, urn.edge)
    # Unchecked parameters of which there is no draw are not to pass for some.
    possible = urn.feasible & ~state.log_partition.isnan()
    return torch.where(possible.unsqueeze(-1), counts, torch.nan)


def _prefers_tree(state: FisherState, sample_shape: Size, bounds: Bounds) -> bool:
    if inside_transform():
        return True
    batch, groups = state.tilt.numel(), state.mean.shape[-1]
    draws = sample_shape.numel()
    # Equal groups accept one proposal in sqrt(G).
    rejection = (
        draws * batch * math.sqrt(groups) * (_NS_BINOMIAL * groups + _NS_PROPOSAL) + _NS_ROUNDS
    )
    tree, entries = _tree_cost(draws, groups, bounds)
    if entries * batch > _MOST_ENTRIES:
        return False
    # Rejection asks the device after each round whether it is done.
    return state.tilt.is_cuda or tree * batch < rejection


def _tree_cost(draws: int, groups: int, bounds: Bounds) -> tuple[float, int]:
    cap, nodes = min(bounds.size, bounds.total), groups
    cost, most = 0.0, 0
    while nodes > 1:
        width = width_of_mass(cap)
        cap = min(2 * cap, bounds.total)
        sums = 1 if nodes == 2 else width_of_mass(cap)
        rows = min(draws, sums) * nodes // 2 * width
        most = max(most, rows, draws * nodes)
        cost += nodes * width * _NS_ENTRY + rows * _NS_ROW_ENTRY
        cost += draws * nodes // 2 * _NS_LOOK_UP if draws > sums else 0
        nodes = (nodes + 1) // 2
    return cost, most
