# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from ..fisher.state import Cumulants, cumulants

# How counts move with the log-weights: a tensor in float64 that broadcasts with the counts, whose
# derivatives are theirs and whose value is of no account.
Movement: TypeAlias = Callable[..., Tensor]


def carry(counts: Tensor, movement: Tensor) -> Tensor:
    """The counts, exactly, with the gradient of the movement."""
    # A difference of equal numbers is 0, and a count plus 0 is that count, in every dtype.
    return counts + (movement - movement.detach()).to(counts.dtype)


def carried(
    movement: Movement,
    counts: Tensor,
    log_weights: Tensor,
    group_sizes: Tensor,
    total_count: Tensor,
    *options: Any,
) -> Tensor:
    """The counts with a movement's gradient, from the parameters."""
    known: Cumulants = cumulants(log_weights, group_sizes, total_count)
    return carry(counts, movement(counts.detach(), known, *options))
