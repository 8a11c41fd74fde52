# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Urn(NamedTuple):
    """An urn in float64 of which every entry is well posed, and what its true edges were.

    Edges (nothing drawn, everything drawn, no such draw) are replaced by a harmless problem, so
    that kernels need no branch and no gradient meets a NaN; the masks say where to put the truth.
    """

    log_weights: Tensor  # (..., G), finite
    sizes: Tensor  # (..., G), 0 where the weight is 0
    total: Tensor  # (...), strictly between 0 and the sum of sizes
    interior: Tensor  # (...), bool: the entry is the problem that was asked for
    edge: Tensor  # (..., G): the only possible counts where not interior
    feasible: Tensor  # (...), bool: such a draw exists at all


def make_urn(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Urn:
    """Broadcasts the three parameters and separates the edges from the interior."""
    theta, sizes, total = _broadcast(log_weights, group_sizes, total_count)
    present = (theta != -torch.inf) & (sizes > 0)
    zero, one = torch.zeros_like(theta), torch.ones_like(theta)
    reachable = torch.where(present, sizes, zero)
    everything = reachable.sum(-1)
    interior = (total > 0) & (total < everything)
    inside = interior.unsqueeze(-1)
    return Urn(
        log_weights=torch.where(present & inside, theta, zero),
        sizes=torch.where(inside, reachable, one),
        total=torch.where(interior, total, 0.5 * theta.shape[-1]),
        interior=interior,
        edge=torch.where((total > 0).unsqueeze(-1), reachable, zero),
        feasible=(total >= 0) & (total <= everything),
    )


def _broadcast(
    log_weights: Tensor, group_sizes: Tensor, total_count: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    shape = torch.broadcast_shapes(log_weights.shape, group_sizes.shape, (*total_count.shape, 1))
    return (
        log_weights.double().expand(shape),
        group_sizes.detach().double().expand(shape),
        total_count.detach().double().expand(shape[:-1]),
    )
