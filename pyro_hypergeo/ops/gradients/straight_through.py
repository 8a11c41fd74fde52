# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""How counts take over a gradient: the value is that of a draw, the gradient of an estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from ..law import Law
from ..urn import Bounds

#: A function of draws, their law, its state, its bounds and a temperature. It returns how the draws
#: move with the log-weights: a float64 tensor, whose gradient the counts take over. Its value is
#: ignored.
Movement: TypeAlias = Callable[[Tensor, Any, Any, Bounds, Any], Tensor]


def attach_gradient(counts: Tensor, movement: Tensor) -> Tensor:
    """The exact counts, with the gradient of the movement."""
    # In every dtype, the difference of equal numbers is 0, and a count plus 0 is the same count.
    return counts + (movement - movement.detach()).to(counts.dtype)


def moved_counts(
    movement: Movement,
    law: Law,
    counts: Tensor,
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    temperature: Any = None,
) -> Tensor:
    """The counts with the gradient of a movement, for the parameters of their law."""
    state = law.solve(log_weights, group_sizes, total_count)
    bounds = Bounds(group_sizes, total_count)
    counts = counts.detach()
    moved = movement(counts, law, state, bounds, temperature)
    return attach_gradient(counts, bounds.guard(moved))


def draws_last(rows: Tensor, batch: tuple[int, ...]) -> Tensor:
    """From (sample, batch, K) to (batch, samples * K): all draws of an urn beside each other."""
    return rows.reshape((-1, *batch, rows.shape[-1])).movedim(0, -2).flatten(-2)
