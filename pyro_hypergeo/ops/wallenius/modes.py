# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""A most probable count vector under Wallenius' law."""

from __future__ import annotations

from torch import Tensor

from .law import WALLENIUS


def wallenius_mode(log_weights: Tensor, group_sizes: Tensor, total_count: Tensor) -> Tensor:
    r"""Counts that no exchange of one element makes more probable, under Wallenius' law.

    We start at the rounded mean. We exchange one element for one of another group, each time the
    exchange that gains most, until none gains. In all urns that were enumerated, this is the most
    probable count vector. Cost: O(G^3) for each exchange; few are needed. Not differentiable.

    :param Tensor log_weights: :math:`\theta`, shape ``(..., G)``; ``-inf`` is a weight of 0.
    :param Tensor group_sizes: :math:`m`, shape ``(..., G)``.
    :param Tensor total_count: :math:`n`, shape ``(...)``.
    :return: counts, shape ``(..., G)``, in the dtype of the log-weights; at a tie, one of the
        modes.

    >>> import torch
    >>> from pyro_hypergeo.ops import wallenius_mode
    >>> wallenius_mode(
    ...     log_weights=torch.tensor([0.0, 1.0]),
    ...     group_sizes=torch.tensor([5.0, 5.0]),
    ...     total_count=torch.tensor(4.0),
    ... )
    tensor([1., 3.])
    """
    state = WALLENIUS.solve(log_weights, group_sizes, total_count)
    return WALLENIUS.mode(state).to(log_weights.dtype)
