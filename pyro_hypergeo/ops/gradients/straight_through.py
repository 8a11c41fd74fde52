# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""How counts take a gradient over: the value of a draw, the derivative of an estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from ..law import Law
from ..urn import Bounds

#: From draws, their law, its state, its bounds and a temperature to how the draws move with the
#: log-weights: a float64 tensor whose gradient the counts take over. Its value is ignored.
Movement: TypeAlias = Callable[[Tensor, Any, Any, Bounds, Any], Tensor]


def attach_gradient(counts: Tensor, movement: Tensor) -> Tensor:
    """The counts, exactly, with the gradient of the movement."""
    # A difference of equal numbers is 0, and a count plus 0 is that count, in every dtype.
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
    """The counts with a movement's gradient, from the parameters of their law."""
    state = law.solve(log_weights, group_sizes, total_count)
    bounds = Bounds(group_sizes, total_count)
    counts = counts.detach()
    return attach_gradient(counts, movement(counts, law, state, bounds, temperature))
